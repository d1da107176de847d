"""The page of one run, in its parts, and the files and figures that belong to it."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import content_disposition_header, urlencode
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_safe

from webapp.core import query
from webapp.core.http import Request, figure
from webapp.core.ranges import ranged
from webapp.runs import (
    bookmarks,
    commandline,
    figures,
    lineage,
    log,
    logsearch,
    outlook,
    page,
    provenance,
    times,
    waiting,
)
from webapp.runs.lineage_picture import picture
from webapp.runs.models import Checkpoint, Run

LAST_WORDS = 12  # lines of the log beside an error
MANY_CHARTS = 4  # from so many on there is a search over them
MOST_CONTEXT = 20  # lines around a hit


@require_safe
def run_detail(request: Request, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    tab = request.GET.get("tab", "overview")
    tab = tab if tab in page.TABS else "overview"
    context: dict[str, Any] = {
        "run": run,
        "tab": tab,
        "tabs": page.tabs(run),
        "pinned": bookmarks.is_pinned(run, request.user),
        "why": waiting.reason(run),
        "starts": outlook.start_of(run),
        "last_words": log.read(run.folder, most=4096).lines[-LAST_WORDS:] if run.error else [],
        **_CONTEXTS[tab](request, run),
    }
    return render(request, "runs/run_detail.html", context)


# --- the parts of the page ------------------------------------------------------------------


def _overview(request: Request, run: Run) -> dict[str, Any]:
    results = page.results(run)
    return {
        **_charts(request, run, system=False),
        "times_known": times.clock(run) is not None,
        "results": results,
        "result_facts": page.result_facts(run),
        "evaluation_figures": _evaluation_figures(results),
        "lineage": page.lineage(run),
    }


def _system(request: Request, run: Run) -> dict[str, Any]:
    return _charts(request, run, system=True)


def _charts(request: Request, run: Run, *, system: bool) -> dict[str, Any]:
    """The charts of a part; a training run that is on its way has room for its first two."""
    known = page.metric_keys(run)
    groups = [g for g in figures.shown_groups(known) if g.system == system]
    if not groups and not system and run.kind.startswith("train") and run.is_active:
        groups = [figures.group("score"), figures.group("loss")]
    view, sought = figures.View.of(request.GET), request.GET.get("q", "").strip()[:100]
    named = [(group, group.keys(known)) for group in groups]
    wanted = query.words(sought.lower())
    over = "time" if system or view.x == "time" else view.x
    return {
        "view": view,
        "sought": sought,
        "many": len(groups) >= MANY_CHARTS,
        "figures": [
            {
                "id": f"chart-{group.name}",
                "src": reverse("runs:figure", args=[run.pk, group.name]) + view.query(),
                "title": group.title,
                "height": 240 if system else 360,
                "group": over,
                "words": " ".join([group.title, *keys]).lower(),
                "hidden": not all(w in " ".join([group.title, *keys]).lower() for w in wanted),
            }
            for group, keys in named
        ],
    }


def _log(request: Request, run: Run) -> dict[str, Any]:
    given = request.GET
    level = given.get("level", "")
    context = query.whole(given.get("context"))
    asked = logsearch.Query(
        text=given.get("find", "").strip()[: logsearch.NEEDLE_CHARS],
        level=level if level in logsearch.LEVELS else "",
        context=logsearch.CONTEXT if context is None else max(0, min(context, MOST_CONTEXT)),
    )
    found: dict[str, Any] = {
        "asked": asked,
        "context_choices": (0, 2, 5, 10),
        "earlier": (run.folder / "log-earlier.txt").is_file(),
    }
    if asked:
        hit = max(1, query.whole(given.get("hit")) or 1)
        result = logsearch.search(run.folder, asked, hit=hit)
        hit = max(1, min(hit, result.hits))
        words: dict[str, str | int] = {
            "tab": "log",
            "find": asked.text,
            "level": asked.level,
            "context": asked.context,
        }
        back = hit - 1 if hit > 1 else result.hits
        forth = hit + 1 if hit < result.hits else 1
        return found | {
            "found": result,
            "hit": hit,
            "back": f"?{urlencode({**words, 'hit': back})}#hit-{back}",
            "forth": f"?{urlencode({**words, 'hit': forth})}#hit-{forth}",
        }
    if (at := query.whole(given.get("at"))) is not None:
        lines, here = logsearch.around(run.folder, given.get("file", "log.txt"), max(0, at))
        if lines:
            return found | {"place": lines, "here": lines[here].number}
    return found | {"log": log.read(run.folder)}


def _checkpoints(request: Request, run: Run) -> dict[str, Any]:
    keys, rows = page.checkpoint_rows(run, request.GET.get("sort", ""))
    return {
        "checkpoint_keys": keys,
        "checkpoints": rows,
        "selection_title": page.selection_rule(run),
        "sort": "-step",
        "kept_bytes": sum(row.checkpoint.size_bytes for row in rows if row.kept),
    }


def _files(request: Request, run: Run) -> dict[str, Any]:
    """What the script of an external run sent, by its path; the first 500."""
    kept = run.uploads.filter(kind="artifact", finished_at__isnull=False).order_by("path")
    return {"files": kept[:500], "file_count": kept.count()}


def _config(request: Request, run: Run) -> dict[str, Any]:
    return {
        "compared": page.compared(
            run,
            base=request.GET.get("base", ""),
            everything=request.GET.get("fields") == "all",
        ),
        "sections": provenance.sections(run),
        "recipes": commandline.recipes(run),
    }


def _events(request: Request, run: Run) -> dict[str, Any]:
    given = {name: request.GET.get(name, "").strip()[:100] for name in ("event", "by", "q")}
    return {
        "happened": page.happened(run, kind=given["event"], by=given["by"], text=given["q"]),
        "given": given,
        "filtered": any(given.values()),
    }


def _lineage(request: Request, run: Run) -> dict[str, Any]:
    clones = request.GET.get("clones") == "yes"
    graph = lineage.of_run(run, request.user, clones=clones)
    return {
        "graph": graph,
        "clones": clones,
        "pictures": [picture(graph), picture(graph, upright=True)],
        "outline": lineage.outline(graph),
    }


_CONTEXTS = {
    "overview": _overview,
    "system": _system,
    "log": _log,
    "checkpoints": _checkpoints,
    "files": _files,
    "config": _config,
    "events": _events,
    "lineage": _lineage,
}


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


# --- what the page asks for -----------------------------------------------------------------


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
    """A figure, or with `from` and `to` the part of it between them."""
    run = _run(request, run_id)
    view = figures.View.of(request.GET)
    low, high = _number(request, "from"), _number(request, "to")
    return figure(lambda: figures.of_run(run, figures.group(name), view=view, low=low, high=high))


@require_GET
def run_log(request: Request, run_id: UUID) -> HttpResponse | FileResponse:
    """The whole log as text."""
    run = _run(request, run_id)
    name = "log-earlier.txt" if request.GET.get("part") == "earlier" else "log.txt"
    try:
        file = (run.folder / name).open("rb")
    except OSError:
        raise Http404 from None
    return FileResponse(file, content_type="text/plain; charset=utf-8", filename=name)


@require_GET
def run_log_tail(request: Request, run_id: UUID) -> HttpResponse:
    """The lines since the position that the page has, and the next question while it runs."""
    run = _run(request, run_id)
    part = log.read(run.folder, after=query.whole(request.GET.get("after")) or 0)
    return render(request, "runs/log_tail.html", {"run": run, "log": part})


@require_safe
def checkpoint_file(request: Request, run_id: UUID, step: int) -> HttpResponseBase:
    """A checkpoint to keep, whole or a range of it."""
    return checkpoint_answer(request, _run(request, run_id), step)


def checkpoint_answer(request: HttpRequest, run: Run, step: int) -> HttpResponseBase:
    checkpoint = get_object_or_404(Checkpoint, run=run, step=step)
    path = (run.folder / checkpoint.path).resolve()
    if not path.is_relative_to(run.folder.resolve()) or not path.is_file():
        raise Http404
    answer = ranged(request, path, "application/octet-stream")
    name = f"{slugify(run.name)[:60] or 'run'}-step-{step}{path.suffix}"
    answer["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return answer


def _run(request: Request, run_id: UUID) -> Run:
    runs = Run.objects.visible_to(request.user).select_related(
        "project", "owner", "worker", "version__dataset", "feature_set", "cloned_from", "of_run"
    )
    run = get_object_or_404(runs, pk=run_id)
    if run.cloned_from_id and not (
        Run.objects.visible_to(request.user).filter(pk=run.cloned_from_id).exists()
    ):
        run.cloned_from = None  # of a project that the person is not in
    return run


def _number(request: Request, name: str) -> float | None:
    try:
        value = float(request.GET.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 2**53 else None
