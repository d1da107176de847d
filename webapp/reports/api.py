"""Reports over HTTP: the same services as the pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.models import Project
from webapp.compare import selection
from webapp.core.api import Cursor, Request, invalid, json_object, member, project_of, texts
from webapp.core.conditional import require_match, revision, tagged
from webapp.core.openapi import PROJECT, Page, Results, operation, text, whole
from webapp.core.query import uuids
from webapp.evaluations.models import Evaluation
from webapp.idempotency.services import idempotent, idempotent_secret
from webapp.reports import exporting, queries, ready, recheck, services, sharing
from webapp.reports.models import Comment, Report, Revision, ShareLink
from webapp.reports.shapes import (
    Freezing,
    MadeReportLinkJson,
    NewReport,
    NewReportComment,
    NewReportLink,
    RecheckJson,
    ReportChange,
    ReportCommentJson,
    ReportDetailJson,
    ReportJson,
    ReportLinkJson,
    RevisionJson,
)

WORDS_LENGTH = 200
WORDS = text("q", "words of the title", most=WORDS_LENGTH)
NUMBER = whole("revision", "the revision; the newest without it", least=1, most=queries.MOST_NUMBER)
PANELS = text("panels", "with what every panel shows", choices=["yes"])


class Changed(Cursor):
    ordering = ("-changed_at", "-id")


class ReportList(APIView):
    @operation("Reports", query=[WORDS, PROJECT], returns=Page[ReportJson], paging=Changed)
    def get(self, request: Request) -> Response:
        """Of a project, the last changed first."""
        project = project_of(request, request.GET.get("project"))
        cursor = Changed()
        rows = queries.reports(project, request.GET.get("q", "")[:WORDS_LENGTH])
        part = cursor.paginate_queryset(rows, request, self)
        return cursor.get_paginated_response([report_json(report) for report in part or ()])

    @operation("Write a report", body=NewReport, returns=ReportDetailJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        """Of `blocks` and a `title`, or ready-made of an `evaluation` or of compared `runs`."""
        data = json_object(request, NewReport)
        given = [name for name in ("blocks", "evaluation", "runs") if data.get(name) is not None]
        if len(given) > 1:
            raise invalid({given[1]: f"give it, or {given[0]}, not both"})
        project = project_of(request, member(data, "project", str, ""))
        title = member(data, "title", str, "")
        if "evaluation" in given:
            title_, blocks = ready.of_evaluation(_evaluation(request, data))
        elif "runs" in given:
            title_, blocks = ready.of_comparison(_members(request, data, project))
        else:
            title_, blocks = "", member(data, "blocks", list, [])
        made = services.report_create(
            project=project, title=title or title_, given=blocks, by=request.user
        )
        return _answer(queries.revision_of(made), status=201)


class ReportDetail(APIView):
    @operation("A report", query=[NUMBER, PANELS], returns=ReportDetailJson)
    def get(self, request: Request, report_id: UUID) -> Response:
        """What it says in a revision. Live panels are computed for the answer."""
        found = _revision(request, _report(request, report_id))
        answer = _answer(found)
        if request.GET.get("panels") == "yes":
            answer.data["panels"] = {
                shown.id: _panel(shown) for shown in queries.shown(found) if shown.is_panel
            }
        return answer

    @operation("Change a report", body=ReportChange, returns=ReportDetailJson, if_match=True)
    def patch(self, request: Request, report_id: UUID) -> Response:
        """Makes the next revision. 409 where there is a newer one than `base`."""
        report = _editable(request, report_id)
        data = json_object(request, ReportChange)
        last = queries.revision_of(report)  # read first: what is saved from now on is a conflict
        with transaction.atomic():  # ends before panels are drawn, which takes a while
            require_match(request, report, report_revision)
        made = services.report_save(
            report=report,
            title=member(data, "title", str, last.title),
            given=member(data, "blocks", list, last.blocks),
            note=member(data, "note", str, ""),
            base=member(data, "base", int, last.number),
            by=request.user,
        )
        return _answer(made)

    @operation("Delete a report", if_match=True)
    @transaction.atomic
    def delete(self, request: Request, report_id: UUID) -> Response:
        """With its history, comments and links."""
        report = _editable(request, report_id)
        require_match(request, report, report_revision)
        services.report_delete(report=report, by=request.user)
        return Response(status=204)


class Numbered(Cursor):
    ordering = ("-number",)


class RevisionList(APIView):
    @operation("Revisions of a report", returns=Page[RevisionJson], paging=Numbered)
    def get(self, request: Request, report_id: UUID) -> Response:
        """Newest first."""
        report = _report(request, report_id)
        cursor = Numbered()
        rows = report.revisions.select_related("by").defer("blocks")
        part = cursor.paginate_queryset(rows, request, self)
        return cursor.get_paginated_response([revision_json(one) for one in part or ()])


class RevisionDetail(APIView):
    @operation("What a report said", returns=ReportDetailJson)
    def get(self, request: Request, report_id: UUID, number: int) -> Response:
        return _answer(queries.revision_of(_report(request, report_id), number))

    @operation("Restore a revision", returns=ReportDetailJson, status=201)
    @idempotent
    def post(self, request: Request, report_id: UUID, number: int) -> Response:
        """As the newest one; nothing of the history is lost."""
        report = _editable(request, report_id)
        made = services.report_restore(report=report, number=number, by=request.user)
        return _answer(made, status=201)


class ReportFreeze(APIView):
    @operation("Freeze all panels", body=Freezing, returns=ReportDetailJson)
    @idempotent
    def post(self, request: Request, report_id: UUID) -> Response:
        """As they are now, in a new revision; with `"freeze": "no"` all are live again."""
        report = _editable(request, report_id)
        freeze = member(json_object(request, Freezing), "freeze", str, "yes")
        if freeze not in ("yes", "no"):
            raise invalid({"freeze": f"{freeze[:40]!r} is neither 'yes' nor 'no'"})
        made = services.report_freeze(report=report, by=request.user, freeze=freeze == "yes")
        return _answer(made)


class ReportRecheck(APIView):
    @operation("Recheck frozen panels", query=[NUMBER], returns=RecheckJson)
    def get(self, request: Request, report_id: UUID) -> Response:
        """Every one is made once more, with what differs. The score files are read and hashed anew
        for it.
        """
        found = _revision(request, _report(request, report_id))
        return Response(recheck_json(found, recheck.recheck(found)))


class ReportExport(APIView):
    @operation(
        "A report as a file",
        path={"form": tuple(exporting.FORMATS)},
        query=[NUMBER],
        returns=("text/html", "application/pdf", "application/x-tex"),
        refuses=[503],
    )
    def get(self, request: Request, report_id: UUID, form: str) -> HttpResponse:
        """One HTML file that works offline, a PDF, or its tables as LaTeX. 503 for a PDF where the
        server has no browser that prints it, or it is busy.
        """
        if form not in exporting.FORMATS:
            raise Http404
        return exporting.answer(_revision(request, _report(request, report_id)), form)


class CommentList(APIView):
    @operation("Comments on a report", returns=Results[ReportCommentJson])
    def get(self, request: Request, report_id: UUID) -> Response:
        """Oldest first."""
        rows = _report(request, report_id).comments.select_related("by")
        return Response({"results": [comment_json(comment) for comment in rows]})

    @operation("Comment on a panel", body=NewReportComment, returns=ReportCommentJson, status=201)
    @idempotent
    def post(self, request: Request, report_id: UUID) -> Response:
        report = _editable(request, report_id)
        data = json_object(request, NewReportComment)
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
        """One's own; by an admin anybody's."""
        rows = Comment.objects.visible_to(request.user).select_related("report__project")
        comment = get_object_or_404(rows, pk=comment_id, report=report_id)
        services.comment_delete(comment=comment, by=request.user)
        return Response(status=204)


class LinkList(APIView):
    @operation("Links to a report", returns=Page[ReportLinkJson], paging=Cursor)
    def get(self, request: Request, report_id: UUID) -> Response:
        """For people without an account, newest first. By members."""
        rows = _editable(request, report_id).links.select_related("revision", "created_by")
        cursor = Cursor()
        part = cursor.paginate_queryset(rows, request, self)
        return cursor.get_paginated_response([link_json(link) for link in part or ()])

    @operation("Share a report", body=NewReportLink, returns=MadeReportLinkJson, status=201)
    @idempotent_secret
    def post(self, request: Request, report_id: UUID) -> Response:
        """`link` is in this answer and nowhere else."""
        report = _editable(request, report_id)
        data = json_object(request, NewReportLink)
        made, secret = sharing.link_create(
            report=report,
            by=request.user,
            days=member(data, "days", int, 14),
            note=member(data, "note", str, ""),
            password=member(data, "password", str, ""),
            revision=member(data, "revision", int, 0) or None,
        )
        link = request.build_absolute_uri(reverse("shared", args=[secret]))
        answer: MadeReportLinkJson = {**link_json(made), "link": link}
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


def comment_json(comment: Comment) -> ReportCommentJson:
    return {
        "id": comment.pk,
        "block": comment.block,
        "text": comment.text,
        "by": comment.by.username,
        "at": comment.at,
    }


def link_json(link: ShareLink) -> ReportLinkJson:
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


def recheck_json(found: Revision, findings: Sequence[recheck.Finding]) -> RecheckJson:
    return {
        "revision": found.number,
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


def report_revision(report: Report) -> str:
    return _tag(queries.revision_of(report))


def _tag(found: Revision) -> str:
    return revision(found, "number")


def _answer(found: Revision, status: int = 200) -> Response:
    """A report as it is in a revision; the ETag of an old one fits no change."""
    report = found.report
    said: ReportDetailJson = {
        **report_json(report),
        "title": found.title,
        "project": report.project.slug,
        "revision": revision_json(found),
        "blocks": found.blocks,
    }
    return tagged(Response(said, status=status), _tag(found))


def _panel(shown: queries.Shown) -> dict[str, Any]:
    if shown.content is None:
        assert shown.error is not None  # one or the other
        return {"error": shown.error.to_dict()}
    return {**shown.content.to_dict(), "frozen_at": shown.frozen_at}


def _members(request: Request, data: dict[str, Any], project: Project) -> list[selection.Member]:
    """The project's among the runs of the body."""
    ids = uuids(texts(data, "runs"))
    if len(ids) > selection.MOST_RUNS:
        raise invalid({"runs": f"{len(ids)} are named, {selection.MOST_RUNS} at most"})
    runs = [r for r in selection.chosen(request.user, ids) if r.project_id == project.pk]
    return selection.members(runs, selection.evaluations(runs))


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
    return queries.revision_of(report, NUMBER.of(request))
