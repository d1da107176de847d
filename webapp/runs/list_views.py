"""The runs table, its live cells, and what people do with several runs at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from vad.errors import VadError
from webapp.core.http import Request, back, go
from webapp.core.query import uuids
from webapp.runs import bookmarks, columns, grouping, services, table
from webapp.runs.models import Run, SavedView, State, kind_choices
from webapp.runs.ordering import Ordered
from webapp.runs.results import foreign_settings, metric_keys
from webapp.runs.used_tags import used_tags
from webapp.runs.views import runs_word

LIVE_ROWS = 70  # rows that are asked for again; their ids must fit into an address
GROUP_ROWS = 50  # of an opened group
OPEN_GROUPS = 4


@require_safe
def run_list(request: Request) -> HttpResponse:
    projects = [request.project.pk] if request.project else []
    shown = table.Shown.of(request.GET).checked(projects)
    runs: Any = Run.objects.filter(project=request.project)
    pinned = bookmarks.pinned_ids(request.user, request.project)
    context: dict[str, Any] = {
        "shown": shown,
        "pinned": set(pinned),
        "states": State.choices,
        "kinds": kind_choices(),
        "tags": used_tags(request.project),
        "group_choices": grouping.choices(shown.group),
        "views": bookmarks.views_of(request.project),
        "cols": columns.spelled(shown.columns),
        "cleared": shown.with_(q="", state="", kind="", tag=""),
        "rows": [],
        "pinned_rows": [],
        "groups": [],
    }
    if shown.problem is None:
        context["pinned_rows"] = table.rows(pinned, shown.drawn)
        if shown.group:
            found = shown.scope(projects).runs()
            context |= _grouped(request, shown, found, set(pinned))
        else:
            scope = shown.scope(projects, without=pinned)
            part = Ordered(scope, shown.sort).page(request.GET.get("page"), table.PAGE_SIZE)
            context |= {"page": part, "rows": table.rows(list(part.object_list), shown.drawn)}
    seen = [*context["pinned_rows"], *context["rows"]]
    for _, rows in context["groups"]:
        seen += rows
    context["live_query"] = _live_query(seen, shown.drawn)
    context["has_any"] = bool(seen) or shown.active or runs.exists()
    return render(request, "runs/run_list.html", context)


def _grouped(request: Request, shown: table.Shown, found: Any, seen: set[UUID]) -> dict[str, Any]:
    """The groups of a page, and the rows of those that are open."""
    all_groups = grouping.groups(found, shown.group, shown.sort)
    part = Paginator(all_groups, table.PAGE_SIZE).get_page(request.GET.get("page"))
    page = list(part.object_list)
    if shown.group == grouping.SEEDS:
        page = grouping.told_apart(page)
    opened = [group.key for group in page if group.key in shown.open][:OPEN_GROUPS]
    groups = []
    for group in page:
        ids = group.ids[:GROUP_ROWS] if group.key in opened else ()
        rows = table.rows(ids, shown.drawn)
        groups.append((group, [replace(row, again=row.run.pk in seen) for row in rows]))
        seen.update(ids)
    word = grouping.word(shown.group)
    return {"page": part, "groups": groups, "group_word": word, "opened": opened}


@require_GET
def run_live(request: Request) -> HttpResponse:
    """The changing cells of the rows that are named, and the next question while any is active."""
    ids = uuids(request.GET.getlist("run"))[:LIVE_ROWS]
    visible = Run.objects.visible_to(request.user).filter(pk__in=ids)
    shown = columns.chosen(request.GET.getlist("cols"))
    rows = table.rows(list(visible.values_list("pk", flat=True).distinct()), shown)
    context = {
        "rows": rows,
        "columns": [column for column in shown if column.live],
        "live_query": _live_query(rows, shown),
    }
    return render(request, "runs/run_list.html#live", context)


def _live_query(rows: list[table.Row], shown: tuple[columns.Column, ...]) -> str:
    active = list(dict.fromkeys(str(row.run.pk) for row in rows if row.run.is_active))
    live = columns.spelled([column for column in shown if column.live])
    if not active or not live:
        return ""
    return urlencode({"run": ",".join(active[:LIVE_ROWS]), "cols": live}, safe=",/()")


# --- what people do -------------------------------------------------------------------------


@require_POST
def run_bulk(request: Request) -> HttpResponse:
    """One action on all selected runs; what cannot be done with one does not stop the others."""
    ids = uuids(request.POST.getlist("run"))
    action = request.POST.get("action", "")
    if action == "compare":
        return go(request, _with_runs("compare:index", ids))
    if action == "delete":
        return go(request, _with_runs("runs:delete", ids))
    if action in ("pin", "unpin"):
        return run_pin(request)
    runs = list(Run.objects.editable_by(request.user).filter(pk__in=ids).distinct())
    if action == "tag":
        word = request.POST.get("tag", "").strip()
        remove = word.startswith("-")
        services.runs_tag(runs=runs, tag=word.lstrip("-"), by=request.user, remove=remove)
        messages.success(
            request, f"Tag {'taken off' if remove else 'given to'} {runs_word(len(runs))}."
        )
    elif action in services.STEPS:
        _step_all(request, runs, action)
    return go(request, back(request, reverse("runs:list")))


def _step_all(request: Request, runs: list[Run], action: str) -> None:
    refused: list[str] = []
    for run in runs:
        try:
            services.STEPS[action](run=run, by=request.user)
        except VadError as exc:
            refused.append(exc.message)
    if len(runs) > len(refused):
        done = f"{runs_word(len(runs) - len(refused))} {services.DONE[action]}."
        messages.success(request, done)
    for text in refused[:5]:
        messages.warning(request, text)
    if len(refused) > 5:
        messages.warning(request, f"… and {len(refused) - 5} more were left as they are.")


@require_POST
def run_pin(request: Request) -> HttpResponse:
    """Keep runs on top of one's own table, or no more: `action` is pin or unpin.

    A redirect for htmx, too, which follows it and takes from the page what it asked for.
    """
    ids = uuids(request.POST.getlist("run"))
    runs = list(Run.objects.visible_to(request.user).filter(pk__in=ids).distinct())
    action = request.GET.get("action") or request.POST.get("action")
    change = bookmarks.runs_unpin if action == "unpin" else bookmarks.runs_pin
    change(runs=runs, by=request.user)
    return HttpResponseRedirect(back(request, reverse("runs:list")))


@require_safe
def column_list(request: Request) -> HttpResponse:
    """The form that chooses columns; the table's page shows it in a dialog."""
    shown = table.Shown.of(request.GET)
    runs = Run.objects.filter(project=request.project)
    context = {
        "shown": shown,
        "offered": columns.offered(shown.columns, metric_keys(runs), foreign_settings(runs)),
        "kept": parse_qsl(shown.with_(cols="")),
        "usual": shown.with_(cols=""),
        "most": columns.MOST,
    }
    return render(request, "runs/columns.html", context)


