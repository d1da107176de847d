"""The comparison page and its figures. The selection is the address: ?run=…&run=…"""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_safe

from vad.errors import VadError
from webapp.charts import Figure
from webapp.compare import comparison
from webapp.compare.comparison import Column
from webapp.core.http import Request, figure, respond
from webapp.core.query import uuids, whole
from webapp.evaluations import figures as evaluation_figures
from webapp.runs import figures as run_figures
from webapp.runs.models import Run


@require_safe
def compare(request: Request) -> HttpResponse:
    runs = _runs(request)
    evaluated = comparison.evaluations(runs)
    columns = [
        Column(run=run, evaluation=evaluated.get(run.pk), without=_address(runs, leave_out=run))
        for run in runs
    ]
    keys = comparison.metric_keys(runs)
    key = request.GET.get("key", "")
    key = key if key in keys else next(iter(_preferred(keys)), "")
    # Paired differences take a moment, so htmx asks for them once the page stands.
    with_differences = bool(request.htmx) or "differences" in request.GET
    rows, problems = comparison.metric_rows(columns, with_differences=with_differences)
    query = _query(runs)
    context = {
        "columns": columns,
        "candidates": comparison.candidates(request.project, runs),
        "not_comparable": comparison.not_comparable(columns),
        "problems": problems,
        "any_evaluated": bool(evaluated),
        "metric_rows": rows,
        "config_rows": comparison.config_rows(columns),
        "keys": keys,
        "key": key,
        "any_active": any(run.is_active for run in runs),
        "roc_src": f"{reverse('compare:figure', args=['roc'])}?{query}",
        "pr_src": f"{reverse('compare:figure', args=['pr'])}?{query}",
        "curves_src": f"{reverse('compare:figure', args=['curves'])}?{query}&"
        + urlencode({"key": key}),
        "with_differences": with_differences,
        "differences_src": f"{reverse('compare:index')}?{query}&differences=yes",
        "samples": comparison.PAIRED_SAMPLES,
    }
    return respond(request, "compare/compare.html", "metrics", context)


@require_GET
def compare_figure(request: Request, name: str) -> HttpResponse:
    runs = _runs(request)
    return figure(lambda: _draw(request, name, runs))


def _draw(request: Request, name: str, runs: Sequence[Run]) -> Figure:
    if name == "curves":
        low, high = whole(request.GET.get("from")), whole(request.GET.get("to"))
        return run_figures.of_runs(runs, request.GET.get("key", ""), from_step=low, to_step=high)
    draw = {"roc": evaluation_figures.roc, "pr": evaluation_figures.pr}.get(name)
    if draw is None:
        raise VadError("not-found", f"There is no figure {name!r}.", "Known: roc, pr, curves.")
    return draw(list(comparison.evaluations(runs).values()))


def _runs(request: Request) -> list[Run]:
    return comparison.chosen(request.user, uuids(request.GET.getlist("run")))


def _preferred(keys: Sequence[str]) -> list[str]:
    """What one wants to see first: a validation score, then the loss, then anything."""
    first = ("validation/video_auc", "test/frame_auc", "loss/total")
    return [key for key in first if key in keys] + list(keys)


def _query(runs: Sequence[Run]) -> str:
    return urlencode([("run", str(run.pk)) for run in runs])


def _address(runs: Sequence[Run], *, leave_out: Run) -> str:
    left = [run for run in runs if run.pk != leave_out.pk]
    return f"{reverse('compare:index')}?{_query(left)}"
