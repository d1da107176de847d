"""Pages of runs: the table, one run, and what people do with them."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST, require_safe

from vad.errors import VadError
from webapp.core.http import Request, go
from webapp.core.query import uuids, whole
from webapp.runs import page, services, table
from webapp.runs.models import Run, State, kind_choices

LIVE_ROWS = 50  # rows of one page that may be asked for again

DONE = {"stop": "stopped", "hold": "held", "release": "released", "retry": "queued again"}


# --- the table ------------------------------------------------------------------------------


@require_safe
def run_list(request: Request) -> HttpResponse:
    filters = table.Filters.of(request.GET)
    found = table.found_ids(request.project, filters)
    part = Paginator(found, table.PAGE_SIZE).get_page(request.GET.get("page"))
    rows = table.rows(list(part.object_list))
    context = {
        "filters": filters,
        "page": part,
        "rows": rows,
        "has_any": bool(rows) or Run.objects.filter(project=request.project).exists(),
        "states": State.choices,
        "kinds": kind_choices(),
        "tags": table.tags(request.project),
        "live_query": _live_query(rows),
        "sort": filters.sort or "-created",
    }
    return render(request, "runs/run_list.html", context)


@require_GET
def run_live(request: Request) -> HttpResponse:
    """The changing cells of the rows that are named, and the next question while any is active."""
    ids = uuids(request.GET.getlist("run"))[:LIVE_ROWS]
    visible = Run.objects.visible_to(request.user).filter(pk__in=ids)
    rows = table.rows(list(visible.values_list("pk", flat=True).distinct()))
    context = {"rows": rows, "live_query": _live_query(rows), "oob": True}
    return render(request, "runs/run_list.html#live", context)


def _live_query(rows: list[table.Row]) -> str:
    return urlencode([("run", str(row.run.pk)) for row in rows if row.run.is_active])


@require_POST
def run_bulk(request: Request) -> HttpResponse:
    """One action on all selected runs; what cannot be done with one does not stop the others."""
    ids = uuids(request.POST.getlist("run"))
    action = request.POST.get("action", "")
    if action == "compare":
        return go(request, _with_runs("compare:index", ids))
    if action == "delete":
        return go(request, _with_runs("runs:delete", ids))
    runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
    if action == "tag":
        word = request.POST.get("tag", "").strip()
        remove = word.startswith("-")
        services.runs_tag(runs=runs, tag=word.lstrip("-"), by=request.user, remove=remove)
        messages.success(
            request, f"Tag {'taken off' if remove else 'given to'} {_runs(len(runs))}."
        )
    elif action in services.STEPS:
        _step_all(request, runs, action)
    return go(request, _next(request))


def _step_all(request: Request, runs: list[Run], action: str) -> None:
    refused: list[str] = []
    for run in runs:
        try:
            services.STEPS[action](run=run, by=request.user)
        except VadError as exc:
            refused.append(exc.message)
    if len(runs) > len(refused):
        messages.success(request, f"{_runs(len(runs) - len(refused))} {DONE[action]}.")
    for text in refused[:5]:
        messages.warning(request, text)
    if len(refused) > 5:
        messages.warning(request, f"… and {len(refused) - 5} more were left as they are.")


# --- one run; its page is in detail.py -------------------------------------------------------


@require_POST
def run_act(request: Request, run_id: UUID, action: str) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    if action not in services.STEPS:
        raise Http404
    services.STEPS[action](run=run, by=request.user)
    run.refresh_from_db()
    how = "will be" if run.stop else "is"
    after = " as soon as it has written a checkpoint" if run.stop else ""
    messages.success(request, f"{run.name} {how} {DONE[action]}{after}.")
    return go(request, _next(request, reverse("runs:detail", args=[run.pk])))


@require_POST
def run_priority(request: Request, run_id: UUID) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    change = whole(request.POST.get("change")) or 0
    priority = max(-100, min(100, run.priority + change))
    services.run_prioritize(run=run, priority=priority, by=request.user)
    return go(request, _next(request, reverse("fleet:queue")))


def run_delete(request: Request) -> HttpResponse:
    """Says what would go; after that, with a POST, it goes."""
    given = request.POST if request.method == "POST" else request.GET
    ids = uuids(given.getlist("run"))
    runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
    if not runs:
        raise Http404
    if request.method == "POST":
        services.runs_delete(runs=runs, by=request.user)
        messages.success(request, f"{_runs(len(runs))} deleted.")
        return go(request, reverse("runs:list"))
    return render(request, "runs/run_delete.html", page.deletion(runs))


# --- small things ---------------------------------------------------------------------------


def _next(request: Request, default: str = "") -> str:
    """Where the person came from, if it is a page of ours."""
    to = request.POST.get("next", "") or request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(to, allowed_hosts={request.get_host()}):
        return to
    return default or reverse("runs:list")


def _with_runs(name: str, ids: list[UUID]) -> str:
    return f"{reverse(name)}?{urlencode([('run', str(i)) for i in ids])}"


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"
