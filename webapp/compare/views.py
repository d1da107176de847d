"""The comparison page, its figures and its tables. The selection is the address: ?run=…&run=…"""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe

from vad.errors import VadError
from webapp.charts import Figure
from webapp.compare import comparison, draws, export, figures, page, selection, two
from webapp.compare.page import Asked
from webapp.core.http import Request, figure
from webapp.core.query import whole

FIGURES = ("roc", "pr", "curves", "scatter")
PARTS = ("differences", "pairs", "two")  # asked for by htmx once the page stands


@require_safe
def compare(request: Request) -> HttpResponse:
    asked = page.asked(request.user, request.GET)
    part = request.GET.get("part", "")
    context: dict[str, Any] = {"asked": asked, "members": asked.members, "part": part}
    if part in PARTS and request.htmx:
        context["formats"] = export.FORMATS
        return render(request, f"compare/{part}.html", context | _part(asked, part))
    settings = comparison.settings(asked.members)
    context |= {
        "candidates": selection.candidates(request.project, asked.runs),
        "ways": selection.ways(asked.runs),
        "not_comparable": comparison.not_comparable(asked.members),
        "settings": [row for row in settings if not row.partial],
        "partial_settings": [row for row in settings if row.partial],
        "class_rows": comparison.class_rows(asked.members, asked.classes),
        "class_metrics": page.CLASS_METRICS,
        "class_words": page.CLASS_METRICS[asked.classes],
        "any_active": any(run.is_active for run in asked.runs),
        "figure_src": {name: _figure(asked, name) for name in FIGURES},
        "formats": export.FORMATS,
    }
    try:
        context["operating_rows"] = page.operating_rows(asked.evaluated[: figures.MOST_CURVES])
    except VadError as exc:
        context["operating_error"] = exc
    for name in PARTS:  # without scripts a part comes with the page when it is asked for
        context |= _part(asked, name) if part == name else _without(asked, name)
    return render(request, "compare/compare.html", context)


@require_GET
def compare_figure(request: Request, name: str) -> HttpResponse:
    return figure(lambda: _draw(request, name))


@require_GET
def compare_table(request: Request, name: str) -> HttpResponse:
    """A table as a file: `?as=md`, `csv` or `tex`."""
    asked = page.asked(request.user, request.GET)
    form = request.GET.get("as", "md")
    if form not in export.FORMATS or name not in ("metrics", "classes"):
        raise Http404
    if not asked.evaluated:
        raise Http404
    _, media_type, write = export.FORMATS[form]
    if name == "metrics":
        sheet = export.metric_sheet(
            comparison.metric_table(asked.members, asked.reference), caption(asked)
        )
    else:
        rows = comparison.class_rows(asked.members, asked.classes)
        text = f"AUC {page.CLASS_METRICS[asked.classes]}. {caption(asked)}"
        sheet = export.class_sheet(rows, asked.members, text)
    answer = HttpResponse(write(sheet), content_type=f"{media_type}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return answer


def caption(asked: Asked) -> str:
    """What the numbers are, in a sentence: data, protocol, intervals."""
    prints = {e.fingerprint for member in asked.evaluated for e in member.evaluations}
    versions = {str(e.version) for member in asked.evaluated for e in member.evaluations}
    spread = (
        "mean ± standard deviation over the runs of a group"
        if any(member.is_group for member in asked.members)
        else "95 % bootstrap intervals over test videos in brackets"
    )
    same = f"Protocol {next(iter(prints))[:12]}" if len(prints) == 1 else "Different protocols"
    return f"{', '.join(sorted(versions))}, test split; {spread}. {same}."


def _part(asked: Asked, name: str) -> dict[str, Any]:
    """What a part of the page shows once it has been computed."""
    if name == "differences":
        table = comparison.metric_table(asked.members, asked.reference, with_differences=True)
        return {"table": table, "with_differences": True, "samples": draws.SAMPLES}
    if name == "pairs":
        return _pairs(asked)
    chosen = asked.two
    if chosen is None:
        return {"two_error": None}
    context: dict[str, Any] = {
        "a": chosen[0],
        "b": chosen[1],
        "scatter_by": two.BY,
        "scatter_src": f"{_figure(asked, 'scatter')}",
    }
    try:
        context["explained"] = two.explained(*chosen)
    except VadError as exc:
        context["two_error"] = exc
    return context


def _pairs(asked: Asked) -> dict[str, Any]:
    metric, of_patches = asked.pairs, asked.pairs in draws.PATCH
    able = draws.under_one_protocol(asked.evaluated, metric=metric)
    able = able if len(able) > 1 else []
    unable = [member for member in asked.evaluated if member not in able]
    context: dict[str, Any] = {
        "metrics": page.pair_metrics(asked),
        "of_patches": of_patches,
        "samples": draws.SAMPLES,
        "left_out": max(0, len(able) - page.MOST_PAIRED),
        "other_protocol": [member for member in unable if draws.scored(member, metric)],
        "without_patches": [member for member in unable if not draws.scored(member, metric)],
    }
    if not able:
        return context | {"pair_rows": None}
    try:
        rows = page.pair_cells(able, metric)
    except VadError as exc:
        return context | {"pair_error": exc}
    shown = [member for member, _ in rows]
    older = draws.without_draws(shown) if of_patches else []
    return context | {"pair_rows": rows, "pair_members": shown, "without_draws": older}


def _without(asked: Asked, name: str) -> dict[str, Any]:
    """The place of a part that is still to come."""
    address = asked.address(part=name)
    if name == "differences":
        table = comparison.metric_table(asked.members, asked.reference)
        return {"table": table, "with_differences": False, "differences_src": address}
    return {f"{name}_src": address}


def _figure(asked: Asked, name: str) -> str:
    return f"{reverse('compare:figure', args=[name])}?{asked.query(key=asked.key)}"


def _draw(request: Request, name: str) -> Figure:
    asked = page.asked(request.user, request.GET)
    if name == "curves":
        low, high = whole(request.GET.get("from")), whole(request.GET.get("to"))
        return figures.curves(asked.members, asked.key, from_step=low, to_step=high)
    if name == "roc":
        return figures.roc(asked.members, with_bands=asked.with_bands)
    if name == "pr":
        return figures.pr(asked.members, with_bands=asked.with_bands)
    chosen = asked.two
    if name == "scatter" and chosen is not None:
        return two.scatter(*chosen, asked.scatter)
    raise VadError("not-found", f"There is no figure {name!r}.", f"Known: {', '.join(FIGURES)}.")
