"""Runs that are trained elsewhere, over HTTP: what a training script tells of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils.dateparse import parse_datetime
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Request, invalid, json_object, member, project_of, texts
from webapp.core.openapi import operation, text, whole
from webapp.external import history, points, services
from webapp.external.points import Batch
from webapp.external.queries import external_json
from webapp.external.services import Heard
from webapp.external.shapes import (
    ExternalRunJson,
    HeardJson,
    HistoryJson,
    LabelsChange,
    LogPart,
    MetricBatch,
    NewExternalRun,
    ParamsChange,
    RunEnd,
    StateJson,
    TagsChange,
)
from webapp.idempotency.services import idempotent
from webapp.runs.chunks import KEY_LENGTH
from webapp.runs.models import EXTERNAL, Run

HISTORY_POINTS = 50_000  # in one answer
KEY = text("key", "the name of the metric", most=KEY_LENGTH, required=True)
OFFSET = whole("offset", "how many points to leave out", least=0, most=2**53, default=0)
LIMIT = whole("limit", "points at most", least=1, most=HISTORY_POINTS, default=HISTORY_POINTS)


class ExternalList(APIView):
    @operation(
        "Begin a run that is trained elsewhere",
        body=NewExternalRun,
        returns=ExternalRunJson,
        status=201,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """It runs at once; tell what it measures, and how it ends."""
        data = json_object(request, NewExternalRun)
        run = services.run_start(
            project=project_of(request, member(data, "project", str, "")),
            by=request.user,
            name=member(data, "name", str, ""),
            params=member(data, "params", dict, {}),
            tags=texts(data, "tags"),
            labels=member(data, "labels", dict, {}),
            notes=member(data, "notes", str, ""),
            started_at=_time(data, "started_at"),
            environment=member(data, "environment", dict, {}),
            client=member(data, "client", str, ""),
            run_id=_id(data),
        )
        return Response(external_json(run), status=201)


class ExternalDetail(APIView):
    @operation("A run that is trained elsewhere", returns=ExternalRunJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        return Response(external_json(_visible(request, run_id)))


class ExternalMetrics(APIView):
    in_project = False  # the run is named; nothing else of the person's is looked up

    @operation("Log metrics", body=MetricBatch, returns=HeardJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        """All of the batch is kept, or nothing; an empty one says that the script lives. A value
        that JSON has no number for is the text `NaN`, `Infinity` or `-Infinity`. The same batch
        again changes nothing, so no `Idempotency-Key` is needed.
        """
        data = json_object(request, MetricBatch, numbers=("metrics", "rows"))
        heard = services.metrics_log(
            run_id=run_id,
            batch=_batch(data),
            by=request.user,
            done=_count(data, "done"),
            total=_count(data, "total"),
        )
        return _answer(heard)


class ExternalHistory(APIView):
    @operation("Points as they were sent", query=[KEY, OFFSET, LIMIT], returns=HistoryJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Those that came with times, of one metric."""
        run = _visible(request, run_id)
        key = points.check_key(request.GET.get("key", ""))
        offset, limit = OFFSET.of(request) or 0, LIMIT.of(request) or HISTORY_POINTS
        found = history.read(run, key)
        part = found[offset : offset + limit]
        answer: HistoryJson = {
            "key": key,
            "total": len(found),
            "steps": part["step"].tolist(),
            "times": part["time"].tolist(),
            "values": [points.as_json(v) for v in part["value"].tolist()],
        }
        return Response(answer)


