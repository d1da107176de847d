"""Pages of reports: reading, history, rechecking, comments, sharing, files."""

from __future__ import annotations

import re
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from vad.errors import VadError
from webapp.compare import selection
from webapp.core.http import Request, go
from webapp.core.query import uuids, whole
from webapp.evaluations.models import Evaluation
from webapp.reports import blocks, exporting, queries, ready, recheck, services, sharing
from webapp.reports.models import Comment, Report, Revision, ShareLink

PAGE_SIZE = 50


@require_safe
def report_list(request: Request) -> HttpResponse:
    q = request.GET.get("q", "").strip()
    found = queries.reports(request.project, q)
    context = {"q": q, "page": Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))}
    return render(request, "reports/list.html", context)


@require_safe
def report_detail(request: Request, report_id: UUID) -> HttpResponse:
    """The report; `?revision=N` for what it said then."""
    report = _report(request, report_id)
    revision = _revision(request, report)
    newest = queries.revision_of(report)
    shown = queries.shown(revision, with_comments=True)
    frozen = [block for block in shown if block.is_frozen]
    panels = [block for block in shown if block.is_panel]
    context = {
        "report": report,
        "revision": revision,
        "newest": newest,
        "is_newest": revision.number == newest.number,
        "blocks": shown,
        "panels": len(panels),
        "frozen": len(frozen),
        "may_edit": _may_edit(request, report),
        "links": report.links.count(),
        "commenting": request.GET.get("comment", ""),
    }
    return render(request, "reports/detail.html", context)


@require_safe
def report_history(request: Request, report_id: UUID) -> HttpResponse:
    report = _report(request, report_id)
    found = report.revisions.select_related("by").defer("blocks")
    context = {
        "report": report,
        "page": Paginator(found, PAGE_SIZE).get_page(request.GET.get("page")),
        "newest": queries.revision_of(report).number,
        "may_edit": _may_edit(request, report),
    }
    return render(request, "reports/history.html", context)


@require_safe
def report_recheck(request: Request, report_id: UUID) -> HttpResponse:
    """Frozen panels made once more from the stored scores; changes nothing."""
    report = _report(request, report_id)
    revision = _revision(request, report)
    findings = recheck.recheck(revision)
    context = {
        "report": report,
        "revision": revision,
        "findings": findings,
        "summary": recheck.summary(findings),
        "live": sum(blocks.is_panel(b) and not b["frozen"] for b in revision.blocks),
    }
    return render(request, "reports/recheck.html", context)


@require_safe
def report_export(request: Request, report_id: UUID, form: str) -> HttpResponse:
    """`html`, `pdf` or `tex`; of `?revision=N`, else of the newest."""
    report = _report(request, report_id)
    if form not in exporting.FORMATS:
        raise Http404
    revision = _revision(request, report)
    return exporting.answer(revision, form)


# --- changing -------------------------------------------------------------------------------


@require_POST
def report_make(request: Request) -> HttpResponse:
    """A ready-made report of an `evaluation`, or of the compared runs `run`, `run`, …"""
    if request.POST.get("evaluation"):
        rows = Evaluation.objects.visible_to(request.user).select_related(
            "run__project", "of_run", "checkpoint", "version__dataset", "feature_set"
        )
        ids = uuids([request.POST["evaluation"]])
        evaluation = get_object_or_404(rows, pk=ids[0] if ids else None)
        project = evaluation.run.project
        title, given = ready.of_evaluation(evaluation)
    else:
        runs = selection.chosen(request.user, uuids(request.POST.getlist("run")))
        if not runs:
            raise Http404
        project = runs[0].project
        runs = [run for run in runs if run.project_id == project.pk]
        members = selection.members(runs, selection.evaluations(runs))
        title, given = ready.of_comparison(members)
    report = services.report_create(project=project, title=title, given=given, by=request.user)
    messages.success(request, "Report made. Its panels are live; freeze them to keep the numbers.")
    return go(request, reverse("reports:detail", args=[report.pk]))


