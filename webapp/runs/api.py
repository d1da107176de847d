"""Runs over HTTP: the list, one run, and what people do with them. See also parts_api.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, QueryDict
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
    grouping,
    outlook,
    pipelines,
    services,
    table,
    waiting,
)
from webapp.runs.filtering.completion import Completion, complete
from webapp.runs.filtering.parse import MOST_CHARACTERS
from webapp.runs.models import Run
from webapp.runs.ordering import Ordered, Scope
from webapp.runs.params import (
    AT,
    COLS,
    RESOURCES,
    TABLE,
    Q,
    optional_config,
    resources_of,
    training_class,
)
from webapp.runs.reordering import run_move
from webapp.runs.represent import group_json, run_detail_json, run_json, start_json, view_json
from webapp.runs.resources import Resources, run_set_resources
from webapp.runs.shapes import (
    GroupJson,
    KindJson,
    NewPipeline,
    NewRun,
    NewView,
    RunChange,
    RunDetailJson,
    RunJson,
    RunsJson,
    RunStep,
    ViewJson,
)


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
        run = run_of(request, run_id)
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
        run = run_of(request, run_id)
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
        run = run_of(request, run_id)
        return tagged(Response(run_detail_json(run)), run_revision(run))

    @operation("Delete a run and its files")
    def delete(self, request: Request, run_id: UUID) -> Response:
        services.run_delete(run=run_of(request, run_id), by=request.user)
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
        run = run_of(request, run_id)
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
        return Response(run_json(run_of(request, run_id)))


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


def run_of(request: Request, run_id: UUID) -> Run:
    """A run that the person may see, with the names that answers need; else 404."""
    runs = Run.objects.visible_to(request.user).select_related(
        "project", "owner", "version__dataset", "feature_set", "of_run", "worker"
    )
    return get_object_or_404(runs, pk=run_id)


def _priority(data: dict[str, Any], default: int) -> int:
    value = member(data, "priority", int, default)
    if not -100 <= value <= 100:
        raise invalid({"priority": f"{value} is not from -100 to 100"})
    return value
