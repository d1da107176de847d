"""Disk space over HTTP."""

from __future__ import annotations

from uuid import UUID

from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Request
from webapp.runs.models import Checkpoint, Run
from webapp.runs.represent import checkpoint_json
from webapp.storage import services


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


def _checkpoint(request: Request, run_id: UUID, step: int) -> Checkpoint:
    run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id)
    return get_object_or_404(Checkpoint.objects.select_related("run__project"), run=run, step=step)
