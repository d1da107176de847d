"""Pages of one run, and what people do with it; the table is in list_views.py."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from webapp.core.http import Request, back, figure, go
from webapp.core.query import uuids, whole
from webapp.runs import bookmarks, figures, log, outlook, page, services, waiting
from webapp.runs.models import Run

LAST_WORDS = 12  # lines of the log beside an error


# --- one run --------------------------------------------------------------------------------


@require_safe
def run_detail(request: Request, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    tab = request.GET.get("tab", "overview")
    tab = tab if tab in page.TABS else "overview"
    context: dict[str, Any] = {
        "run": run,
        "tab": tab,
        "pinned": bookmarks.is_pinned(run, request.user),
        "tabs": page.tabs(run),
        "why": waiting.reason(run),
        "starts": outlook.start_of(run),
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
        "starts": outlook.start_of(run),
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
    messages.success(request, f"{run.name} {how} {services.DONE[action]}{after}.")
    return go(request, back(request, reverse("runs:detail", args=[run.pk])))


@require_POST
def run_note(request: Request, run_id: UUID) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    services.run_annotate(run=run, notes=request.POST.get("notes", ""), by=request.user)
    return go(request, back(request, reverse("runs:detail", args=[run.pk])))


@require_POST
def run_priority(request: Request, run_id: UUID) -> HttpResponse:
    run = get_object_or_404(Run.objects.editable_by(request.user), pk=run_id)
    change = whole(request.POST.get("change")) or 0
    priority = max(-100, min(100, run.priority + change))
    services.run_prioritize(run=run, priority=priority, by=request.user)
    return go(request, back(request, reverse("fleet:queue")))


def run_delete(request: Request) -> HttpResponse:
    """Says what would go; after that, with a POST, it goes."""
    given = request.POST if request.method == "POST" else request.GET
    ids = uuids(given.getlist("run"))
    runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
    if not runs:
        raise Http404
    if request.method == "POST":
        services.runs_delete(runs=runs, by=request.user)
        messages.success(request, f"{runs_word(len(runs))} deleted.")
        return go(request, reverse("runs:list"))
    return render(request, "runs/run_delete.html", page.deletion(runs))


# --- small things ---------------------------------------------------------------------------


def _run(request: Request, run_id: UUID) -> Run:
    runs = Run.objects.visible_to(request.user).select_related(
        "owner", "worker", "version__dataset", "feature_set", "cloned_from", "of_run"
    )
    return get_object_or_404(runs, pk=run_id)


def runs_word(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"
