"""Runs over HTTP: the list, one run, what it measured, and what people do with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.configs import (
    CONFIGS,
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    TwoStageConfig,
    UrdmuConfig,
    config_class,
)
from webapp.accounts import access
from webapp.core import query
from webapp.core.api import (
    Cursor,
    Request,
    int_param,
    invalid,
    json_object,
    member,
    project_of,
    row,
    texts,
)
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs import log, metrics, pipelines, services, waiting
from webapp.runs.models import ENDED, MetricChunk, MetricSummary, Run, State
from webapp.runs.represent import checkpoint_json, event_json, run_json

MAX_KEYS = 50
MAX_POINTS = 20_000
RAW_POINTS = 200_000  # of one key in one answer
LOG_BYTES = 1 << 20
STEP_MAX = 2**62


class RunList(APIView):
    """GET: runs, newest first, `?state=&kind=&q=&tag=&project=&limit=&cursor=`. POST: a new one."""

    def get(self, request: Request) -> Response:
        paginator = Cursor()
        page = paginator.paginate_queryset(_filtered(request), request, self)
        return paginator.get_paginated_response([run_json(run) for run in page or ()])

    def post(self, request: Request) -> Response:
        data = json_object(
            request, "kind", "config", "name", "notes", "tags", "priority", "project",
            "version", "feature_set", "of_run",
        )  # fmt: skip
        config = config_class(member(data, "kind", str, "")).from_dict(
            member(data, "config", dict, {})
        )
        run = services.run_create(
            project=project_of(request, member(data, "project", str, "")),
            config=config,
            by=request.user,
            name=member(data, "name", str, ""),
            notes=member(data, "notes", str, ""),
            tags=texts(data, "tags"),
            priority=_priority(data, 0),
            version=row(DatasetVersion.objects.visible_to(request.user), data, "version"),
            feature_set=row(FeatureSet.objects.visible_to(request.user), data, "feature_set"),
            of_run=row(Run.objects.visible_to(request.user), data, "of_run"),
        )
        return Response(run_json(run, detail=True), status=201)


class PipelineList(APIView):
    """POST: features and proxies if they have to be made, trainings, evaluations; all or none.

    `kind` is that of the trainings, by default `train-urdmu`. `"evaluate": null` leaves the
    evaluations out.
    """

    def post(self, request: Request) -> Response:
        data = json_object(
            request, "kind", "train", "evaluate", "extract", "proxies", "seeds", "name", "tags",
            "project", "priority", "version", "feature_set",
        )  # fmt: skip
        seeds = member(data, "seeds", list, [])
        if not all(type(seed) is int for seed in seeds):
            raise invalid({"seeds": "expected a list of whole numbers"})
        extract = data.get("extract")
        made = pipelines.pipeline_create(
            project=project_of(request, member(data, "project", str, "")),
            by=request.user,
            train=_training(member(data, "kind", str, UrdmuConfig.kind)).from_dict(
                member(data, "train", dict, {})
            ),
            evaluate=(
                None if data.get("evaluate", {}) is None else EvaluateConfig.from_dict(
                    member(data, "evaluate", dict, {})
                )
            ),
            extract=(
                None if extract is None else ExtractConfig.from_dict(
                    member(data, "extract", dict, {})
                )
            ),
            proxies=(
                None if data.get("proxies") is None else ProxiesConfig.from_dict(
                    member(data, "proxies", dict, {})
                )
            ),
            version=row(DatasetVersion.objects.visible_to(request.user), data, "version"),
            feature_set=row(FeatureSet.objects.visible_to(request.user), data, "feature_set"),
            seeds=seeds,
            name=member(data, "name", str, ""),
            tags=texts(data, "tags"),
            priority=_priority(data, 0),
        )  # fmt: skip
        return Response({"runs": [run_json(run) for run in made.runs]}, status=201)


def _training(kind: str) -> type[UrdmuConfig]:
    """The configuration class of a kind of training."""
    for found in (UrdmuConfig, TwoStageConfig):
        if found.kind == kind:
            return found
    raise invalid({"kind": f"{kind!r} is no kind of training"})


class RunDetail(APIView):
    """GET: everything of one run. PATCH: name, notes, tags, priority. DELETE: it and its files."""

    def get(self, request: Request, run_id: UUID) -> Response:
        run = _run(request, run_id)
        return Response(run_json(run, detail=True) | {"why": waiting.reason(run)})

    @transaction.atomic
    def patch(self, request: Request, run_id: UUID) -> Response:
        run = _run(request, run_id)
        data = json_object(request, "name", "notes", "tags", "priority")
        if "name" in data:
            services.run_rename(run=run, name=member(data, "name", str, ""), by=request.user)
        if "notes" in data:
            services.run_annotate(run=run, notes=member(data, "notes", str, ""), by=request.user)
        if "tags" in data:
            services.run_set_tags(run=run, tags=texts(data, "tags"), by=request.user)
        if "priority" in data:
            priority = _priority(data, run.priority)
            services.run_prioritize(run=run, priority=priority, by=request.user)
        return Response(run_json(_run(request, run_id), detail=True))

    def delete(self, request: Request, run_id: UUID) -> Response:
        services.run_delete(run=_run(request, run_id), by=request.user)
        return Response(status=204)


class RunAction(APIView):
    """POST: stop, hold, release, retry, or clone (`{"config": {...}, "name": ...}`)."""

    def post(self, request: Request, run_id: UUID, action: str) -> Response:
        run = _run(request, run_id)
        if action == "clone":
            data = json_object(request, "config", "name")
            made = services.run_clone(
                run=run,
                by=request.user,
                changes=member(data, "config", dict, {}),
                name=member(data, "name", str, ""),
            )
            return Response(run_json(made, detail=True), status=201)
        if action not in services.STEPS:
            raise Http404
        services.STEPS[action](run=run, by=request.user)
        return Response(run_json(_run(request, run_id)))


class RunMetrics(APIView):
    """GET: `?keys=a,b&max_points=1000&from=&to=&raw=1`; all keys when none is named."""

    def get(self, request: Request, run_id: UUID) -> Response:
        run = _run(request, run_id)
        low = int_param(request, "from", None, least=-STEP_MAX, most=STEP_MAX)
        high = int_param(request, "to", None, least=-STEP_MAX, most=STEP_MAX)
        keys = keys_param(request) or metrics.keys(run)[:MAX_KEYS]
        summaries = MetricSummary.objects.filter(run=run, key__in=keys)
        if request.GET.get("raw") in ("1", "true"):
            _refuse_too_much(run, keys, low, high)
            series = {k: metrics.read_raw(run, k, from_step=low, to_step=high) for k in keys}
        else:
            most = points_param(request)
            found = metrics.read_many([run.pk], keys, max_points=most, from_step=low, to_step=high)
            series = {key: found[run.pk, key] for key in keys if (run.pk, key) in found}
        return Response(
            {
                "keys": metrics.keys(run),
                "series": {key: part.to_json() for key, part in series.items()},
                "summaries": {
                    s.key: {
                        "count": s.count, "last": s.last, "last_step": s.last_step,
                        "least": s.least, "least_step": s.least_step,
                        "greatest": s.greatest, "greatest_step": s.greatest_step,
                    }
                    for s in summaries
                },
            }
        )  # fmt: skip


class RunLog(APIView):
    """GET: `?offset=0&limit=65536` bytes of the log, and where to go on."""

    def get(self, request: Request, run_id: UUID) -> Response:
        run = _run(request, run_id)
        offset = int_param(request, "offset", 0, least=0, most=STEP_MAX) or 0
        limit = int_param(request, "limit", 65_536, least=1, most=LOG_BYTES) or LOG_BYTES
        text, end, size = log.chunk(run.folder, offset, limit)
        return Response({"text": text, "offset": end, "size": size, "live": run.is_active})


class RunEvents(APIView):
    """GET: what happened to the run, oldest first; the last 500."""

    def get(self, request: Request, run_id: UUID) -> Response:
        events = _run(request, run_id).events.select_related("by").order_by("-at", "-id")[:500]
        return Response({"results": [event_json(event) for event in reversed(events)]})


class RunCheckpoints(APIView):
    """GET: the run's checkpoints by step; the newest 500."""

    def get(self, request: Request, run_id: UUID) -> Response:
        rows = _run(request, run_id).checkpoints.order_by("-step")[:500]
        return Response({"results": [checkpoint_json(c) for c in reversed(rows)]})


