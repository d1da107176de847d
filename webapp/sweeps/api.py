"""Sweeps over HTTP."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.configs import ExtractConfig, UrdmuConfig
from webapp.accounts import access
from webapp.core.api import Cursor, Offset, Request, invalid, json_object, member, project_of, row
from webapp.core.api import texts as texts_of
from webapp.core.openapi import Page, operation, text
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.idempotency.services import idempotent
from webapp.runs.params import optional_config, resources_of, training_class
from webapp.runs.resources import Resources
from webapp.sweeps import listing, services, space
from webapp.sweeps.importance import Importance
from webapp.sweeps.models import StopRule, Sweep, Take
from webapp.sweeps.results import Row, Setting
from webapp.sweeps.shapes import (
    ImportanceJson,
    NewSweep,
    SettingJson,
    SweepDetailJson,
    SweepJson,
    TrialJson,
)

MOST_BEST = 10  # settings in the answer
NUMBERS = {
    "settings": 0, "parallel": 4, "entropy": 0, "stop_after": 0, "stop_least": 4, "priority": 0,
}  # fmt: skip
TEXTS = {
    "name": "", "strategy": "grid", "objective": "validation/video_auc", "direction": "",
    "take": Take.BEST, "stop_rule": StopRule.NONE,
}  # fmt: skip
SORTS = ("", *listing.SORTS, *(f"-{name}" for name in listing.SORTS))
SORT = text("sort", "with - in front for the highest first", choices=SORTS)
PROJECT = text("project", "sweeps of this project, by its slug; of all yours without it")


class SweepList(APIView):
    @operation("Sweeps", query=[PROJECT], returns=Page[SweepJson], paging=Cursor)
    def get(self, request: Request) -> Response:
        """The newest first."""
        slug = request.GET.get("project")
        projects = [project_of(request, slug)] if slug else access.projects(request.user)
        rows = Sweep.objects.visible_to(request.user).filter(project__in=projects)
        pages = Cursor()
        page = pages.paginate_queryset(rows.select_related("owner", "project"), request) or []
        return pages.get_paginated_response([sweep_json(sweep) for sweep in page])

    @operation("Start a sweep", body=NewSweep, returns=SweepJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        """Its trials are queued, `parallel` at a time, by `strategy`.

        Each setting of the `space` is trained with each of the `seeds`. A known `objective` has a
        `direction` of its own.
        """
        data = json_object(request, NewSweep)
        kind = member(data, "kind", str, UrdmuConfig.kind)
        evaluate = data.get("evaluate", True)
        if type(evaluate) is not bool:
            raise invalid({"evaluate": "expected true or false"})
        sweep = services.sweep_create(
            project=project_of(request, member(data, "project", str, "")),
            by=request.user,
            config=training_class(kind).from_dict(member(data, "config", dict, {})),
            space=space.from_json(kind, member(data, "space", dict, {})),
            extract=optional_config(data, "extract", ExtractConfig),
            version=row(DatasetVersion.objects.visible_to(request.user), data, "version"),
            feature_set=row(FeatureSet.objects.visible_to(request.user), data, "feature_set"),
            seeds=member(data, "seeds", list, []),
            evaluate=evaluate,
            tags=texts_of(data, "tags"),
            resources=Resources(**resources_of(data)),
            **{name: member(data, name, int, usual) for name, usual in NUMBERS.items()},  # type: ignore[arg-type]
            **{name: member(data, name, str, str(usual)) for name, usual in TEXTS.items()},  # type: ignore[arg-type]
        )
        return Response(sweep_json(sweep), status=201)


class SweepDetail(APIView):
    @operation("A sweep", returns=SweepDetailJson)
    def get(self, request: Request, sweep_id: UUID) -> Response:
        """With its best settings, and what each setting explains of the objective."""
        view = listing.view(_sweep(request, sweep_id))
        found, trials = listing.importance(view)
        counts = view.counts
        answer: SweepDetailJson = {
            **sweep_json(view.sweep),
            "trials": {
                "planned": counts.planned, "made": counts.made, "active": counts.active,
                "done": counts.done, "pruned": counts.pruned, "failed": counts.failed,
                "ended": counts.ended,
            },
            "best": [_setting(one) for one in view.settings[:MOST_BEST]],
            "importance": {
                "trials": trials,
                "missing": listing.importance_missing(view) or None,
                "settings": [_importance(one) for one in found],
            },
        }  # fmt: skip
        return Response(answer)

    @operation("Forget a sweep")
    def delete(self, request: Request, sweep_id: UUID) -> Response:
        """One that has ended; its runs stay."""
        services.sweep_delete(sweep=_sweep(request, sweep_id), by=request.user)
        return Response(status=204)


class SweepTrials(APIView):
    @operation("Trials of a sweep", query=[SORT], returns=Page[TrialJson], paging=Offset)
    def get(self, request: Request, sweep_id: UUID) -> Response:
        """By number, or as `sort` says; trials without the value come last."""
        sort = request.GET.get("sort", "")
        if sort not in SORTS:
            raise invalid({"sort": f"{sort[:40]!r} is none of {', '.join(listing.SORTS)}"})
        pages = Offset()
        rows = listing.ordered(listing.view(_sweep(request, sweep_id)), sort)
        page = pages.paginate_queryset(rows, request) or []
        return pages.get_paginated_response([_trial(one) for one in page])


class SweepAction(APIView):
    @operation(
        "Hold, release or stop a sweep", path={"action": tuple(services.STEPS)}, returns=SweepJson
    )
    def post(self, request: Request, sweep_id: UUID, action: str) -> Response:
        """With all of its trials."""
        sweep = _sweep(request, sweep_id)
        if action not in services.STEPS:
            raise Http404
        services.STEPS[action](sweep=sweep, by=request.user)
        return Response(sweep_json(_sweep(request, sweep_id)))


def sweep_json(sweep: Sweep) -> SweepJson:
    return {
        "id": sweep.pk,
        "name": sweep.name,
        "project": sweep.project.slug,
        "owner": sweep.owner.username,
        "state": sweep.state,
        "problem": sweep.problem,
        "kind": sweep.kind,
        "config": sweep.config,
        "feature_set": sweep.feature_set_id,
        "evaluate": sweep.evaluate,
        "tags": sweep.tags,
        "priority": sweep.priority,
        "gpus": sweep.gpus,
        "memory_mb": sweep.memory_mb,
        "time_limit_s": sweep.time_limit_s,
        "space": sweep.space,
        "strategy": sweep.strategy,
        "settings": sweep.settings,
        "seeds": sweep.seeds,
        "parallel": sweep.parallel,
        "entropy": sweep.entropy,
        "objective": sweep.objective,
        "direction": "min" if sweep.falling else "max",
        "take": sweep.take,
        "chosen_on": sweep.chosen_on,
        "stop_rule": sweep.stop_rule,
        "stop_after": sweep.stop_after,
        "stop_least": sweep.stop_least,
        "trials_planned": sweep.trials_planned,
        "created_at": sweep.created_at,
        "changed_at": sweep.changed_at,
    }


def _trial(one: Row) -> TrialJson:
    trial = one.trial
    return {
        "number": trial.number + 1,
        "params": trial.params,
        "seed": trial.seed,
        "state": one.state,
        "objective": one.value,
        "auc": one.auc,
        "run": trial.run_id,
        "evaluation": trial.evaluation_id,
        "pruned_step": trial.pruned_step,
        "pruned_why": trial.pruned_why or None,
    }


def _setting(one: Setting) -> SettingJson:
    return {
        "params": one.params,
        "objective": one.mean,
        "deviation": one.deviation,
        "auc": one.auc,
        "trials": [row.trial.number + 1 for row in one.rows],
        "runs": [row.trial.run_id for row in one.rows],
    }


def _importance(one: Importance) -> ImportanceJson:
    return {
        "name": one.name, "share": one.share, "error": one.error, "chance": one.chance,
        "groups": one.groups,
    }  # fmt: skip


def _sweep(request: Request, sweep_id: UUID) -> Sweep:
    found = Sweep.objects.visible_to(request.user).select_related("owner", "project")
    return get_object_or_404(found, pk=sweep_id)
