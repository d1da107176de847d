"""A project's export over the REST API."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from rest_framework.views import APIView

from webapp.accounts.queries import project_of
from webapp.core.api import Request
from webapp.core.openapi import operation, text
from webapp.interop import export, files

FILES = text("files", "which files beside the tables; none without it", choices=[*files.CHOICES])


class ProjectExport(APIView):
    @operation("Export a project", query=[FILES], returns="application/zip")
    def get(self, request: Request, slug: str) -> StreamingHttpResponse:
        """A ZIP of Parquet tables, with the files of runs if asked for. It is made while it is
        sent, so it has no ETag and is never 304.
        """
        return export.download(project_of(request.user, slug), request.GET.get("files", files.NONE))
