"""Disk space over HTTP."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.models import Project
from webapp.core.api import Request, invalid, json_object, member, project_of
from webapp.core.openapi import PROJECT, operation, text
from webapp.core.query import uuids
from webapp.runs.models import Checkpoint, Run
from webapp.runs.represent import checkpoint_json
from webapp.runs.shapes import CheckpointJson
from webapp.storage import deletion, queries, retention, services
from webapp.storage.models import Finding
from webapp.storage.shapes import (
    DeletionJson,
    OrphanJson,
    OrphansJson,
    RetentionRuleChange,
    RetentionRuleJson,
    StorageJson,
    TotalJson,
)

MOST_RUNS = 1000  # in one preview
MOST_ORPHANS = 500  # in one answer
RUN = text("run", f"ids of runs, {MOST_RUNS} at most", required=True, many=True)


class CheckpointPin(APIView):
    @operation("Pin a checkpoint", returns=CheckpointJson, status=201)
    def post(self, request: Request, run_id: UUID, step: int) -> Response:
        """It is kept whatever the project's rule says; pinning it twice changes nothing."""
        checkpoint = _checkpoint(request, run_id, step)
        services.checkpoint_pin(run=checkpoint.run, step=step, by=request.user)
        return Response(checkpoint_json(checkpoint, checkpoint.run), status=201)

    @operation("Unpin a checkpoint")
    def delete(self, request: Request, run_id: UUID, step: int) -> Response:
        """It is left to the rule again, which is applied at once."""
        checkpoint = _checkpoint(request, run_id, step)
        services.checkpoint_unpin(run=checkpoint.run, step=step, by=request.user)
        return Response(status=204)


class Storage(APIView):
    @operation("What takes the room", returns=StorageJson)
    def get(self, request: Request) -> Response:
        """Of your projects, as of the last survey of the disk."""
        return Response(_storage_json(queries.storage(request.user)))

    @operation("Measure the disk", returns=StorageJson, refuses=(429,))
    def post(self, request: Request) -> Response:
        """Once a minute at most."""
        json_object(request)
        services.measure(by=request.user)
        return Response(_storage_json(queries.storage(request.user)))


class Rule(APIView):
    @operation("How many checkpoints runs keep", query=[PROJECT], returns=RetentionRuleJson)
    def get(self, request: Request) -> Response:
        return Response(_rule_json(project_of(request, request.GET.get("project"))))

    @operation(
        "Set how many checkpoints runs keep", body=RetentionRuleChange, returns=RetentionRuleJson
    )
    def put(self, request: Request) -> Response:
        """The best `keep_best` of each run; applied at once, where it is many within minutes."""
        data = json_object(request, RetentionRuleChange)
        project = project_of(request, member(data, "project", str, "") or None)
        nothing = data.get("keep_best") is None
        keep_best = None if nothing else member(data, "keep_best", int, 1)
        services.rule_set(project=project, keep_best=keep_best, by=request.user)
        return Response(_rule_json(project))


class Orphans(APIView):
    @operation("Files that no row knows", returns=OrphansJson)
    def get(self, request: Request) -> Response:
        """Those that you may remove, the largest first, as of the last survey."""
        found = services.orphans_of(request.user)
        answer: OrphansJson = {
            "count": len(found),
            "size_bytes": sum(finding.size_bytes for finding in found),
            "results": [_orphan_json(finding) for finding in found[:MOST_ORPHANS]],
        }
        return Response(answer)

    @operation("Remove files that no row knows", returns=TotalJson)
    def delete(self, request: Request) -> Response:
        """All of those that you may remove; one that has a row by now stays."""
        count, freed = services.orphans_remove(by=request.user)
        return Response({"count": count, "size_bytes": freed})


class DeletionPreview(APIView):
    @operation("What deleting runs would free", query=[RUN], returns=DeletionJson)
    def get(self, request: Request) -> Response:
        """And what keeps it from being done. Runs that you may not delete are passed over."""
        ids = uuids(request.GET.getlist("run"))
        if len(ids) > MOST_RUNS:
            raise invalid({"run": f"{len(ids):,} runs, {MOST_RUNS:,} at most; ask for fewer"})
        runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
        if not runs:
            raise Http404
        found = deletion.preview(runs)
        answer: DeletionJson = {
            "runs": [run.pk for run in found.runs],
            "also": [run.pk for run in found.also],
            "size_bytes": found.size_bytes,
            "checkpoints": found.checkpoints,
            "evaluations": found.evaluations,
            "running": [run.pk for run in found.running],
            "needed_by": [run.pk for run in found.needed_by],
            "possible": not found.blocked,
        }
        return Response(answer)


def _checkpoint(request: Request, run_id: UUID, step: int) -> Checkpoint:
    run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id)
    return get_object_or_404(Checkpoint.objects.select_related("run__project"), run=run, step=step)


def _rule_json(project: Project) -> RetentionRuleJson:
    return {"project": project.slug, "keep_best": retention.rule_of(project.pk)}


def _storage_json(found: queries.Storage) -> StorageJson:
    return {
        "measured_at": found.at,
        "disk": {"used_bytes": found.disk.used_bytes, "free_bytes": found.disk.free_bytes},
        "size_bytes": found.size_bytes,
        "projects": [
            {
                "project": use.project.slug,
                "size_bytes": use.size_bytes,
                "checkpoint_bytes": use.checkpoint_bytes,
                "score_bytes": use.score_bytes,
                "proxy_bytes": use.proxy_bytes,
                "log_bytes": use.log_bytes,
                "feature_bytes": use.feature_bytes,
                "dataset_bytes": use.dataset_bytes,
                "stored_bytes": use.stored_bytes,
            }
            for use in found.projects
        ],
        "largest": [
            {
                "kind": row.area,
                "name": row.name,
                "url": row.url,
                "project": row.project.slug,
                "size_bytes": row.size_bytes,
            }
            for row in found.largest
        ],
        "orphans": _total_json(*found.totals["orphans"]),
        "missing": _total_json(*found.totals["missing"]),
    }


def _total_json(count: int, size_bytes: int) -> TotalJson:
    return {"count": count, "size_bytes": size_bytes}


def _orphan_json(finding: Finding) -> OrphanJson:
    return {
        "path": finding.path,
        "what": finding.what,
        "project": finding.project.slug if finding.project else None,
        "size_bytes": finding.size_bytes,
    }
