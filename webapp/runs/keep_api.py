"""What people keep of the runs table, over HTTP: a saved view, pins."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Request, json_object, member
from webapp.core.conditional import require_match, revision, tagged
from webapp.core.openapi import operation
from webapp.runs import bookmarks
from webapp.runs.models import Run, SavedView
from webapp.runs.represent import view_json
from webapp.runs.shapes import ViewJson, ViewName


class SavedViewDetail(APIView):
    @operation("A saved view", returns=ViewJson)
    def get(self, request: Request, view_id: int) -> Response:
        view = _view(request, view_id)
        return tagged(Response(view_json(view)), view_revision(view))

    @operation("Rename a saved view", body=ViewName, returns=ViewJson, if_match=True)
    @transaction.atomic
    def patch(self, request: Request, view_id: int) -> Response:
        view = _view(request, view_id)
        name = member(json_object(request, ViewName), "name", str, view.name)
        require_match(request, view, view_revision)
        view = bookmarks.view_rename(view=view, name=name, by=request.user)
        return tagged(Response(view_json(view)), view_revision(view))

    @operation("Delete a saved view", if_match=True)
    @transaction.atomic
    def delete(self, request: Request, view_id: int) -> Response:
        view = _view(request, view_id)
        require_match(request, view, view_revision)
        bookmarks.view_delete(view=view, by=request.user)
        return Response(status=204)


class RunPinned(APIView):
    @operation("Pin a run to the top of your table")
    def put(self, request: Request, run_id: UUID) -> Response:
        bookmarks.runs_pin(runs=[_run(request, run_id)], by=request.user)
        return Response(status=204)

    @operation("Unpin a run")
    def delete(self, request: Request, run_id: UUID) -> Response:
        bookmarks.runs_unpin(runs=[_run(request, run_id)], by=request.user)
        return Response(status=204)


def view_revision(view: SavedView) -> str:
    return revision(view, "name", "query")


def _view(request: Request, view_id: int) -> SavedView:
    views = SavedView.objects.visible_to(request.user).select_related("project", "created_by")
    return get_object_or_404(views, pk=view_id)


def _run(request: Request, run_id: UUID) -> Run:
    return get_object_or_404(Run.objects.visible_to(request.user), pk=run_id)
