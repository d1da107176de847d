"""Pages of runs: the table, one run, and what people do with them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST, require_safe

from vad.errors import VadError
from webapp.core.http import Request, figure, go
from webapp.core.query import uuids, whole
from webapp.runs import figures, log, page, services, table, waiting
from webapp.runs.models import Run, State, kind_choices

LIVE_ROWS = 50  # rows of one page that may be asked for again
LAST_WORDS = 12  # lines of the log beside an error

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


# --- one run --------------------------------------------------------------------------------


@require_safe
def run_detail(request: Request, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    tab = request.GET.get("tab", "overview")
    tab = tab if tab in page.TABS else "overview"
    context: dict[str, Any] = {
        "run": run,
        "tab": tab,
        "tabs": page.tabs(run),
        "why": waiting.reason(run),
        "last_words": log.read(run.folder, most=4096).lines[-LAST_WORDS:] if run.error else [],
        **_tab_context(run, tab),
    }
    return render(request, "runs/run_detail.html", context)


def _tab_context(run: Run, tab: str) -> dict[str, Any]:
    if tab == "log":
        return {"log": log.read(run.folder)}
    if tab == "checkpoints":
        keys, rows = page.checkpoint_rows(run)
        return {
            "checkpoint_keys": keys,
            "checkpoints": rows,
            "selection_title": page.selection_rule(run),
        }
    if tab == "config":
        fields = page.config_rows(run)
        return {
            "config_rows": fields,
            "config_changes": sum(row.changed for row in fields),
            "config_base": run.cloned_from.name if run.cloned_from else "Default",
        }
    if tab == "events":
        return {"events": page.events(run)}
    results = page.results(run)
    return {
        "figures": _metric_figures(run),
        "results": results,
        "result_facts": page.result_facts(run),
        "evaluation_figures": _evaluation_figures(results),
        "lineage": page.lineage(run),
    }


def _metric_figures(run: Run) -> list[dict[str, Any]]:
    """The charts of the overview; a training run that is on its way has room for its first two."""
    groups = figures.shown_groups(page.metric_keys(run))
    if not groups and run.kind.startswith("train") and run.is_active:
        groups = [figures.group("score"), figures.group("loss")]
    return [
        {
            "id": f"chart-{group.name}",
            "src": reverse("runs:figure", args=[run.pk, group.name]),
            "title": group.title,
            "height": 360,
        }
        for group in groups
    ]


def _evaluation_figures(results: page.Results) -> list[dict[str, Any]]:
    if not results.evaluations:
        return []
    newest = results.evaluations[0]
    return [
        {
            "id": f"chart-{name}",
            "src": reverse("evaluations:figure", args=[newest.pk, name]),
            "title": title,
        }
        for name, title in (("roc", "Frame-level ROC"), ("pr", "Frame-level precision and recall"))
    ]


@require_GET
def run_status(request: Request, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    context = {
        "run": run,
        "why": waiting.reason(run),
        "oob": True,
        "seen": request.GET.get("seen", ""),
    }
    return render(request, "runs/run_detail.html#live", context)


@require_GET
def run_results(request: Request, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    results = page.results(run)
    answer = render(request, "runs/results.html", {"run": run, "results": results})
    if not results.live:  # the last evaluation came in: its charts belong on the page, too
        answer["HX-Refresh"] = "true"
    return answer


@require_GET
def run_figure(request: Request, run_id: UUID, name: str) -> HttpResponse:
    run = _run(request, run_id)
    low, high = whole(request.GET.get("from")), whole(request.GET.get("to"))
    return figure(lambda: figures.of_run(run, figures.group(name), from_step=low, to_step=high))


@require_GET
def run_log(request: Request, run_id: UUID) -> HttpResponse | FileResponse:
    """The whole log as text."""
    run = _run(request, run_id)
    try:
        file = (run.folder / "log.txt").open("rb")
    except OSError:
        raise Http404 from None
    return FileResponse(file, content_type="text/plain; charset=utf-8", filename="log.txt")


@require_GET
def run_log_tail(request: Request, run_id: UUID) -> HttpResponse:
    """The lines since the position that the page has, and the next question while it runs."""
    run = _run(request, run_id)
    part = log.read(run.folder, after=whole(request.GET.get("after")) or 0)
    return render(request, "runs/log_tail.html", {"run": run, "log": part})


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


def _run(request: Request, run_id: UUID) -> Run:
    runs = Run.objects.visible_to(request.user).select_related(
        "owner", "worker", "version__dataset", "feature_set", "cloned_from", "of_run"
    )
    return get_object_or_404(runs, pk=run_id)


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