class ConfigList(APIView):
    """GET: the kinds of runs."""

    def get(self, request: Request) -> Response:
        found = [{"kind": kind, "title": config.title} for kind, config in CONFIGS.items()]
        return Response({"results": found})


class ConfigSchema(APIView):
    """GET: the JSON schema of a kind's configuration."""

    def get(self, request: Request, kind: str) -> Response:
        if kind not in CONFIGS:
            raise Http404
        return Response(CONFIGS[kind].json_schema())


def keys_param(request: Request) -> list[str]:
    """The metrics that `?keys=` names."""
    keys = list(dict.fromkeys(k for k in request.GET.get("keys", "").split(",") if k))
    if len(keys) > MAX_KEYS:
        raise invalid({"keys": f"{len(keys)} are named, {MAX_KEYS} at most"})
    return keys


def points_param(request: Request) -> int:
    return int_param(request, "max_points", 1000, least=4, most=MAX_POINTS) or 1000


def _filtered(request: Request) -> QuerySet[Run]:
    given = request.GET
    if given.get("project"):
        projects = [project_of(request, given["project"]).pk]
    else:  # as numbers, not as a join: the index then has the rows in the order of the list
        projects = list(access.projects(request.user).values_list("pk", flat=True))
    runs = Run.objects.filter(project__in=projects).select_related(
        "project", "owner", "version__dataset", "worker"
    )
    if given.get("state") == "active":
        runs = runs.exclude(state__in=(*ENDED, State.HELD))
    elif given.get("state"):
        runs = runs.filter(state=given["state"])
    if given.get("kind"):
        runs = runs.filter(kind=given["kind"])
    if given.get("q"):
        text = given["q"][:200]
        runs = runs.filter(Q(name__icontains=text) | Q(version__dataset__name__icontains=text))
    if given.get("tag"):
        return query.listing(runs, "tags", given["tag"])
    return runs


def _run(request: Request, run_id: UUID) -> Run:
    runs = Run.objects.visible_to(request.user).select_related(
        "project", "owner", "version__dataset", "feature_set", "of_run", "worker"
    )
    return get_object_or_404(runs, pk=run_id)


def _priority(data: dict[str, Any], default: int) -> int:
    value = member(data, "priority", int, default)
    if not -100 <= value <= 100:
        raise invalid({"priority": f"{value} is not from -100 to 100"})
    return value


def _refuse_too_much(run: Run, keys: list[str], low: int | None, high: int | None) -> None:
    chunks = MetricChunk.objects.filter(run=run, key__in=keys)
    if low is not None:
        chunks = chunks.filter(last_step__gte=low)
    if high is not None:
        chunks = chunks.filter(first_step__lte=high)
    total = chunks.aggregate(n=Sum("count"))["n"] or 0
    if total > RAW_POINTS:
        text = f"{total} points, {RAW_POINTS} at most; narrow it with keys, from and to"
        raise invalid({"raw": text})
