"""The queue page, and what people do on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from vad.errors import VadError
from webapp.accounts.models import Project
from webapp.core.http import Request, go
from webapp.core.query import whole
from webapp.fleet import listing, services
from webapp.fleet.models import Worker
from webapp.runs.models import Run
from webapp.runs.reordering import run_move
from webapp.runs.resources import run_set_resources
from webapp.runs.services import run_retry

MARK_HEADER = "Queue-Mark"
WORKER_STEPS = {"drain": services.worker_drain, "resume": services.worker_resume}


@require_safe
def queue(request: Request) -> HttpResponse:
    template = "fleet/queue_body.html" if request.htmx else "fleet/queue.html"
    return render(request, template, _context(request))


@require_POST
def pause(request: Request) -> HttpResponse:
    """`scope`: project, or server for everything; `reason`."""
    reason = request.POST.get("reason", "")
    services.queue_pause(project=_scope(request), by=request.user, reason=reason)
    return _answer(request)


@require_POST
def resume(request: Request) -> HttpResponse:
    services.queue_resume(project=_scope(request), by=request.user)
    return _answer(request)


@require_POST
def worker_act(request: Request, worker_id: int, action: str) -> HttpResponse:
    if action not in WORKER_STEPS or not request.user.is_superuser:
        raise Http404
    WORKER_STEPS[action](worker=get_object_or_404(Worker, pk=worker_id), by=request.user)
    return _answer(request)


@require_POST
def move(request: Request, run_id: UUID) -> HttpResponse:
    """`to`: up, down or top, among the project's queued runs of the run's priority."""
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    run_move(run=run, to=request.POST.get("to", ""), by=request.user)
    return _answer(request)


@require_POST
def more_time(request: Request, run_id: UUID) -> HttpResponse:
    """`minutes`: a higher limit for a run that used up its time; it goes on from its checkpoint."""
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    minutes = whole(request.POST.get("minutes"))
    with transaction.atomic():
        changes = {"time_limit_s": minutes * 60 if minutes else None}
        run_set_resources(run=run, changes=changes, by=request.user)
        run_retry(run=run, by=request.user)
    return go(request, reverse("runs:detail", args=[run.pk]))


def _context(request: Request) -> dict[str, Any]:
    """What the page shows. What waits is left out where the browser has it: it says which mark."""
    workers, number = listing.workers(request.user), request.GET.get("page", "")
    mark = listing.mark(
        request.user.pk, request.project and request.project.pk, request.can_edit, number
    )
    context: dict[str, Any] = {
        "workers": workers,
        "any_alive": any(row.alive for row in workers),
        "pauses": listing.pauses(request.project),
        "mark": mark,
        "unchanged": request.headers.get(MARK_HEADER) == mark and request.method == "GET",
        "number": number,
    }
    if not context["unchanged"]:
        page, waiting = listing.waits_page(request.project, number)
        usage = listing.usage(request.project)
        context |= {"page": page, "waiting": waiting, "usage": usage}
    return context


def _scope(request: Request) -> Project | None:
    """What to pause; it has to be said, as it is much."""
    scope = request.POST.get("scope")
    if scope == "server":
        return None
    if scope != "project" or request.project is None:
        raise VadError("request-invalid", "Say what to pause: scope is 'project' or 'server'.")
    return request.project


def _answer(request: Request) -> HttpResponse:
    """The part that changed for htmx, else the page again."""
    if request.htmx:
        return render(request, "fleet/queue_body.html", _context(request))
    return go(request, reverse("fleet:queue"))
