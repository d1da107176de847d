"""Where a request comes from, for the audit log, the lock-out and the list of sessions."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from webapp.accounts import audit, sessions


class OriginMiddleware:
    """For the time of a request its address is known; a session that is used is noted as seen."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.origin(address_of(request)):
            if request.user.is_authenticated:
                sessions.note_seen(request)
            return self.get_response(request)


def address_of(request: HttpRequest) -> str | None:
    """The client's address: the one that the outermost of our own proxies saw.

    Each proxy appends whom it heard from to X-Forwarded-For. With `VADLAB_PROXIES` of them the
    client is so many places from the end; whatever stands before was written by the client.
    """
    text = request.META.get("REMOTE_ADDR", "")
    if settings.PROXIES:
        heard = request.META.get("HTTP_X_FORWARDED_FOR", "").replace(",", " ").split()
        text = heard[-settings.PROXIES] if len(heard) >= settings.PROXIES else text
    try:
        return str(ipaddress.ip_address(text.strip("[]").partition("%")[0]))
    except ValueError:
        return None
