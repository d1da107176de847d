"""Reports over HTTP: the same services as the pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.compare import selection
from webapp.core.api import (
    Cursor,
    Request,
    invalid,
    json_object,
    member,
    project_of,
    texts,
)
from webapp.core.openapi import PROJECT, Page, Results, operation, text, whole
from webapp.core.query import uuids
from webapp.evaluations.models import Evaluation
from webapp.idempotency.services import idempotent, idempotent_secret
from webapp.reports import exporting, queries, ready, recheck, services, sharing
from webapp.reports.models import Comment, Report, Revision, ShareLink
from webapp.reports.shapes import (
    CommentJson,
    Freezing,
    LinkJson,
    NewComment,
    NewLink,
    NewReport,
    NewRevision,
    RecheckJson,
    ReportJson,
    RevisionJson,
    WholeReportJson,
)

REVISION_MAX = 10**9
WORDS = text("q", "words of the title")
REVISION = whole("revision", "its number; the newest without it", least=1, most=REVISION_MAX)
PANELS = text("panels", "with what the panels show", choices=("yes",))


class Changed(Cursor):
    ordering = ("-changed_at", "-id")


class ReportList(APIView):
    @operation("Reports", query=[WORDS, PROJECT], returns=Page[ReportJson], paging=Changed)
    def get(self, request: Request) -> Response:
        """The last changed first."""
        project = project_of(request, request.GET.get("project"))
        cursor = Changed()
        rows = queries.reports(project, request.GET.get("q", ""))
        part = cursor.paginate_queryset(rows, request, self)
        return cursor.get_paginated_response([report_json(report) for report in part or ()])

    @operation("Write a report", body=NewReport, returns=WholeReportJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        """It has `blocks`, or is ready-made of an `evaluation` or of compared `runs`."""
        data = json_object(request, "title", "blocks", "project", "evaluation", "runs")
        given = [name for name in ("blocks", "evaluation", "runs") if data.get(name) is not None]
        if len(given) > 1:
            raise invalid({given[1]: f"give it, or {given[0]}, not both"})
        project = project_of(request, member(data, "project", str, ""))
        title = member(data, "title", str, "")
        if "evaluation" in given:
            title_, blocks = ready.of_evaluation(_evaluation(request, data))
        elif "runs" in given:
            runs = selection.chosen(request.user, uuids(texts(data, "runs")))
            runs = [run for run in runs if run.project_id == project.pk]
            title_, blocks = ready.of_comparison(
                selection.members(runs, selection.evaluations(runs))
            )
        else:
            title_, blocks = "", member(data, "blocks", list, [])
        made = services.report_create(
            project=project, title=title or title_, given=blocks, by=request.user
        )
        return Response(_whole(made, queries.revision_of(made)), status=201)


class ReportDetail(APIView):
    @operation("A report", query=[REVISION, PANELS], returns=WholeReportJson)
    def get(self, request: Request, report_id: UUID) -> Response:
        report = _report(request, report_id)
        revision = _revision(request, report)
        found = _whole(report, revision)
        if request.GET.get("panels") == "yes":
            found["panels"] = {
                shown.id: _panel(shown) for shown in queries.shown(revision) if shown.is_panel
            }
        return Response(found)

    @operation("Write the next revision", body=NewRevision, returns=WholeReportJson)
    def patch(self, request: Request, report_id: UUID) -> Response:
        """`base` is the revision that it changes: 409 when there is a newer one."""
        report = _editable(request, report_id)
        data = json_object(request, "title", "blocks", "note", "base")
        last = queries.revision_of(report)
        revision = services.report_save(
            report=report,
            title=member(data, "title", str, last.title),
            given=member(data, "blocks", list, last.blocks),
            note=member(data, "note", str, ""),
            base=member(data, "base", int, last.number),
            by=request.user,
        )
        return Response(_whole(report, revision))

    @operation("Delete a report")
    def delete(self, request: Request, report_id: UUID) -> Response:
        """With its history, comments and links."""
        services.report_delete(report=_editable(request, report_id), by=request.user)
        return Response(status=204)


class Numbered(Cursor):
    ordering = ("-number",)


class RevisionList(APIView):
    @operation("The history of a report", returns=Page[RevisionJson], paging=Numbered)
    def get(self, request: Request, report_id: UUID) -> Response:
        """The newest first."""
        report = _report(request, report_id)
        cursor = Numbered()
        rows = report.revisions.select_related("by").defer("blocks")
        part = cursor.paginate_queryset(rows, request, self)
        return cursor.get_paginated_response([revision_json(one) for one in part or ()])


class RevisionDetail(APIView):
    @operation("What a report said then", returns=WholeReportJson)
    def get(self, request: Request, report_id: UUID, number: int) -> Response:
        report = _report(request, report_id)
        return Response(_whole(report, queries.revision_of(report, number)))

    @operation("Restore a revision", returns=WholeReportJson, status=201)
    def post(self, request: Request, report_id: UUID, number: int) -> Response:
        """As a new one."""
        report = _editable(request, report_id)
        made = services.report_restore(report=report, number=number, by=request.user)
        return Response(_whole(report, made), status=201)


class ReportFreeze(APIView):
    @operation("Freeze all panels, or none", body=Freezing, returns=WholeReportJson)
    def post(self, request: Request, report_id: UUID) -> Response:
        """With `"freeze": "no"` all are live again."""
        report = _editable(request, report_id)
        freeze = member(json_object(request, "freeze"), "freeze", str, "yes") != "no"
        made = services.report_freeze(report=report, by=request.user, freeze=freeze)
        return Response(_whole(report, made))


class ReportRecheck(APIView):
    @operation("Make every frozen panel once more", query=[REVISION], returns=RecheckJson)
    def get(self, request: Request, report_id: UUID) -> Response:
        """Each is `identical`, `drifted` or `gone`, with what differs. The score files are read and
        hashed anew.
        """
        revision = _revision(request, _report(request, report_id))
        findings = recheck.recheck(revision)
        return Response(
            {
                "revision": revision.number,
                "summary": recheck.summary(findings),
                "panels": [
                    {
                        "block": finding.block["id"],
                        "title": finding.title,
                        "state": finding.state,
                        "sha256": finding.sha256,
                        "now_sha256": finding.now_sha256 or None,
                        "differences": finding.differences,
                    }
                    for finding in findings
                ],
            }
        )


class ReportExport(APIView):
    @operation(
        "A report as a file",
        path={"form": tuple(exporting.FORMATS)},
        query=[REVISION],
        returns=("text/html", "application/pdf", "application/x-tex"),
    )
    def get(self, request: Request, report_id: UUID, form: str) -> HttpResponse:
        """`html`, `pdf` or `tex`."""
        if form not in exporting.FORMATS:
            raise Http404
        return exporting.answer(_revision(request, _report(request, report_id)), form)


class CommentList(APIView):
    @operation("Comments on a report", returns=Results[CommentJson])
    def get(self, request: Request, report_id: UUID) -> Response:
        """The oldest first."""
        rows = _report(request, report_id).comments.select_related("by")
        return Response({"results": [comment_json(comment) for comment in rows]})

    @operation("Comment on a report", body=NewComment, returns=CommentJson, status=201)
    @idempotent
    def post(self, request: Request, report_id: UUID) -> Response:
        report = _editable(request, report_id)
        data = json_object(request, "block", "text")
        made = services.comment_add(
            report=report,
            block=member(data, "block", str, ""),
            text=member(data, "text", str, ""),
            by=request.user,
        )
        return Response(comment_json(made), status=201)


class CommentDetail(APIView):
    @operation("Delete a comment")
    def delete(self, request: Request, report_id: UUID, comment_id: int) -> Response:
        """One's own, or anybody's by an admin."""
        rows = Comment.objects.visible_to(request.user).select_related("report__project")
        comment = get_object_or_404(rows, pk=comment_id, report=report_id)
        services.comment_delete(comment=comment, by=request.user)
        return Response(status=204)


class LinkList(APIView):
    @operation("Links for people without an account", returns=Results[LinkJson])
    def get(self, request: Request, report_id: UUID) -> Response:
        rows = _editable(request, report_id).links.select_related("revision", "created_by")
        return Response({"results": [link_json(link) for link in rows]})

    @operation("Share a report by a link", body=NewLink, returns=LinkJson, status=201)
    @idempotent_secret
    def post(self, request: Request, report_id: UUID) -> Response:
        """The address is in this answer alone."""
        report = _editable(request, report_id)
        data = json_object(request, "days", "note", "password", "revision")
        made, secret = sharing.link_create(
            report=report,
            by=request.user,
            days=member(data, "days", int, 14),
            note=member(data, "note", str, ""),
            password=member(data, "password", str, ""),
            revision=member(data, "revision", int, 0) or None,
        )
        address = request.build_absolute_uri(reverse("shared", args=[secret]))
        answer = {**link_json(made), "link": address}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


class LinkDetail(APIView):
    @operation("Revoke a link")
    def delete(self, request: Request, report_id: UUID, link_id: int) -> Response:
        rows = ShareLink.objects.editable_by(request.user).select_related("report__project")
        link = get_object_or_404(rows, pk=link_id, report=_editable(request, report_id))
        sharing.link_revoke(link=link, by=request.user)
        return Response(status=204)


def report_json(report: Report) -> ReportJson:
    return {
        "id": report.pk,
        "title": report.title,
        "owner": report.owner.username,
        "created_at": report.created_at,
        "changed_at": report.changed_at,
    }


def revision_json(revision: Revision) -> RevisionJson:
    return {
        "number": revision.number,
        "title": revision.title,
        "note": revision.note,
        "by": revision.by.username,
        "at": revision.at,
    }


def comment_json(comment: Comment) -> CommentJson:
    return {
        "id": comment.pk,
        "block": comment.block,
        "text": comment.text,
        "by": comment.by.username,
        "at": comment.at,
    }


def link_json(link: ShareLink) -> LinkJson:
    return {
        "id": link.pk,
        "note": link.note,
        "revision": link.revision.number if link.revision else None,
        "password": bool(link.password),
        "created_by": link.created_by.username,
        "created_at": link.created_at,
        "expires_at": link.expires_at,
        "problem": link.problem or None,
        "views": link.views,
        "viewed_at": link.viewed_at,
    }


def _whole(report: Report, revision: Revision) -> WholeReportJson:
    return {
        **report_json(report),
        "title": revision.title,
        "project": report.project.slug,
        "revision": revision_json(revision),
        "blocks": revision.blocks,
    }


def _panel(shown: queries.Shown) -> dict[str, Any]:
    if shown.content is None:
        return {"error": shown.error.to_dict() if shown.error else None}
    return {**shown.content.to_dict(), "frozen_at": shown.frozen_at}


def _evaluation(request: Request, data: dict[str, Any]) -> Evaluation:
    ids = uuids([member(data, "evaluation", str, "")])
    rows = Evaluation.objects.visible_to(request.user).select_related(
        "run__project", "of_run", "checkpoint", "version__dataset", "feature_set"
    )
    return get_object_or_404(rows, pk=ids[0] if ids else None)


def _report(request: Request, report_id: UUID) -> Report:
    rows = Report.objects.visible_to(request.user).select_related("project", "owner")
    return get_object_or_404(rows, pk=report_id)


def _editable(request: Request, report_id: UUID) -> Report:
    """404 for what one may not see, 403 for what one may not change."""
    report = _report(request, report_id)
    services.require_editor(request.user, report.project)
    return report


def _revision(request: Request, report: Report) -> Revision:
    return queries.revision_of(report, REVISION.of(request))