# --- saved views ----------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def view_list(request: Request) -> HttpResponse:
    """The project's saved views; a POST saves one."""
    given = request.POST if request.method == "POST" else request.GET
    query, name, problems = _spelled(given.get("query", "")), given.get("name", ""), {}
    if request.method == "POST":
        try:
            view = bookmarks.view_save(
                project=request.project, name=name, query=query, by=request.user
            )
        except VadError as exc:
            if not exc.fields:
                raise
            problems = exc.fields
        else:
            messages.success(request, f"Saved as {view.name}; the link is for everybody here.")
            return go(request, f"{reverse('runs:list')}?{view.query}")
    context = {
        "views": bookmarks.views_of(request.project),
        "query": query,
        "saving": "query" in given,
        "name": name,
        "problems": problems,
    }
    return render(request, "runs/saved_views.html", context, status=422 if problems else 200)


@require_POST
def view_change(request: Request, view_id: int) -> HttpResponse:
    """Rename or delete a saved view."""
    view = get_object_or_404(SavedView.objects.editable_by(request.user), pk=view_id)
    if request.POST.get("action") == "delete":
        bookmarks.view_delete(view=view, by=request.user)
        messages.success(request, f"{view.name} deleted. The runs are still there.")
    else:
        old = view.name
        bookmarks.view_rename(view=view, name=request.POST.get("name", ""), by=request.user)
        messages.success(request, f"{old} is called {view.name} now.")
    return go(request, reverse("runs:views"))


def _spelled(query: str) -> str:
    """The address of a table without what does not belong into a link: page, opened groups."""
    return table.Shown.of(QueryDict(query)).query


def _with_runs(name: str, ids: list[UUID]) -> str:
    return f"{reverse(name)}?{urlencode([('run', str(i)) for i in ids])}"
