"""The bag view of a training run: its page, its figures, and the same over the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.errors import VadError
from webapp.charts import Figure
from webapp.core import errors
from webapp.core.api import Request as ApiRequest
from webapp.core.http import Request, figure
from webapp.core.openapi import operation, text
from webapp.runs import bags
from webapp.runs.models import Run
from webapp.runs.shapes import BagsJson

VIDEO = text("video", "its key; the last one that is watched without it")
STEPS = text("step", "steps to show; a few of them without it", many=True)


@require_safe
def run_bags(request: Request, run_id: UUID) -> HttpResponse:
    run = get_object_or_404(
        Run.objects.visible_to(request.user).select_related("version"), pk=run_id
    )
    context: dict[str, Any] = {"run": run}
    try:
        view = bags.view_of(run, request.GET)
    except VadError as exc:
        return render(
            request, "runs/run_bags.html", context | {"error": exc}, status=errors.status_of(exc)
        )
    if view is None:
        return render(request, "runs/run_bags.html", context | {"why": bags.why_none(run)})
    query = view.query()
    context |= {
        "view": view,
        "rows": bags.segment_rows(view),
        "src": {
            name: f"{reverse('runs:bag-figure', args=[run.pk, name])}?{query}"
            for name in bags.FIGURES
        },
    }
    return render(request, "runs/run_bags.html", context)


@require_GET
def run_bag_figure(request: Request, run_id: UUID, name: str) -> HttpResponse:
    run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id)

    def draw() -> Figure:
        view = bags.view_of(run, request.GET)
        if view is None:
            raise VadError("not-found", *bags.why_none(run))
        return bags.figure_of(view, name)

    return figure(draw)


class RunBags(APIView):
    @operation("A watched bag of a training run", query=[VIDEO, STEPS], returns=BagsJson)
    def get(self, request: ApiRequest, run_id: UUID) -> Response:
        """The scores and the memory's answer for a video's snippets at these steps."""
        run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id)
        view = bags.view_of(run, request.GET)
        if view is None:
            raise Http404
        return Response(bags.to_json(view))
