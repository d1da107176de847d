"""Pages of evaluations."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_safe

from vad.errors import VadError
from webapp.core.http import Request, figure, respond
from webapp.evaluations import figures, listing, viewer
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION

PAGE_SIZE = 50
FIGURES = {
    "roc": lambda evaluation: figures.roc([evaluation], with_band=True),
    "pr": lambda evaluation: figures.pr([evaluation], with_band=True),
    "classes": figures.by_class,
}


@require_safe
def evaluation_list(request: Request) -> HttpResponse:
    filters = listing.Filters.of(request.GET)
    found = listing.evaluations(request.project, filters)
    context = {
        "filters": filters,
        "page": Paginator(found, PAGE_SIZE).get_page(request.GET.get("page")),
        "versions": listing.versions(request.project),
        "any_trained": listing.any_trained(request.project),
        "sort": filters.sort or "-created",
    }
    return render(request, "evaluations/evaluation_list.html", context)


@require_safe
def evaluation_detail(request: Request, run_id: UUID) -> HttpResponse:
    evaluation = _evaluation(request, run_id)
    classes = listing.class_rows(evaluation)
    context: dict[str, Any] = {
        "evaluation": evaluation,
        "selection_rule": SELECTION.get(evaluation.selection, evaluation.selection),
        "protocol_rows": listing.protocol_rows(evaluation),
        "count_rows": listing.count_rows(evaluation),
        "per_class": classes,
        "class_intervals": any(row["interval"] for row in classes),
        "roc_src": _figure(evaluation, "roc"),
        "pr_src": _figure(evaluation, "pr"),
        "class_src": _figure(evaluation, "classes") if evaluation.per_class else "",
        "filters": {"class": request.GET.get("class", "")},
        "sort": request.GET.get("sort", "") or "contribution",
    }
    context["patch_main"], context["patch_rest"] = viewer.patch_numbers(evaluation)
    context["patch_facts"] = viewer.patch_facts(evaluation)
    context["stage_rows"] = viewer.stage_rows(evaluation)
    try:
        rows = listing.video_rows(
            evaluation, sort=request.GET.get("sort", ""), class_name=request.GET.get("class", "")
        )
    except VadError as exc:
        context["scores_error"] = exc
        rows = []
    known = {row.key for row in rows}
    chosen = request.GET.get("video", "")
    video = chosen if chosen in known else listing.telling(rows)
    context["videos"] = rows
    context["video"] = video
    if video:
        query = urlencode({"key": video})
        context["timeline_title"] = f"Score of {video}"
        context["viewer"] = viewer.viewer_of(
            evaluation, video, frame=request.GET.get("frame", ""), can_edit=request.can_edit
        )
        context["timeline_src"] = f"{reverse('evaluations:timeline', args=[run_id])}?{query}"
    return respond(request, "evaluations/evaluation_detail.html", "timeline", context)


@require_GET
def evaluation_figure(request: Request, run_id: UUID, name: str) -> HttpResponse:
    evaluation = _evaluation(request, run_id)
    draw = FIGURES.get(name)
    if draw is None:
        return figure(lambda: _unknown(name))
    return figure(lambda: draw(evaluation))


@require_GET
def evaluation_timeline(request: Request, run_id: UUID) -> HttpResponse:
    evaluation = _evaluation(request, run_id)
    return figure(lambda: figures.timeline([evaluation], request.GET.get("key", "")))


def _unknown(name: str) -> Any:
    raise VadError("not-found", f"There is no figure {name!r}.", f"Known: {', '.join(FIGURES)}.")


def _evaluation(request: Request, run_id: UUID) -> Evaluation:
    found = Evaluation.objects.visible_to(request.user).select_related(
        "run", "of_run", "checkpoint", "version__dataset", "feature_set"
    )
    return get_object_or_404(found, pk=run_id)


def _figure(evaluation: Evaluation, name: str) -> str:
    return reverse("evaluations:figure", args=[evaluation.pk, name])
