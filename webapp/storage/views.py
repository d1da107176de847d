"""What people do about disk space, on the run's page and under Settings."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from vad.errors import ConfigError
from webapp.core.http import Request, back, go
from webapp.core.query import whole
from webapp.core.templatetags.vadlab import bytes_
from webapp.runs.models import Checkpoint, Run
from webapp.storage import artifacts, queries, retention, services


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


@require_safe
def storage(request: Request) -> HttpResponse:
    """What takes the room. `keep_best` shows what another rule of the project would free."""
    project = request.project
    asked = whole(request.GET.get("keep_best"))
    preview = None
    if project is not None and asked is not None and 1 <= asked <= retention.MOST_KEPT:
        gone = [h.gone() for h in retention.with_too_many(project.pk, keep_best=asked)]
        rows = [row for of_run in gone for row in of_run]
        preview = {
            "keep_best": asked,
            "checkpoints": len(rows),
            "runs": len(gone),
            "size_bytes": sum(row.size_bytes for row in rows),
        }
    context = {
        "storage": queries.storage(request.user),
        "has_bucket": artifacts.remote() is not None,
        "rule": retention.rule_of(project.pk) if project else None,
        "own_rule": hasattr(project, "retention"),
        "most_kept": retention.MOST_KEPT,
        "preview": preview,
        "removable": bool(services.orphans_of(request.user)),
    }
    return render(request, "storage/storage.html", context)


@require_POST
def measure(request: Request) -> HttpResponse:
    size_bytes = services.measure(by=request.user)
    messages.success(request, f"Measured: {bytes_(size_bytes)} in all.")
    return go(request, reverse("storage:storage"))


@require_POST
def rule(request: Request) -> HttpResponse:
    """Set the project's rule; an empty `keep_best` goes back to the server's default."""
    text = request.POST.get("keep_best", "").strip()
    keep_best = whole(text)
    if text and keep_best is None:
        raise ConfigError({"keep_best": "must be a whole number"}, what="The rule")
    held = services.rule_set(project=request.project, keep_best=keep_best, by=request.user)
    what = "checkpoint is kept" if held == 1 else f"{held} checkpoints are kept"
    messages.success(request, f"The best {what} of each run of {request.project}.")
    return go(request, reverse("storage:storage"))


@require_http_methods(["GET", "HEAD", "POST"])
def orphans(request: Request) -> HttpResponse:
    """Says which files would go; with a POST they go."""
    if request.method == "POST":
        count, freed = services.orphans_remove(by=request.user)
        what = "1 orphan" if count == 1 else f"{count} orphans"
        messages.success(request, f"{what} removed, {bytes_(freed)} freed.")
        return go(request, reverse("storage:storage"))
    found = services.orphans_of(request.user)
    context = {
        "orphans": found[:200],
        "count": len(found),
        "size_bytes": sum(finding.size_bytes for finding in found),
    }
    return render(request, "storage/orphans.html", context)
