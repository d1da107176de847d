"""The page on which a project is deleted, and the same over HTTP."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.errors import ConfigError
from webapp.accounts import queries
from webapp.core.api import Request as ApiRequest
from webapp.core.api import json_object, member
from webapp.core.http import Request
from webapp.core.openapi import operation
from webapp.storage import projects
from webapp.storage.shapes import DeletedProjectJson, ProjectConfirmation, ProjectDeletionJson


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: Request, slug: str) -> HttpResponse:
    """What would go, and the box in which the slug is typed; a POST deletes."""
    found = queries.administered(request.user, slug)
    typed, problem = request.POST.get("slug", ""), ""
    if request.method == "POST":
        try:
            done = projects.project_delete(project=found, slug=typed, by=request.user)
        except ConfigError:
            problem = f"That is not {found.slug}."
        else:
            rest = "" if done else " Its files go in the background."
            messages.success(request, f"{found} is deleted.{rest}")
            return HttpResponseRedirect(reverse("settings:projects"))
    context = {
        "shown": found,
        "can_admin_shown": True,
        "deletion": projects.preview(found),
        "typed": typed,
        "problem": problem,
    }
    return render(request, "accounts/project_delete.html", context)


class ProjectDeletion(APIView):
    @operation("What deleting a project would do", returns=ProjectDeletionJson, in_browser=True)
    def get(self, request: ApiRequest, slug: str) -> Response:
        """And what keeps it from being done. By admins."""
        found = projects.preview(queries.administered(request.user, slug))
        answer: ProjectDeletionJson = {
            "runs": found.runs,
            "datasets": found.datasets,
            "feature_sets": found.feature_sets,
            "evaluations": found.evaluations,
            "sweeps": found.sweeps,
            "reports": found.reports,
            "links": found.links,
            "members": found.members,
            "size_bytes": found.size_bytes,
            "size_is_exact": found.size_is_exact,
            "queued": found.queued,
            "running": [run.pk for run in found.running],
            "needed_by": [run.pk for run in found.needed_by],
            "possible": not found.blocked,
        }
        return Response(answer)

    @operation(
        "Delete a project",
        body=ProjectConfirmation,
        returns=DeletedProjectJson,
        status=202,
        in_browser=True,
    )
    def post(self, request: ApiRequest, slug: str) -> Response:
        """`slug` is that of the project, once more. It is gone for everybody at once; `done`: its
        files, too. By admins."""
        found = queries.administered(request.user, slug)
        typed = member(json_object(request, ProjectConfirmation), "slug", str, "")
        done = projects.project_delete(project=found, slug=typed, by=request.user)
        return Response({"slug": slug, "done": done}, status=202)
