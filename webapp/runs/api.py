"""Runs over HTTP: the list, one run, what it measured, and what people do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet, Sum
from django.http import Http404, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.configs import (
    CONFIGS,
    QUEUED_KINDS,
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    TwoStageConfig,
    UrdmuConfig,
    config_class,
)
from webapp.accounts import access
from webapp.core.api import (
    Cursor,
    Offset,
    Request,
    invalid,
    json_object,
    member,
    project_of,
    row,
    texts,
)
from webapp.core.conditional import require_match, revision, tagged
from webapp.core.openapi import PROJECT, Page, Results, operation
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.idempotency.services import idempotent
from webapp.runs import (
    bookmarks,
    commandline,
    detail,
    grouping,
    lineage,
    log,
    logsearch,
    metrics,
    outlook,
    page,
    pipelines,
    services,
    table,
    waiting,
)
from webapp.runs.filtering.completion import Completion, complete
from webapp.runs.filtering.parse import MOST_CHARACTERS
from webapp.runs.models import MetricChunk, MetricSummary, Run
from webapp.runs.ordering import Ordered, Scope
from webapp.runs.params import (
    AT,
    BY,
    CLONES,
    COLS,
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
    RESOURCES,
    TABLE,
    TO,
    WORDS,
    Q,
    keys_param,
    optional_config,
    points_param,
    resources_of,
    training_class,
)
from webapp.runs.reordering import run_move
from webapp.runs.represent import (
    checkpoint_json,
    event_json,
    group_json,
    run_detail_json,
    run_json,
    search_json,
    start_json,
    view_json,
)
from webapp.runs.resources import Resources, run_set_resources
from webapp.runs.shapes import (
    CheckpointJson,
    GroupJson,
    KindJson,
    LineageJson,
    LogJson,
    MetricsJson,
    NewPipeline,
    NewRun,
    NewView,
    RunChange,
    RunDetailJson,
    RunEventJson,
    RunJson,
    RunsJson,
    RunStep,
    SearchJson,
    ViewJson,
)
from webapp.storage import artifacts, retention


class RunList(APIView):
    @operation(
        "Runs, their groups, or a page of the table",
        query=[*TABLE, COLS],
        returns=Page[RunJson] | Page[GroupJson],
        paging=(Cursor, Offset),
    )
    def get(self, request: Request) -> Response:
        """Newest first, by cursor; with `sort` in that order, by offset; with `group` the groups.

        `q` is the filter language of the table. `cols` adds `values` to each run.
        """
        shown = table.Shown.of(request.GET)
        scope = shown.scope(_projects(request))
        if request.GET.get("group"):
            return _groups(request, shown, scope.runs())
        if request.GET.get("sort"):
            return self._sorted(request, shown, scope)
        paginator = Cursor()
        page = paginator.paginate_queryset(_with_names(scope.runs()), request, self) or []
        return paginator.get_paginated_response(_listed(page, request, shown))

    def _sorted(self, request: Request, shown: table.Shown, scope: Scope) -> Response:
        if str(shown.sort) != request.GET["sort"] and not shown.sort.key:
            text = f"{request.GET['sort'][:60]!r} is nothing to sort by"
            raise invalid({"sort": f"{text}; use a field, config.FIELD or last(METRIC)"})
        paginator = Offset()
        ordered = Ordered(scope, shown.sort)
        ids: list[UUID] = paginator.paginate_queryset(ordered, request, self) or []  # type: ignore[arg-type]
        by_id = _with_names(Run.objects.all()).in_bulk(ids)
        page = [by_id[pk] for pk in ids if pk in by_id]
        return paginator.get_paginated_response(_listed(page, request, shown))

    @operation("Queue a run", body=NewRun, returns=RunDetailJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        """It starts when what it waits for is done and a fitting slot is free."""
        data = json_object(request, NewRun)
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
            resources=Resources(**resources_of(data)),
            version=row(DatasetVersion.objects.visible_to(request.user), data, "version"),
            feature_set=row(FeatureSet.objects.visible_to(request.user), data, "feature_set"),
            of_run=row(Run.objects.visible_to(request.user), data, "of_run"),
        )
        return Response(run_detail_json(run), status=201)


def _listed(page: Sequence[Run], request: Request, shown: table.Shown) -> list[RunJson]:
    """The runs of a page; with `cols` also their values, by the name of the column."""
    listed = [run_json(run) for run in page]
    if request.GET.get("cols"):
        rows = {row.run.pk: row for row in table.rows([r.pk for r in page], shown.columns)}
        for run, found in zip(page, listed, strict=True):
            found["values"] = {c.key: table.value(rows[run.pk], c) for c in shown.columns}
    return listed


def _groups(request: Request, shown: table.Shown, found: QuerySet[Run]) -> Response:
    if not shown.group:
        text = f"{request.GET['group'][:60]!r} is nothing to group by"
        raise invalid({"group": f"{text}; use seeds, tag, dataset, kind, owner or config.FIELD"})
    paginator = Offset()
    made = grouping.groups(found, shown.group, shown.sort)
    page = paginator.paginate_queryset(made, request) or []
    return paginator.get_paginated_response([group_json(group) for group in page])


class RunComplete(APIView):
    @operation("Complete a filter", query=[Q, AT], returns=Completion)
    def get(self, request: Request) -> Response:
        """What may stand at the cursor, after `at` characters: a proposal's `text` takes the place
        of the characters `start` to `end`.
        """
        typed = request.GET.get("q", "")[: 2 * MOST_CHARACTERS]
        at = AT.of(request)
        at = len(typed) if at is None else at
        found = complete(typed, at, table.known(Run.objects.filter(project=request.project)))
        return Response(asdict(found))


class SavedViewList(APIView):
    @operation("A project's saved views", query=[PROJECT], returns=Results[ViewJson])
    def get(self, request: Request) -> Response:
        project = project_of(request, request.GET.get("project", ""))
        return Response({"results": [view_json(v) for v in bookmarks.views_of(project)]})

    @operation("Save a view", body=NewView, returns=ViewJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        data = json_object(request, NewView)
        shown = table.Shown.of(QueryDict(member(data, "query", str, "")))
        view = bookmarks.view_save(
            project=project_of(request, member(data, "project", str, "")),
            name=member(data, "name", str, ""),
            query=shown.query,
            by=request.user,
        )
        return Response(view_json(view), status=201)


class PipelineList(APIView):
    @operation("Queue a pipeline", body=NewPipeline, returns=RunsJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        """Features and proxies if they have to be made, trainings, evaluations; all or none.

        `kind` is that of the trainings, by default `train-urdmu`; with `stage2`, a configuration of
        both stages, each is followed by one that starts from its weights. `"evaluate": null` leaves
        the evaluations out.
        """
        data = json_object(request, NewPipeline)
        seeds = member(data, "seeds", list, [])
        if not all(type(seed) is int for seed in seeds):
            raise invalid({"seeds": "expected a list of whole numbers"})
        made = pipelines.pipeline_create(
            project=project_of(request, member(data, "project", str, "")),
            by=request.user,
            train=training_class(member(data, "kind", str, UrdmuConfig.kind)).from_dict(
                member(data, "train", dict, {})
            ),
            stage2=optional_config(data, "stage2", TwoStageConfig),
            evaluate=(
                None if data.get("evaluate", {}) is None else EvaluateConfig.from_dict(
                    member(data, "evaluate", dict, {})
                )
            ),
            extract=optional_config(data, "extract", ExtractConfig),
            proxies=optional_config(data, "proxies", ProxiesConfig),
            version=row(DatasetVersion.objects.visible_to(request.user), data, "version"),
            feature_set=row(FeatureSet.objects.visible_to(request.user), data, "feature_set"),
            seeds=seeds,
            name=member(data, "name", str, ""),
            tags=texts(data, "tags"),
            priority=_priority(data, 0),
            resources=Resources(**resources_of(data)),
        )  # fmt: skip
        return Response({"runs": [run_json(run) for run in made.runs]}, status=201)


class RunDetail(APIView):
    @operation("A run", returns=RunDetailJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """All that is known of it, with why it waits and the commands that do it again."""
        run = _run(request, run_id)
        commands = {r.title: r.command for r in commandline.recipes(run)}
        starts = start_json(outlook.start_of(run))
        more = {"why": waiting.reason(run), "commands": commands, "starts": starts}
        return tagged(Response({**run_detail_json(run), **more}), run_revision(run))

    @operation("Change a run", body=RunChange, returns=RunDetailJson, if_match=True)
    @transaction.atomic
    def patch(self, request: Request, run_id: UUID) -> Response:
        """All of it or nothing. What a run asks of the machine can be changed before it starts, the
        time limit also while it runs.
        """
        run = _run(request, run_id)
        data = json_object(request, RunChange)
        require_match(request, run, run_revision)
        if "name" in data:
            services.run_rename(run=run, name=member(data, "name", str, ""), by=request.user)
        if "notes" in data:
            services.run_annotate(run=run, notes=member(data, "notes", str, ""), by=request.user)
        if "tags" in data:
            services.run_set_tags(run=run, tags=texts(data, "tags"), by=request.user)
        if "priority" in data:
            priority = _priority(data, run.priority)
            services.run_prioritize(run=run, priority=priority, by=request.user)
        if changes := resources_of(data):
            run_set_resources(run=run, changes=changes, by=request.user)
        run = _run(request, run_id)
        return tagged(Response(run_detail_json(run)), run_revision(run))

    @operation("Delete a run and its files")
    def delete(self, request: Request, run_id: UUID) -> Response:
        services.run_delete(run=_run(request, run_id), by=request.user)
        return Response(status=204)


class RunAction(APIView):
    @operation(
        "Stop, hold, release, retry, move or clone a run",
        path={"action": ("clone", "move", *services.STEPS)},
        body=RunStep,
        returns=RunDetailJson | RunJson,
        also=(201,),
    )
    @idempotent
    def post(self, request: Request, run_id: UUID, action: str) -> Response:
        """`move` takes `to`, among the project's queued runs of its priority. `clone` takes
        `config` (the fields that change) and `name`, and answers 201 with the new run.
        """
        run = _run(request, run_id)
        if action == "clone":
            data = json_object(request, "config", "name")
            made = services.run_clone(
                run=run,
                by=request.user,
                changes=member(data, "config", dict, {}),
                name=member(data, "name", str, ""),
            )
            return Response(run_detail_json(made), status=201)
        if action == "move":
            to = member(json_object(request, "to"), "to", str, "")
            run_move(run=run, to=to, by=request.user)
        elif action in services.STEPS:
            services.STEPS[action](run=run, by=request.user)
        else:
            raise Http404
        return Response(run_json(_run(request, run_id)))


class RunMetrics(APIView):
    @operation("Metrics of a run", query=[KEYS, POINTS, FROM, TO, RAW], returns=MetricsJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Thinned so that no extreme is lost, unless `raw`. Without `keys` the first 50 keys. Keys
        that begin with `sys/` were measured by the worker: their steps are seconds.
        """
        run = _run(request, run_id)
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
        run = _run(request, run_id)
        offset, limit = LOG_OFFSET.of(request) or 0, LOG_LIMIT.of(request) or LOG_BYTES
        part, end, size = log.chunk(run.folder, offset, limit)
        return Response({"text": part, "offset": end, "size": size, "live": run.is_active})


