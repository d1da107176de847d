"""The project a request works in, and errors for people on every page."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from vad.errors import VadError
from webapp.accounts import access
from webapp.core import errors

log = structlog.get_logger(__name__)

SESSION_KEY = "project"


class BodyLengthMiddleware:
    """Refuses a body whose length nobody says (`Transfer-Encoding: chunked`).

    Django reads as many bytes as `Content-Length` says: such a body would be taken as empty, and
    what somebody sent be lost without a word. An empty one goes on: clients send empty files so.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META
        unsaid = "HTTP_TRANSFER_ENCODING" in given and not given.get("CONTENT_LENGTH")
        # A server that does not undo the chunks has no end of the input, and no use for this.
        if unsaid and given.get("wsgi.input_terminated") and given["wsgi.input"].read(1):
            refused = VadError(*errors.LENGTH_REQUIRED)
            return JsonResponse(refused.to_dict(), status=errors.status_of(refused))
        return self.get_response(request)


class SignInMiddleware(LoginRequiredMiddleware):
    """To the sign-in page, but not in the middle of an open page whose session has ended.

    There a poll would put the whole sign-in page into a table's cell, and a chart would read it as
    its figure; they are told 401 instead.
    """

    def handle_no_permission(  # type: ignore[override]  # the stub knows redirects only
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponse:
        if errors.is_part(request) or errors.wants_json(request):
            return errors.response(request, VadError(*errors.NOT_SIGNED_IN))
        return super().handle_no_permission(request, view_func)


class ProjectMiddleware:
    """Sets `request.project`, `.projects`, `.can_edit` and `.can_admin` (accounts/access.py).

    For the API's tokens they are set again when REST framework has read the token.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        place = access.Place()
        if request.user.is_authenticated:
            place = access.place(request.user, request.session.get(SESSION_KEY))
        place.put_on(request)
        return self.get_response(request)


class VadErrorMiddleware:
    """A `VadError` raised by a view becomes its page, or its message for htmx, or its JSON.

    Text with a NUL character is refused before any view sees it: PostgreSQL cannot store it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if _has_nul(request):
            return errors.bad_request(request)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not isinstance(exc, VadError):
            return None
        log.info("request.refused", code=exc.code)
        return errors.response(request, exc)


def _has_nul(request: HttpRequest) -> bool:
    if "%00" in request.META.get("QUERY_STRING", "") or "\0" in request.path_info:
        return True
    if request.content_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return False
    return any("\0" in text for values in request.POST.lists() for text in values[1])
