"""What people do with runs. The table is in list_views.py, the page of one run in detail.py."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from webapp.core.http import Request, back, go
from webapp.core.query import uuids, whole
from webapp.runs import services
from webapp.runs.models import Run
from webapp.storage import deletion


@require_POST
def run_act(request: Request, run_id: UUID, action: str) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    if action not in services.STEPS:
        raise Http404
    services.STEPS[action](run=run, by=request.user)
    run.refresh_from_db()
    how = "will be" if run.stop else "is"
    after = " as soon as it has written a checkpoint" if run.stop else ""
    messages.success(request, f"{run.name} {how} {services.DONE[action]}{after}.")
    return go(request, back(request, reverse("runs:detail", args=[run.pk])))


@require_POST
def run_note(request: Request, run_id: UUID) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    services.run_annotate(run=run, notes=request.POST.get("notes", ""), by=request.user)
    return go(request, back(request, reverse("runs:detail", args=[run.pk])))


@require_POST
def run_priority(request: Request, run_id: UUID) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    change = whole(request.POST.get("change")) or 0
    priority = max(-100, min(100, run.priority + change))
    services.run_prioritize(run=run, priority=priority, by=request.user)
    return go(request, back(request, reverse("fleet:queue")))


def run_delete(request: Request) -> HttpResponse:
    """Says what would go; after that, with a POST, it goes."""
    given = request.POST if request.method == "POST" else request.GET
    ids = uuids(given.getlist("run"))
    runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
    if not runs:
        raise Http404
    if request.method == "POST":
        services.runs_delete(runs=runs, by=request.user)
        messages.success(request, f"{runs_word(len(runs))} deleted.")
        return go(request, reverse("runs:list"))
    return render(request, "runs/run_delete.html", {"deletion": deletion.preview(runs)})


# --- small things ---------------------------------------------------------------------------


def runs_word(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"
