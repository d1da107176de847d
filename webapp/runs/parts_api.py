"""What one run has, over HTTP: metrics, log, lineage, events, checkpoints."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Sum
from django.http.response import HttpResponseBase
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Cursor, Request, invalid
from webapp.core.openapi import Page, operation
from webapp.runs import detail, lineage, log, logsearch, metrics, page
from webapp.runs.api import run_of
from webapp.runs.models import MetricChunk, MetricSummary, Run
from webapp.runs.params import (
    BY,
    CLONES,
    CONTEXT,
    EVENT,
    FIND,
    FROM,
    HIT,
    KEYS,
    LEVEL,
    LOG_BYTES,
    LOG_LIMIT,
    LOG_OFFSET,
    MAX_KEYS,
    POINTS,
    RAW,
    RAW_POINTS,
    TO,
    WORDS,
    keys_param,
    points_param,
)
from webapp.runs.represent import checkpoint_json, event_json, search_json
from webapp.runs.shapes import (
    CheckpointJson,
    LineageJson,
    LogJson,
    MetricsJson,
    RunEventJson,
    SearchJson,
)
from webapp.storage import artifacts, retention


class RunMetrics(APIView):
    @operation("Metrics of a run", query=[KEYS, POINTS, FROM, TO, RAW], returns=MetricsJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Thinned so that no extreme is lost, unless `raw`. Without `keys` the first 50 keys. Keys
        that begin with `sys/` were measured by the worker: their steps are seconds.
        """
        run = run_of(request, run_id)
        low, high = FROM.of(request), TO.of(request)
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
    @operation("The log of a run", query=[LOG_OFFSET, LOG_LIMIT], returns=LogJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Go on from the `offset` of the answer, while it is `live`."""
        run = run_of(request, run_id)
        offset, limit = LOG_OFFSET.of(request) or 0, LOG_LIMIT.of(request) or LOG_BYTES
        part, end, size = log.chunk(run.folder, offset, limit)
        return Response({"text": part, "offset": end, "size": size, "live": run.is_active})


class RunLogSearch(APIView):
    @operation("Search a run's log", query=[FIND, LEVEL, CONTEXT, HIT], returns=SearchJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """A page of the hits in the whole log, from the hit that `hit` numbers, with lines around
        them.
        """
        run = run_of(request, run_id)
        level = request.GET.get("level", "")
        if level not in logsearch.LEVELS:
            raise invalid({"level": f"{level!r} is neither 'warning' nor 'error'"})
        asked = logsearch.Query(
            text=request.GET.get("find", "").strip()[: logsearch.NEEDLE_CHARS],
            level=level,
            context=CONTEXT.of(request) or 0,
        )
        if not asked:
            raise invalid({"find": "name a text, a level, or both"})
        hit = HIT.of(request) or 1
        return Response(search_json(logsearch.search(run.folder, asked, hit=hit)))


class RunLineage(APIView):
    @operation("What a run comes from and what came of it", query=[CLONES], returns=LineageJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        run = run_of(request, run_id)
        clones = request.GET.get("clones") in ("yes", "1", "true")
        return Response(lineage.of_run(run, request.user, clones=clones).to_json())


class InOrder(Cursor):
    """Events of a run, the oldest first."""

    ordering: tuple[str, ...] = ("at", "id")
    page_size = 200
    max_page_size = 500


class ByStep(InOrder):
    ordering = ("step",)


class RunEvents(APIView):
    @operation(
        "What happened to a run",
        query=[EVENT, BY, WORDS],
        returns=Page[RunEventJson],
        paging=InOrder,
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        """Oldest first."""
        kind, by, words = (request.GET.get(name, "")[:100] for name in ("event", "by", "q"))
        rows = page.events_of(run_of(request, run_id), kind=kind, by=by, text=words)
        paginator = InOrder()
        found = paginator.paginate_queryset(rows, request, self) or []
        return paginator.get_paginated_response([event_json(event) for event in found])


class RunCheckpoints(APIView):
    @operation("Checkpoints of a run", returns=Page[CheckpointJson], paging=ByStep)
    def get(self, request: Request, run_id: UUID) -> Response:
        """By step."""
        run = run_of(request, run_id)
        paginator = ByStep()
        rows = run.checkpoints.select_related("removed")
        found = paginator.paginate_queryset(rows, request, self) or []
        stays = retention.holdings([run])[0].reasons()
        stored = artifacts.stored_below(run.folder)
        shown = [checkpoint_json(row, run, stays, stored) for row in found]
        return paginator.get_paginated_response(shown)


class RunCheckpointFile(APIView):
    @operation(
        "A checkpoint's file", returns="application/octet-stream", also=(206,), refuses=(416, 503)
    )
    def get(self, request: Request, run_id: UUID, step: int) -> HttpResponseBase:
        """Whole, or the one range of it that `Range` asks for."""
        return detail.checkpoint_answer(request._request, run_of(request, run_id), step)


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