@require_POST
def report_restore(request: Request, report_id: UUID) -> HttpResponse:
    report = _editable(request, report_id)
    number = whole(request.POST.get("number"))
    if number is None:
        raise Http404
    made = services.report_restore(report=report, number=number, by=request.user)
    messages.success(request, f"Revision {number} is the newest again, as revision {made.number}.")
    return go(request, reverse("reports:detail", args=[report.pk]))


@require_POST
def report_freeze(request: Request, report_id: UUID) -> HttpResponse:
    """`freeze`: yes, or no for all panels live again."""
    report = _editable(request, report_id)
    freeze = request.POST.get("freeze", "yes") != "no"
    services.report_freeze(report=report, by=request.user, freeze=freeze)
    said = (
        "All panels are frozen: they keep these numbers, and Recheck computes them again."
        if freeze
        else "All panels are live: they show what is now."
    )
    messages.success(request, said)
    return go(request, reverse("reports:detail", args=[report.pk]))


@require_POST
def report_delete(request: Request, report_id: UUID) -> HttpResponse:
    report = _editable(request, report_id)
    services.report_delete(report=report, by=request.user)
    messages.success(request, f"{report.title} deleted. Its runs are still there.")
    return go(request, reverse("reports:list"))


# --- comments -------------------------------------------------------------------------------


@require_POST
def comment_add(request: Request, report_id: UUID) -> HttpResponse:
    """`block`, `text`."""
    report = _editable(request, report_id)
    block = request.POST.get("block", "")
    text = request.POST.get("text", "")
    services.comment_add(report=report, block=block, text=text, by=request.user)
    return go(request, f"{reverse('reports:detail', args=[report.pk])}#block-{block}")


@require_POST
def comment_delete(request: Request, report_id: UUID, comment_id: int) -> HttpResponse:
    rows = Comment.objects.visible_to(request.user).select_related("report__project")
    comment = get_object_or_404(rows, pk=comment_id, report=report_id)
    services.comment_delete(comment=comment, by=request.user)
    return go(request, f"{reverse('reports:detail', args=[report_id])}#block-{comment.block}")


# --- sharing --------------------------------------------------------------------------------


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def report_share(request: Request, report_id: UUID) -> HttpResponse:
    """The report's links; a POST makes one, and its answer alone shows the address."""
    report = _editable(request, report_id)
    context: dict[str, object] = {"report": report, "given": {"days": "14", "show": "newest"}}
    status = 200
    if request.method == "POST":
        given = request.POST
        newest = queries.revision_of(report).number
        try:
            _, secret = sharing.link_create(
                report=report,
                by=request.user,
                days=whole(given.get("days")) or 0,
                note=given.get("note", ""),
                password=given.get("password", ""),
                revision=newest if given.get("show") == "this" else None,
            )
        except VadError as exc:
            if not exc.fields:
                raise
            context |= {"problems": exc.fields, "given": given}
            status = 422
        else:
            context["address"] = request.build_absolute_uri(reverse("shared", args=[secret]))
    context["links"] = report.links.select_related("revision", "created_by")
    context["newest"] = queries.revision_of(report).number
    return render(request, "reports/share.html", context, status=status)


@require_POST
def share_revoke(request: Request, report_id: UUID, link_id: int) -> HttpResponse:
    rows = ShareLink.objects.editable_by(request.user).select_related("report__project")
    link = get_object_or_404(rows, pk=link_id, report=report_id)
    sharing.link_revoke(link=link, by=request.user)
    messages.success(request, "Link revoked: nobody reads by it any more.")
    return go(request, reverse("reports:share", args=[report_id]))


def _report(request: Request, report_id: UUID) -> Report:
    rows = Report.objects.visible_to(request.user).select_related("project", "owner")
    return get_object_or_404(rows, pk=report_id)


def _editable(request: Request, report_id: UUID) -> Report:
    rows = Report.objects.editable_by(request.user).select_related("project", "owner")
    return get_object_or_404(rows, pk=report_id)


def _may_edit(request: Request, report: Report) -> bool:
    return Report.objects.editable_by(request.user).filter(pk=report.pk).exists()


def _revision(request: Request, report: Report) -> Revision:
    text = request.GET.get("revision", "")
    if text and not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise Http404
    return queries.revision_of(report, int(text) if text else None)
