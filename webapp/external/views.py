"""Files of external runs for a browser."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from webapp.accounts.models import User
from webapp.core.http import Request
from webapp.core.ranges import ranged
from webapp.external.models import Upload


@require_safe
def file(request: Request, run_id: UUID, file_id: UUID) -> HttpResponseBase:
    """A file to keep: whatever it is, no browser shows it as a page of ours."""
    return file_answer(request, request.user, run_id, file_id)


def file_answer(request: HttpRequest, user: User, run_id: UUID, file_id: UUID) -> HttpResponseBase:
    rows = Upload.objects.visible_to(user).select_related("run")
    upload = get_object_or_404(rows, pk=file_id, run=run_id, finished_at__isnull=False)
    answer = ranged(request, upload.file, "application/octet-stream")
    name = upload.path.rpartition("/")[2]
    answer["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return answer
