"""What every page's frame shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def project(request: HttpRequest) -> dict[str, Any]:
    """The project that the person works in (`request.project`, set by the project middleware)."""
    return {"project": getattr(request, "project", None)}
