"""The queue page."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webapp.core.http import Request
from webapp.fleet import listing


@require_safe
def queue(request: Request) -> HttpResponse:
    workers = listing.workers(request.user)
    context = {
        "workers": workers,
        "any_alive": any(row.alive for row in workers),
        "waiting": listing.waits(request.project),
    }
    template = "fleet/queue_body.html" if request.htmx else "fleet/queue.html"
    return render(request, template, context)
