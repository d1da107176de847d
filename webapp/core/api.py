"""What all API views share: one error shape, bounded paging."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.response import Response
from rest_framework.views import set_rollback

from vad.errors import VadError
from webapp.core import errors

log = logging.getLogger(__name__)


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """`{code, message, hint, problems, fields}` for every error of an API view.

    What is not an error of the client's is passed on to Django, whose handler answers in the same
    shape (`errors.server_error`) after the trace was logged.
    """
    headers: dict[str, str] = {}
    if isinstance(exc, VadError):
        error, status = exc, errors.status_of(exc)
        log.info("api.refused path=%s code=%s", context["request"].path, exc.code)
    elif isinstance(exc, Http404 | exceptions.NotFound):
        error, status = VadError(*errors.NOT_FOUND), 404
    elif isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        error = VadError("not-signed-in", "You are not signed in.", "Sign in and ask again.")
        status, headers = 401, {"WWW-Authenticate": "Session"}
    elif isinstance(exc, PermissionDenied | exceptions.PermissionDenied):
        detail = str(getattr(exc, "detail", "")) or "Your role does not allow this."
        error = VadError("not-allowed", detail, "Ask an admin of the project for another role.")
        status = 403
    elif isinstance(exc, exceptions.APIException):
        status = exc.status_code
        error = VadError(
            "request-invalid",
            _text(exc.detail),
            "Correct the request and send it again.",
            fields=_fields(exc.detail),
        )
        wait = getattr(exc, "wait", None)
        headers = {"Retry-After": str(math.ceil(wait))} if wait else {}
    else:
        return None
    set_rollback()
    return Response(error.to_dict(), status=status, headers=headers)


def _text(detail: Any) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{name}: {_text(part)}" for name, part in detail.items())
    if isinstance(detail, list):
        return " ".join(_text(part) for part in detail)
    return str(detail)


def _fields(detail: Any) -> dict[str, str]:
    if not isinstance(detail, dict):
        return {}
    return {str(name): _text(part) for name, part in detail.items()}


class Cursor(CursorPagination):
    """Newest first, stable while rows arrive."""

    ordering = ("-created_at", "-id")
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200


def int_param(
    request: HttpRequest, name: str, default: int | None, *, least: int, most: int
) -> int | None:
    """A whole number of the query, within bounds.

    Raises:
        VadError: `request-invalid`, naming the parameter.
    """
    text = request.GET.get(name, "")
    if text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        problem = f"{text[:40]!r} is not a whole number from {least} to {most}"
        raise VadError(
            "request-invalid",
            f"{name}: {problem}.",
            "Correct the query and ask again.",
            fields={name: problem},
        )
    return value
