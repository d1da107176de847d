"""One error, three faces: a page, a message that htmx puts in place, and JSON for the API."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from vad.errors import VadError

log = structlog.get_logger(__name__)

# Codes that are not here are 422: understood, but it cannot be done as it was asked.
STATUS: dict[str, int] = {
    "already-registered": 409,
    "disk-full": 507,
    "filter-invalid": 400,
    "idempotency-used": 409,
    "invitation-unusable": 410,
    "last-admin": 409,
    "length-required": 411,
    "not-allowed": 403,
    "not-empty": 409,
    "not-found": 404,
    "not-signed-in": 401,
    "password-link-unusable": 410,
    "precondition-failed": 412,
    "project-busy": 409,
    "request-invalid": 400,
    "run-in-use": 409,
    "run-not-movable": 409,
    "sweep-not-movable": 409,
    "storage-unreachable": 503,
    "pdf-unavailable": 503,
    "report-changed": 409,
    "share-unusable": 410,
    "token-invalid": 401,
    "too-many-tries": 429,
    "unexpected": 500,
    "upload-offset": 409,
}

PAGES = {403: "errors/403.html", 404: "errors/404.html", 500: "errors/500.html"}

NOT_FOUND = (
    "not-found",
    "There is nothing here, or nothing that you may see.",
    "Check the address, or ask for access to the project.",
)
TOO_LARGE = (
    "request-invalid",
    "The body of the request is larger than the server reads at once.",
    "Send it in several parts.",
)
LENGTH_REQUIRED = (
    "length-required",
    "The request does not say how long its body is.",
    "Send a Content-Length; for a file of unknown length write it to disk first.",
)
NOT_SIGNED_IN = ("not-signed-in", "You are not signed in.", "Sign in and ask again.")
TOKEN_INVALID = (
    "token-invalid",
    "The token is unknown, expired or revoked.",
    "Make a new one under Settings, Tokens.",
)


def too_large() -> VadError:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    text = f"The body of the request has more than {most:,} bytes."
    return VadError("request-invalid", text, "Send less at once.")


def status_of(error: VadError) -> int:
    """The HTTP status of an error."""
    return STATUS.get(error.code, 422)


def wants_json(request: HttpRequest) -> bool:
    """The API's clients, and the charts of a page; its documentation is pages."""
    of_api = request.path.startswith("/api/") and not request.path.startswith("/api/v1/docs/")
    return of_api or not request.accepts("text/html")


def is_part(request: HttpRequest) -> bool:
    """Asked by htmx for a part of a page that is open."""
    return bool(getattr(request, "htmx", False)) and not request.htmx.boosted  # type: ignore[attr-defined]


def response(
    request: HttpRequest, error: VadError, status: int | None = None, template: str = ""
) -> HttpResponse:
    """The error as whoever asked can read it."""
    status = status or status_of(error)
    if wants_json(request):
        return JsonResponse(error.to_dict(), status=status)
    context = {"error": error, "status": status}
    if is_part(request):
        answer = render(request, "partials/error.html", context, status=status)
        answer["HX-Retarget"] = "#toasts"
        answer["HX-Reswap"] = "beforeend"
        return answer
    return render(
        request, template or PAGES.get(status, "errors/error.html"), context, status=status
    )


# --- Django's own errors; named in urls.py and in the settings ------------------------------


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return response(request, too_large(), 413)
    error = VadError("request-invalid", "The request cannot be read.", "Reload the page.")
    return response(request, error, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    error = VadError(
        "not-allowed",
        "Your role does not allow this.",
        "Ask an admin of the project for another role.",
    )
    return response(request, error, 403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return response(request, VadError(*NOT_FOUND), 404)


def server_error(request: HttpRequest) -> HttpResponse:
    error = VadError(
        "unexpected",
        "The server made a mistake with this request; it has been written to its log.",
        "Try again. If it happens again, tell whoever runs the server when it happened.",
    )
    try:
        return response(request, error, 500)
    except Exception:  # the page itself is what fails: say it without a template
        log.exception("error-page.failed")
        return HttpResponse(f"{error.message} {error.hint}", status=500, content_type="text/plain")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    error = VadError(
        "not-allowed",
        "The request did not carry the token that proves it comes from this site's own pages.",
        "Reload the page and try again; cookies must be allowed.",
    )
    return response(request, error, 403, "errors/csrf.html")
