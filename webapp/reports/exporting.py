"""A report as a file: one HTML file that works offline, a PDF, its tables as LaTeX."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.utils.text import slugify

from webapp.reports import offline, pdf, queries, texts
from webapp.reports.models import Revision


def _tex(revision: Revision) -> str:
    return texts.latex(revision.title, queries.shown(revision))


# The HTML file is only ever downloaded: opened on this address, its scripts would be this site's.
FORMATS: dict[str, tuple[str, Callable[[Revision], str | bytes]]] = {
    "html": ("text/html; charset=utf-8", offline.html),
    "pdf": ("application/pdf", pdf.pdf),
    "tex": ("application/x-tex; charset=utf-8", _tex),
}


def answer(revision: Revision, form: str) -> HttpResponse:
    """
    Raises:
        VadError: `pdf-unavailable`.
    """
    media_type, write = FORMATS[form]
    name = slugify(revision.title)[:80] or "report"
    found = HttpResponse(write(revision), content_type=media_type)
    found["Content-Disposition"] = f'attachment; filename="{name}-r{revision.number}.{form}"'
    found["Cache-Control"] = "private, no-store"
    return found
