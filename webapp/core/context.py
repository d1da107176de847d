"""What every page's frame shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def project(request: HttpRequest) -> dict[str, Any]:
    """The project that the person works in and what they may do there (ProjectMiddleware)."""
    return {
        "project": getattr(request, "project", None),
        "projects": getattr(request, "projects", ()),
        "can_edit": getattr(request, "can_edit", False),
        "can_admin": getattr(request, "can_admin", False),
    }
