"""Errors in MLflow's shape and with its codes, so that its client says what went wrong."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from vad.errors import VadError
from webapp.core.api import exception_handler

# By the HTTP status that the same error has elsewhere; what is not here is a wrong value.
_BY_STATUS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "ENDPOINT_NOT_FOUND",
    413: "REQUEST_LIMIT_EXCEEDED",
    429: "REQUEST_LIMIT_EXCEEDED",
    507: "INTERNAL_ERROR",
}
_BY_CODE = {"already-registered": "RESOURCE_ALREADY_EXISTS", "run-not-movable": "INVALID_STATE"}
INVALID = "INVALID_PARAMETER_VALUE"


class TrackingError(Exception):
    """An error that only MLflow's client knows."""

    def __init__(self, message: str, code: str = INVALID, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def missing(what: str, name: str) -> TrackingError:
    return TrackingError(
        f"There is no {what} {name[:80]!r}, or not for you.", "RESOURCE_DOES_NOT_EXIST", 404
    )


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """`{error_code, message}` for every error of a view here."""
    if isinstance(exc, TrackingError):
        return Response({"error_code": exc.code, "message": str(exc)}, status=exc.status)
    answer = exception_handler(exc, context)
    if answer is None:
        return None
    code = _BY_STATUS.get(answer.status_code, INVALID)
    if isinstance(exc, VadError):
        code = _BY_CODE.get(exc.code, code)
    said = answer.data or {}
    message = " ".join(filter(None, [said.get("message", ""), said.get("hint", "")]))
    status = 400 if code in (INVALID, *_BY_CODE.values()) else answer.status_code
    headers = dict(answer.headers.items())
    return Response({"error_code": code, "message": message}, status=status, headers=headers)
