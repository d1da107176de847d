"""Pages of evaluations."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe

from vad.errors import VadError
from webapp.core.http import Request, figure, respond
from webapp.core.query import uuids
from webapp.evaluations import figures, listing, stages, videos, viewer
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION

PAGE_SIZE = 50
FIGURES = {
    "roc": figures.roc,
    "pr": figures.pr,
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
    context["patch_main"], context["patch_rest"] = stages.patch_numbers(evaluation)
    context["patch_facts"] = stages.patch_facts(evaluation)
    context["stage_rows"] = stages.stage_rows(evaluation)
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
        context["viewer"] = viewer.viewer_of(
            [evaluation], video, frame=request.GET.get("frame", ""), can_edit=request.can_edit
        )
    return respond(request, "evaluations/evaluation_detail.html", "timeline", context)


@require_GET
def evaluation_figure(request: Request, run_id: UUID, name: str) -> HttpResponse:
    evaluation = _evaluation(request, run_id)
    draw = FIGURES.get(name)
    if draw is None:
        return figure(lambda: _unknown(name))
    return figure(lambda: draw(evaluation))


@require_safe
def viewer_page(request: Request) -> HttpResponse:
    """The viewer: ?run=…&run=…&video=…; what else it shows is in its address, too."""
    ids = uuids(request.GET.getlist("run"))
    found = viewer.chosen(request.user, ids)
    if ids and not found.evaluations:
        raise Http404
    context: dict[str, Any] = {"notes": found.notes}
    if not found.evaluations:
        return render(request, "evaluations/viewer_page.html", context)
    first = found.evaluations[0]
    filters = videos.Filters.of(request.GET)
    key = request.GET.get("video", "")
    try:
        if key not in store.load(first).index:
            key = videos.telling(first, filters)
        context["picker"] = videos.picker(first, filters, key)
    except VadError as exc:
        context["scores_error"] = exc
    context |= {
        "first": first,
        "orders": videos.ORDERS,
        "kept": [(name, value) for name, values in request.GET.lists() for value in values],
        "candidates": viewer.candidates(request.user, found.evaluations),
        "viewer": viewer.viewer_of(
            found.evaluations, key, frame=request.GET.get("frame", ""), can_edit=request.can_edit
        ),
    }
    return respond(request, "evaluations/viewer_page.html", "found", context)


@require_GET
def viewer_timeline(request: Request) -> HttpResponse:
    """?run=…&video=…&patch=RUN.ROW.COLUMN, the id and two numbers from 1."""
    found = viewer.chosen(request.user, uuids(request.GET.getlist("run"))).evaluations
    patches = figures.patch_curves(request.GET.getlist("patch"), found)
    return figure(lambda: figures.timeline(found, request.GET.get("video", ""), patches=patches))


def _unknown(name: str) -> Any:
    raise VadError("not-found", f"There is no figure {name!r}.", f"Known: {', '.join(FIGURES)}.")


def _evaluation(request: Request, run_id: UUID) -> Evaluation:
    found = Evaluation.objects.visible_to(request.user).select_related(
        "run", "of_run", "checkpoint", "version__dataset", "feature_set"
    )
    return get_object_or_404(found, pk=run_id)


def _figure(evaluation: Evaluation, name: str) -> str:
    return reverse("evaluations:figure", args=[evaluation.pk, name])
