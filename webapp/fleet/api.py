"""The queue and the workers over HTTP."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.models import Project
from webapp.core.api import Request, invalid, json_object, member, project_of
from webapp.core.conditional import require_revision, revision, tagged
from webapp.core.openapi import PROJECT, Results, operation, text
from webapp.fleet import listing, services
from webapp.fleet.models import Pause, Server, Worker
from webapp.fleet.shapes import (
    NewShare,
    Paused,
    PauseJson,
    PauseStateJson,
    QueueJson,
    ShareJson,
    UsageJson,
    WorkerJson,
)
from webapp.fleet.views import WORKER_STEPS
from webapp.runs.represent import run_json, start_json

SERVER = text("server", "of the whole server", choices=("yes",))


class Queue(APIView):
    @operation("What waits", query=[PROJECT], returns=QueueJson)
    def get(self, request: Request) -> Response:
        """What has not started, in the order in which it would, why, and when; who paused it."""
        project = project_of(request, request.GET.get("project"))
        rows = listing.waits(project)
        for row in rows:
            row.run.project = project  # known, so it is not read once a row
        paused = listing.pauses(project)
        return Response(
            {
                "paused": _pause(paused.project),
                "server_paused": _pause(paused.server),
                "results": [
                    {
                        "run": run_json(row.run),
                        "why": row.why,
                        "place": row.place or None,
                        "starts": start_json(row.start),
                    }
                    for row in rows
                ],
            }
        )


class QueuePause(APIView):
    @operation("Whether the queue is paused", query=[PROJECT, SERVER], returns=PauseStateJson)
    def get(self, request: Request) -> Response:
        """Of a project, or of the whole server; the ETag is for pausing it, or going on."""
        whole_server = request.GET.get("server") == "yes"
        project = None if whole_server else project_of(request, request.GET.get("project"))
        paused = Pause.objects.filter(project=project).select_related("by").first()
        return tagged(Response({"paused": _pause(paused)}), _pause_revision(project))

    @operation("Pause the queue", body=Paused, returns=PauseJson, status=201, if_match=True)
    @transaction.atomic
    def post(self, request: Request) -> Response:
        """Nothing new of the project is claimed; with `server` nothing at all, by superusers."""
        data = json_object(request, Paused)
        reason = member(data, "reason", str, "")
        project = _scope(request, data)
        _require_pause_match(request, project)
        found = services.queue_pause(project=project, by=request.user, reason=reason)
        return Response(_pause(found), status=201)

    @operation("Go on with the queue", body=Paused, if_match=True)
    @transaction.atomic
    def delete(self, request: Request) -> Response:
        data = json_object(request, "project", "server")
        project = _scope(request, data)
        _require_pause_match(request, project)
        services.queue_resume(project=project, by=request.user)
        return Response(status=204)


class Workers(APIView):
    @operation("Workers and their slots", returns=Results[WorkerJson])
    def get(self, request: Request) -> Response:
        rows = listing.workers(request.user)
        return Response({"results": [_worker(row) for row in rows]})


class WorkerAction(APIView):
    @operation(
        "Drain or resume a worker",
        path={"action": tuple(WORKER_STEPS)},
        returns=WorkerJson | None,
    )
    def post(self, request: Request, name: str, action: str) -> Response:
        """A drained worker finishes what runs and takes nothing new. By superusers."""
        if action not in WORKER_STEPS:
            raise Http404
        WORKER_STEPS[action](worker=get_object_or_404(Worker, name=name), by=request.user)
        rows = listing.workers(request.user)
        return Response(next((_worker(row) for row in rows if row.worker.name == name), None))


class UsageList(APIView):
    @operation("Device hours that count", query=[PROJECT], returns=Results[UsageJson])
    def get(self, request: Request) -> Response:
        """Of the project's members, and their shares."""
        rows = listing.usage(project_of(request, request.GET.get("project")))
        return Response({"results": [row.__dict__ for row in rows]})

    @operation("Set a person's share", body=NewShare, returns=ShareJson)
    def patch(self, request: Request) -> Response:
        """With 2, twice as much of the devices as others. By superusers."""
        data = json_object(request, NewShare)
        share: Any = data.get("share")
        services.share_set(
            username=member(data, "user", str, ""),
            share=float(share) if type(share) in (int, float) else 0.0,
            by=request.user,
        )
        return Response({"user": data["user"], "share": share})


def _scope(request: Request, data: dict[str, Any]) -> Project | None:
    """What to pause; it has to be said, as it is much."""
    if data.get("server") is True:
        return None
    if not data.get("project"):
        raise invalid({"project": 'name a project, or say "server": true'})
    return project_of(request, member(data, "project", str, ""))


def _pause_revision(project: Project | None) -> str:
    """Of being paused or not; a pause is never changed, only ended and made anew."""
    pause = Pause.objects.filter(project=project).first()
    return revision(pause, "at") if pause is not None else "none"


def _require_pause_match(request: Request, project: Project | None) -> None:
    """Refuse who knows another state. In a transaction; raises `precondition-failed`."""
    if "If-Match" not in request.headers:
        return
    if project is not None:
        Project.objects.select_for_update().get(pk=project.pk)
    else:
        list(Server.objects.select_for_update())
    what = f"The pause of {project or 'the server'}"
    require_revision(request, _pause_revision(project), what=what)


def _pause(pause: Pause | None) -> PauseJson | None:
    if pause is None:
        return None
    by = pause.by.username if pause.by else None
    return {"by": by, "at": pause.at, "reason": pause.reason}


def _worker(row: listing.WorkerRow) -> WorkerJson:
    return {
        "name": row.worker.name,
        "host": row.worker.host,
        "version": row.worker.version,
        "alive": row.alive,
        "seen_at": row.worker.seen_at,
        "drained_at": row.worker.drained_at,
        "refused": row.worker.refused or None,
        "slots": [
            {
                "name": slot.name,
                "device": slot.device,
                "busy": slot.busy,
                "run": slot.run.pk if slot.run else None,
                "use_percent": slot.use_percent,
                "used_mb": slot.used_mb,
                "memory_mb": slot.memory_mb,
            }
            for slot in row.slots
        ],
    }
