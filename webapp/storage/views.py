"""What people do about disk space, on the run's page and under Settings."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from webapp.core.http import Request, back, go
from webapp.runs.models import Checkpoint, Run
from webapp.storage import services


@require_POST
def checkpoint_pin(request: Request, run_id: UUID, step: int) -> HttpResponse:
    """Pin a checkpoint, or with `action=unpin` leave it to the rule."""
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    get_object_or_404(Checkpoint, run=run, step=step)
    if request.POST.get("action") == "unpin":
        services.checkpoint_unpin(run=run, step=step, by=request.user)
        messages.success(request, f"Step {step:,} is left to the rule again.")
    else:
        services.checkpoint_pin(run=run, step=step, by=request.user)
        messages.success(request, f"Step {step:,} stays until it is unpinned.")
    page = reverse("runs:detail", args=[run.pk])
    return go(request, back(request, f"{page}?tab=checkpoints"))
