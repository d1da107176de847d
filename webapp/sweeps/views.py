"""Pages of sweeps."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST, require_safe

from vad.errors import VadError
from webapp.core import errors
from webapp.core.http import Request, figure, go, respond
from webapp.core.query import uuids
from webapp.runs.models import Run
from webapp.sweeps import figures, forms, listing, objectives, services, space
from webapp.sweeps.listing import View
from webapp.sweeps.models import Sweep, SweepState
from webapp.sweeps.results import Row


@require_safe
def sweep_list(request: Request) -> HttpResponse:
    page = listing.sweeps(request.project, request.GET.get("page"))
    return render(request, "sweeps/sweep_list.html", {"page": page})


def sweep_new(request: Request) -> HttpResponse:
    """The form; with a POST, the sweep. What is wrong stands beside its field, nothing is lost."""
    if not request.can_edit:
        raise PermissionDenied
    given = request.POST if request.method == "POST" else request.GET
    source = _source(request, request.GET.get("from", ""))
    kind = given.get("kind", "") or (source.kind if source else "")
    kind = kind if kind in dict(forms.KINDS) else forms.KINDS[0][0]
    context = forms.context_of(request.project, kind)
    context |= {"errors": {}, "swept_errors": {}}
    if request.method != "POST":
        values = forms.prefilled(source if source and source.kind == kind else None)
        context |= {"values": values, "rows": forms.rows_of({}, {})}
        return render(request, "sweeps/sweep_form.html", context)
    values = {name: request.POST.get(name, "") for name in (*context["names"], *forms.FIELDS)}
    context |= {"values": values, "rows": forms.rows_of(request.POST, {})}
    if request.POST.get("more"):
        return render(request, "sweeps/sweep_form.html", context)
    try:
        rows = [name for name in request.POST if name.startswith(("swept-", "values-"))]
        values_of_rows = {name: request.POST.get(name, "") for name in rows}
        sweep = forms.create(
            project=request.project, by=request.user, kind=kind, given={**values, **values_of_rows}
        )
    except VadError as exc:
        context |= {"errors": exc.fields, "error": exc}
        context["rows"] = forms.rows_of(request.POST, exc.fields)
        return render(request, "sweeps/sweep_form.html", context, status=errors.status_of(exc))
    messages.success(request, f"{sweep.name} has started: {sweep.trials_planned} trials.")
    return go(request, reverse("sweeps:detail", args=[sweep.pk]))


@require_safe
def sweep_detail(request: Request, sweep_id: UUID) -> HttpResponse:
    sweep = _sweep(request, sweep_id)
    return respond(
        request, "sweeps/sweep_detail.html", "live", _context(request, listing.view(sweep))
    )


@require_GET
def sweep_figure(request: Request, sweep_id: UUID, name: str) -> HttpResponse:
    if name not in figures.FIGURES:
        raise Http404
    view = listing.view(_sweep(request, sweep_id))
    return figure(lambda: figures.FIGURES[name](view))


@require_POST
def sweep_act(request: Request, sweep_id: UUID, action: str) -> HttpResponse:
    """hold, release or stop the sweep with all of its trials; delete one that has ended."""
    sweep = get_object_or_404(Sweep.objects.editable_by(request.user), pk=sweep_id)
    if action == "delete":
        services.sweep_delete(sweep=sweep, by=request.user)
        messages.success(request, f"{sweep.name} is deleted. Its runs are still there.")
        return go(request, reverse("sweeps:list"))
    if action not in services.STEPS:
        raise Http404
    services.STEPS[action](sweep=sweep, by=request.user)
    return go(request, reverse("sweeps:detail", args=[sweep.pk]))


def _sweep(request: Request, sweep_id: UUID) -> Sweep:
    found = Sweep.objects.visible_to(request.user).select_related(
        "owner", "project", "feature_set__version__dataset"
    )
    return get_object_or_404(found, pk=sweep_id)


def _source(request: Request, text: str) -> Run | None:
    runs = Run.objects.visible_to(request.user).filter(pk__in=uuids([text]))
    return runs.filter(kind__in=dict(forms.KINDS)).first()


def _context(request: Request, view: View) -> dict[str, Any]:
    sweep, sort = view.sweep, request.GET.get("sort", "")
    page = Paginator(listing.ordered(view, sort), listing.PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    swept = view.swept
    compared = urlencode([("run", str(run.pk)) for run in view.compared])
    return {
        "sweep": sweep,
        "view": view,
        "counts": view.counts,
        "best": view.best,
        "best_params": _tried(view.best.params) if view.best else [],
        "top": [(one, _tried(one.params)) for one in view.settings[:5]],
        "swept": swept,
        "dimensions": [(d.name, d.words()) for d in sweep.typed_space],
        "page": page,
        "trials": [_cells(row, swept) for row in page],
        "sort": sort,
        "is_live": sweep.state == SweepState.ACTIVE or view.counts.active > 0,
        "query": request.GET.urlencode(),
        "importance_missing": listing.importance_missing(view),
        "of_evaluation": objectives.is_of_evaluation(sweep.objective),
        "runs_query": urlencode({"q": f'sweep = "{sweep.pk}"'}),
        "compare_query": compared if len(view.compared) > 1 else "",
    }


def _cells(row: Row, swept: list[str]) -> tuple[Row, list[str]]:
    return row, [space.shown(row.trial.params[name]) for name in swept]


def _tried(params: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, space.shown(value)) for name, value in params.items()]
