"""Disk space over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.models import Project
from webapp.core.api import Request, json_object, member, project_of
from webapp.core.openapi import PROJECT, operation, text
from webapp.core.query import uuids
from webapp.runs.models import Checkpoint, Run
from webapp.runs.represent import checkpoint_json
from webapp.runs.shapes import CheckpointJson
from webapp.storage import deletion, queries, retention, services
from webapp.storage.models import Finding
from webapp.storage.shapes import (
    DeletionJson,
    KeepJson,
    NewKeep,
    Nothing,
    OrphanJson,
    OrphansJson,
    StorageJson,
    TotalJson,
)

PARTS = ("checkpoint", "score", "proxy", "log", "feature", "dataset", "stored")
MOST_RUNS = 1000  # in one preview
RUNS = text("run", "a run's id; may be repeated", required=True, many=True)


class CheckpointPin(APIView):
    @operation("Keep a checkpoint", returns=CheckpointJson, status=201)
    def post(self, request: Request, run_id: UUID, step: int) -> Response:
        """Whatever the rule says."""
        checkpoint = _checkpoint(request, run_id, step)
        services.checkpoint_pin(run=checkpoint.run, step=step, by=request.user)
        return Response(checkpoint_json(checkpoint, checkpoint.run), status=201)

    @operation("Leave a checkpoint to the rule")
    def delete(self, request: Request, run_id: UUID, step: int) -> Response:
        checkpoint = _checkpoint(request, run_id, step)
        services.checkpoint_unpin(run=checkpoint.run, step=step, by=request.user)
        return Response(status=204)


class Storage(APIView):
    @operation("What takes the room", returns=StorageJson)
    def get(self, request: Request) -> Response:
        """By project, as of the last survey."""
        return Response(_storage_json(queries.storage(request.user)))

    @operation("Measure the disk now", body=Nothing, returns=StorageJson)
    def post(self, request: Request) -> Response:
        json_object(request)
        services.measure(by=request.user)
        return Response(_storage_json(queries.storage(request.user)))


class Rule(APIView):
    @operation("How many checkpoints runs keep", query=[PROJECT], returns=KeepJson)
    def get(self, request: Request) -> Response:
        """The best ones."""
        return Response(_rule_json(project_of(request, request.GET.get("project"))))

    @operation("Set how many checkpoints runs keep", body=NewKeep, returns=KeepJson)
    def put(self, request: Request) -> Response:
        """null is the default of the server."""
        data = json_object(request, "project", "keep_best")
        project = project_of(request, member(data, "project", str, "") or None)
        nothing = data.get("keep_best") is None
        keep_best = None if nothing else member(data, "keep_best", int, 1)
        services.rule_set(project=project, keep_best=keep_best, by=request.user)
        return Response(_rule_json(project))


class Orphans(APIView):
    @operation("Files that no row knows", returns=OrphansJson)
    def get(self, request: Request) -> Response:
        """Those that you may remove; 500 at most are listed."""
        found = services.orphans_of(request.user)
        return Response(
            {
                "count": len(found),
                "size_bytes": sum(finding.size_bytes for finding in found),
                "results": [_finding_json(finding) for finding in found[:500]],
            }
        )

    @operation("Remove the files that no row knows", returns=TotalJson)
    def delete(self, request: Request) -> Response:
        count, freed = services.orphans_remove(by=request.user)
        return Response({"count": count, "size_bytes": freed})


class DeletionPreview(APIView):
    @operation("What deleting runs would free", query=[RUNS], returns=DeletionJson)
    def get(self, request: Request) -> Response:
        """And what keeps it from being done."""
        ids = uuids(request.GET.getlist("run"))[:MOST_RUNS]
        runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
        if not runs:
            raise Http404
        found = deletion.preview(runs)
        return Response(
            {
                "runs": [str(run.pk) for run in found.runs],
                "also": [str(run.pk) for run in found.also],
                "size_bytes": found.size_bytes,
                "checkpoints": found.checkpoints,
                "evaluations": found.evaluations,
                "running": [str(run.pk) for run in found.running],
                "needed_by": [str(run.pk) for run in found.needed_by],
                "possible": not found.blocked,
            }
        )


def _checkpoint(request: Request, run_id: UUID, step: int) -> Checkpoint:
    run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id)
    return get_object_or_404(Checkpoint.objects.select_related("run__project"), run=run, step=step)


def _rule_json(project: Project) -> KeepJson:
    return {"project": project.slug, "keep_best": retention.rule_of(project.pk)}


def _storage_json(found: queries.Storage) -> dict[str, Any]:
    return {
        "measured_at": found.at,
        "disk": {"used_bytes": found.disk.used_bytes, "free_bytes": found.disk.free_bytes},
        "size_bytes": found.size_bytes,
        "projects": [
            {
                "project": use.project.slug,
                "size_bytes": use.size_bytes,
                **{f"{part}_bytes": getattr(use, f"{part}_bytes") for part in PARTS},
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
        **{
            kind: {"count": count, "size_bytes": size}
            for kind, (count, size) in found.totals.items()
        },
    }


def _finding_json(finding: Finding) -> OrphanJson:
    return {
        "path": finding.path,
        "what": finding.what,
        "project": finding.project.slug if finding.project else None,
        "size_bytes": finding.size_bytes,
    }