class RunLogSearch(APIView):
    @operation("Search a run's log", query=[FIND, LEVEL, CONTEXT, HIT], returns=SearchJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """A page of the hits in the whole log, from the hit that `hit` numbers, with lines around
        them.
        """
        run = _run(request, run_id)
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
        run = _run(request, run_id)
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
        rows = page.events_of(_run(request, run_id), kind=kind, by=by, text=words)
        paginator = InOrder()
        found = paginator.paginate_queryset(rows, request, self) or []
        return paginator.get_paginated_response([event_json(event) for event in found])


class RunCheckpoints(APIView):
    @operation("Checkpoints of a run", returns=Page[CheckpointJson], paging=ByStep)
    def get(self, request: Request, run_id: UUID) -> Response:
        """By step."""
        run = _run(request, run_id)
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
        return detail.checkpoint_answer(request._request, _run(request, run_id), step)


class ConfigList(APIView):
    @operation("Kinds of runs", returns=Results[KindJson])
    def get(self, request: Request) -> Response:
        found = [{"kind": kind, "title": CONFIGS[kind].title} for kind in QUEUED_KINDS]
        return Response({"results": found})


class ConfigSchema(APIView):
    @operation(
        "JSON schema of a kind's configuration",
        path={"kind": tuple(CONFIGS)},
        returns=dict[str, Any],
    )
    def get(self, request: Request, kind: str) -> Response:
        if kind not in CONFIGS:
            raise Http404
        return Response(CONFIGS[kind].json_schema())


def run_revision(run: Run) -> str:
    return revision(run, "name", "notes", "tags", "priority", *RESOURCES)


def _projects(request: Request) -> list[int]:
    """As numbers, not as a join: the index then has the rows in the order of the list."""
    if request.GET.get("project"):
        return [project_of(request, request.GET["project"]).pk]
    return list(access.projects(request.user).values_list("pk", flat=True))


def _with_names(runs: QuerySet[Run]) -> QuerySet[Run]:
    return runs.select_related("project", "owner", "version__dataset", "worker")


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
