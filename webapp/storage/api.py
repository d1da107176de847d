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
from webapp.core.query import uuids
from webapp.runs.models import Checkpoint, Run
from webapp.runs.represent import checkpoint_json
from webapp.storage import deletion, queries, retention, services
from webapp.storage.models import Finding

PARTS = ("checkpoint", "score", "proxy", "log", "feature", "dataset", "stored")
MOST_RUNS = 1000  # in one preview


class CheckpointPin(APIView):
    """POST: keep a checkpoint whatever the rule says. DELETE: leave it to the rule again."""

    def post(self, request: Request, run_id: UUID, step: int) -> Response:
        checkpoint = _checkpoint(request, run_id, step)
        services.checkpoint_pin(run=checkpoint.run, step=step, by=request.user)
        return Response(checkpoint_json(checkpoint, checkpoint.run), status=201)

    def delete(self, request: Request, run_id: UUID, step: int) -> Response:
        checkpoint = _checkpoint(request, run_id, step)
        services.checkpoint_unpin(run=checkpoint.run, step=step, by=request.user)
        return Response(status=204)


class Storage(APIView):
    """GET: what takes the room, by project, as of the last survey. POST: measure now."""

    def get(self, request: Request) -> Response:
        return Response(_storage_json(queries.storage(request.user)))

    def post(self, request: Request) -> Response:
        json_object(request)
        services.measure(by=request.user)
        return Response(_storage_json(queries.storage(request.user)))


class Rule(APIView):
    """GET: how many of the best checkpoints runs keep; `?project=`.

    PUT: `{"project": SLUG, "keep_best": NUMBER}`; null: the server's default.
    """

    def get(self, request: Request) -> Response:
        return Response(_rule_json(project_of(request, request.GET.get("project"))))

    def put(self, request: Request) -> Response:
        data = json_object(request, "project", "keep_best")
        project = project_of(request, member(data, "project", str, "") or None)
        nothing = data.get("keep_best") is None
        keep_best = None if nothing else member(data, "keep_best", int, 1)
        services.rule_set(project=project, keep_best=keep_best, by=request.user)
        return Response(_rule_json(project))


class Orphans(APIView):
    """GET: files that no row knows and that the person may remove; 500 at most. DELETE: do it."""

    def get(self, request: Request) -> Response:
        found = services.orphans_of(request.user)
        return Response(
            {
                "count": len(found),
                "size_bytes": sum(finding.size_bytes for finding in found),
                "results": [_finding_json(finding) for finding in found[:500]],
            }
        )

    def delete(self, request: Request) -> Response:
        count, freed = services.orphans_remove(by=request.user)
        return Response({"count": count, "size_bytes": freed})


class DeletionPreview(APIView):
    """GET: what deleting `?run=ID&run=ID` would free, and what keeps it from being done."""

    def get(self, request: Request) -> Response:
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


def _rule_json(project: Project) -> dict[str, Any]:
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


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "path": finding.path,
        "what": finding.what,
        "project": finding.project.slug if finding.project else None,
        "size_bytes": finding.size_bytes,
    }