class ExternalLog(APIView):
    @operation("Add to the log", body=LogPart, returns=HeardJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        """The number of the part takes the place of an `Idempotency-Key`."""
        data = json_object(request, LogPart)
        heard = services.log_append(
            run_id=run_id,
            lines=texts(data, "lines"),
            by=request.user,
            session=member(data, "session", str, "")[:60],
            part=_count(data, "part") or 0,
        )
        return _answer(heard)


class ExternalParams(APIView):
    @operation("Add settings", body=ParamsChange, returns=HeardJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        data = json_object(request, ParamsChange)
        params = member(data, "params", dict, {})
        replace = data.get("replace", True) is not False
        return _answer(
            services.params_log(run_id=run_id, params=params, by=request.user, replace=replace)
        )


class ExternalTags(APIView):
    @operation("Set the tags", body=TagsChange, returns=HeardJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        """Instead of those that the run has."""
        tags = texts(json_object(request, TagsChange), "tags")
        return _answer(services.tags_set(run_id=run_id, tags=tags, by=request.user))


class ExternalLabels(APIView):
    @operation("Change the labels", body=LabelsChange, returns=HeardJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        data = json_object(request, LabelsChange)
        heard = services.labels_set(
            run_id=run_id,
            labels=member(data, "labels", dict, {}),
            remove=texts(data, "remove"),
            by=request.user,
        )
        return _answer(heard)


class ExternalEnd(APIView):
    @operation("End a run that is trained elsewhere", body=RunEnd, returns=StateJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        """One that has ended stays as it ended."""
        data = json_object(request, RunEnd)
        run = services.run_end(
            run_id=run_id,
            status=member(data, "status", str, "finished"),
            reason=member(data, "reason", str, ""),
            ended_at=_time(data, "ended_at"),
            by=request.user,
        )
        return Response({"state": run.state})


class ExternalResume(APIView):
    @operation("Go on with a run that has ended", returns=StateJson)
    def post(self, request: Request, run_id: UUID) -> Response:
        """One that is trained elsewhere; one that runs stays as it is."""
        run = services.run_resume(run_id=run_id, by=request.user)
        return Response({"state": run.state})


def _answer(heard: Heard) -> Response:
    answer: HeardJson = {"state": heard.state, "stop": heard.stop}
    return Response(answer)


def _visible(request: Request, run_id: UUID) -> Run:
    runs = Run.objects.visible_to(request.user).select_related(
        "project", "owner", "version__dataset", "worker"
    )
    return get_object_or_404(runs, pk=run_id, kind=EXTERNAL)


def _batch(data: dict[str, Any]) -> Batch:
    by_key, rows = member(data, "metrics", dict, {}), member(data, "rows", list, [])
    if by_key and rows:
        raise invalid({"rows": "send either rows or metrics"})
    if rows:
        return points.from_rows(_points_of(rows))
    found = {}
    for key, columns in by_key.items():
        if not isinstance(columns, dict) or set(columns) - {"steps", "values", "times"}:
            raise invalid({"metrics": f"{key[:60]!r} is no object of steps, values and times"})
        parts = [columns.get(name) for name in ("steps", "values", "times")]
        if not all(isinstance(part, list) for part in parts[:2]) or not (
            parts[2] is None or isinstance(parts[2], list)
        ):
            raise invalid({"metrics": f"{key[:60]!r}: steps, values and times are lists"})
        found[key] = points.points(key, *parts)  # type: ignore[arg-type]
    return found


def _points_of(rows: list[Any]) -> Any:
    for row in rows:
        values = row.get("values") if isinstance(row, dict) else None
        if not isinstance(values, dict) or set(row) - {"step", "values", "time"}:
            raise invalid({"rows": f"{str(row)[:60]} is no object of step, values and time"})
        for key, value in values.items():
            yield key, value, row.get("step"), row.get("time")


def _count(data: dict[str, Any], name: str) -> int | None:
    if data.get(name) is None:
        return None
    value = member(data, name, int, 0)
    if not 0 <= value <= points.MOST_STEP:
        raise invalid({name: f"{value} is not from 0 to {points.MOST_STEP}"})
    return value


def _time(data: dict[str, Any], name: str) -> datetime | None:
    text = member(data, name, str, "")
    if not text:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year <= 9000:
        raise invalid({name: f"{text[:40]!r} is no time; write it as 2026-11-20T18:30:00Z"})
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _id(data: dict[str, Any]) -> UUID | None:
    text = member(data, "id", str, "")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise invalid({"id": f"{text[:40]!r} is no UUID"}) from None
