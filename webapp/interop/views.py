"""The page from which a project is taken along."""

from __future__ import annotations

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webapp.accounts import access
from webapp.accounts.queries import project_of
from webapp.core.http import Request
from webapp.interop import export, files
from webapp.interop.tables import TABLES


@require_safe
def export_page(request: Request, slug: str) -> HttpResponse:
    """What an export holds, how large its files are, and the download."""
    shown = project_of(request.user, slug)
    sizes = {
        which: sum(entry.size_bytes for entry in files.entries(shown, which))
        for which in files.CHOICES
    }
    context = {
        "shown": shown,
        "can_admin_shown": access.administered(request.user).filter(pk=shown.pk).exists(),
        "tables": TABLES,
        "choices": [
            {
                "name": name,
                "text": text,
                "size_bytes": sizes[name],
                "fits": sizes[name] <= export.DOWNLOAD_MAX_BYTES,
            }
            for name, text in files.CHOICES.items()
        ],
        "most_bytes": export.DOWNLOAD_MAX_BYTES,
    }
    return render(request, "interop/export.html", context)


@require_safe
def export_file(request: Request, slug: str) -> StreamingHttpResponse:
    """The ZIP, made while it is sent."""
    return export.download(project_of(request.user, slug), request.GET.get("files", files.NONE))
