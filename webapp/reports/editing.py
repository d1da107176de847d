"""The editor. The form holds the whole report: what a button does to it is not yet saved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from vad.errors import VadError
from webapp.accounts.permissions import require_editor
from webapp.compare import comparison
from webapp.core.http import Request, go
from webapp.core.query import uuids, whole
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.reports import blocks, queries, services
from webapp.reports.models import Report
from webapp.runs.models import Run

OFFERED = 150  # newest runs, and evaluations, to choose from
OFFERED_VIDEOS = 500
_MANY = ("runs", "evaluations")


@require_http_methods(["GET", "HEAD", "POST"])
def report_new(request: Request) -> HttpResponse:
    """An empty editor; its first save makes the report."""
    require_editor(request.user, request.project)
    return _editor(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
def report_edit(request: Request, report_id: UUID) -> HttpResponse:
    rows = Report.objects.editable_by(request.user).select_related("project")
    return _editor(request, get_object_or_404(rows, pk=report_id))


@require_http_methods(["GET", "HEAD", "POST"])
def panel_add(request: Request) -> HttpResponse:
    """Put a panel at the end of a report: `kind` and its fields; a POST names the `report`."""
    require_editor(request.user, request.project)
    given = request.POST if request.method == "POST" else request.GET
    kind = given.get("kind", "")
    if kind not in blocks.KINDS:
        raise VadError(
            "request-invalid", f"There is no kind of panel {kind[:40]!r}.",
            f"Known: {', '.join(blocks.KINDS)}.",
        )  # fmt: skip
    panel = blocks.panel(kind, **{n: _field(given, n, n) for n in blocks.KINDS[kind].fields})
    panel["caption"] = given.get("caption", "")
    visible = Evaluation.objects.visible_to(request.user).select_related("run__project", "of_run")
    of = visible.filter(pk__in=uuids(panel.get("evaluations", []))).first()
    project = of.run.project if of else request.project
    require_editor(request.user, project)
    reports = Report.objects.editable_by(request.user).filter(project=project)
    error = None
    if request.method == "POST":
        try:
            return _added(request, reports, project, panel)
        except VadError as exc:
            if not exc.fields:
                raise
            error = exc
    context = {
        "kind": blocks.KINDS[kind],
        "panel": panel,
        "error": error,
        "reports": reports[:OFFERED],
        "kept": [(n, v) for n, values in given.lists() if n not in _OWN for v in values],
        "of": of,
    }
    return render(request, "reports/add.html", context, status=422 if error else 200)


_OWN = ("report", "title", "caption", "csrfmiddlewaretoken")  # of the form in reports/add.html


def _added(request: Request, reports: Any, project: Any, panel: dict[str, Any]) -> HttpResponse:
    ids = uuids([request.POST.get("report", "")])
    if ids:
        report = get_object_or_404(reports, pk=ids[0])
        last = queries.revision_of(report)
        services.report_save(
            report=report,
            title=last.title,
            given=[*last.blocks, panel],
            by=request.user,
            base=last.number,
            note=f"added: {blocks.KINDS[panel['kind']].title.lower()}",
        )
    else:
        title = request.POST.get("title", "").strip() or "Untitled report"
        report = services.report_create(
            project=project, title=title, given=[panel], by=request.user
        )
    messages.success(request, f"Added to {report.title}.")
    return go(request, f"{reverse('reports:detail', args=[report.pk])}#block-{panel['id']}")


def _editor(request: Request, report: Report | None) -> HttpResponse:
    project = report.project if report else request.project
    context: dict[str, Any] = {"report": report, "kinds": blocks.KINDS, "problems": {}}
    status = 200
    if request.method == "POST":
        given = request.POST
        found, action = _read(given), given.get("action", "save")
        title, note = given.get("title", ""), given.get("note", "")
        base = whole(given.get("base"))
        try:
            if action == "save":
                return _save(request, report, title, note, found, base)
            if action == "preview":
                clean = blocks.checked(found)
                blocks.require_own(clean, project, services.named_before(report))
                frozen = queries.snapshots(report, clean) if report else {}
                context["preview"] = [queries.one(b, project, frozen) for b in clean]
            else:
                found = _changed(found, action)
        except VadError as exc:
            if not exc.fields and exc.code != "report-changed":
                raise
            context |= {"error": exc, "problems": exc.fields}
            status = 409 if exc.code == "report-changed" else 422
    elif report is not None:
        last = queries.revision_of(report)
        found, title, note, base = last.blocks, last.title, "", last.number
    else:
        found, title, note, base = [blocks.text_block("")], "", "", None
    context |= {"title": title, "note": note, "base": base}
    context["blocks"] = [_Form(place, b, context["problems"]) for place, b in enumerate(found, 1)]
    context |= _choices(project, found)
    template = "reports/editor_form.html" if request.htmx else "reports/editor.html"
    return render(request, template, context, status=status)


def _save(
    request: Request,
    report: Report | None,
    title: str,
    note: str,
    found: list[dict[str, Any]],
    base: int | None,
) -> HttpResponse:
    if report is None:
        report = services.report_create(
            project=request.project, title=title, given=found, by=request.user
        )
    else:
        services.report_save(
            report=report, title=title, given=found, by=request.user, base=base, note=note
        )
    return go(request, reverse("reports:detail", args=[report.pk]))


class _Form:
    """A block with what is wrong in it, for the form."""

    def __init__(self, place: int, block: dict[str, Any], problems: dict[str, str]) -> None:
        self.place, self.block = place, block
        self.kind = blocks.KINDS.get(block.get("kind", ""))
        start = f"{place}."
        self.problems = {
            name.removeprefix(start): text
            for name, text in problems.items()
            if name.startswith(start)
        }

    @property
    def id(self) -> str:
        return self.block["id"]

    @property
    def many(self) -> bool:
        return self.kind is not None and self.kind.most > 1

    @property
    def videos(self) -> list[str]:
        """Test videos to choose from, once the evaluation is known."""
        ids = uuids(self.block.get("evaluations", []))
        if self.kind is None or "video" not in self.kind.fields or not ids:
            return []
        evaluation = Evaluation.objects.filter(pk=ids[0]).select_related("run").first()
        try:
            return list(store.load(evaluation).keys[:OFFERED_VIDEOS]) if evaluation else []
        except VadError:
            return []


def _read(given: QueryDict) -> list[dict[str, Any]]:
    """The blocks of the form, as they were typed."""
    found = []
    for id_ in given.getlist("block")[: blocks.MOST_BLOCKS + 1]:
        kind = given.get(f"{id_}-kind", "")
        block: dict[str, Any] = {"id": id_, "kind": kind}
        if kind == blocks.TEXT:
            block["text"] = given.get(f"{id_}-text", "").replace("\r\n", "\n")
        elif kind in blocks.KINDS:
            for name in blocks.KINDS[kind].fields:
                block[name] = _field(given, f"{id_}-{name}", name)
            block["caption"] = given.get(f"{id_}-caption", "")
            block["frozen"] = given.get(f"{id_}-frozen", "")
        found.append(block)
    return found


def _field(given: QueryDict, key: str, name: str) -> Any:
    if name in _MANY:
        return [value for value in given.getlist(key) if value]
    text = given.get(key, "")
    if name == "frame":
        number = text.strip() or "0"
        return int(number) if number.isascii() and number.isdigit() and len(number) < 12 else text
    return text


def _changed(found: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    """The blocks after `add-KIND`, `up-ID`, `down-ID` or `remove-ID`; else as they were."""
    what, _, which = action.partition("-")
    if what == "add" and which == blocks.TEXT:
        return [*found, blocks.text_block("")]
    if what == "add" and which in blocks.KINDS:
        fields: dict[str, Any] = {
            name: [] if name in _MANY else "" for name in blocks.KINDS[which].fields
        }
        return [*found, blocks.panel(which, **fields)]
    at = next((i for i, block in enumerate(found) if block["id"] == which), None)
    if at is None:
        return found
    rest = [*found[:at], *found[at + 1 :]]
    if what == "remove":
        return rest
    to = max(0, at - 1) if what == "up" else at + 1
    return [*rest[:to], found[at], *rest[to:]]


def _choices(project: Any, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs and evaluations to choose from: the newest, and those that are chosen already."""
    named = {n: uuids(pk for b in found for pk in b.get(n, ())) for n in _MANY}
    rows = Evaluation.objects.filter(run__project=project).select_related(
        "of_run", "version__dataset"
    )
    rows = rows.only("of_run__name", "frame_auc", "version__number", "version__dataset__name")
    rows = rows.order_by("-created_at")
    evaluations = {e.pk: e for e in [*rows[:OFFERED], *rows.filter(pk__in=named["evaluations"])]}
    runs = Run.objects.filter(project=project).only("name", "kind", "created_at")
    trained = runs.filter(kind__startswith="train")[:OFFERED]
    offered = {run.pk: run for run in [*trained, *runs.filter(pk__in=named["runs"])]}
    keys = comparison.metric_keys(list(trained[:20])) if trained else []
    return {
        "evaluations": list(evaluations.values()),
        "runs": list(offered.values()),
        "keys": keys[:200],
    }
