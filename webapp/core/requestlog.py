"""Gives every request an id, that its answer and all log lines about it carry."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from structlog.contextvars import bind_contextvars, clear_contextvars

from webapp.settings.logs import HIDDEN

HEADER = "X-Request-ID"
SLOW_S = 1.0
_FIT = re.compile(r"[\w.:-]{1,64}", re.ASCII)  # of a proxy's id; any other is not taken over
_SECRETS = ("secret", "token", "digest")  # parts of addresses that open something

log = structlog.get_logger(__name__)


class RequestLogMiddleware:
    """The first of all, so that the other layers log under the request's id.

    Written down are changes, refusals and what was slow, by their route: an address may hold a
    secret. Every other request is a line at the level `DEBUG`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if _FIT.fullmatch(given) else uuid.uuid4().hex
        clear_contextvars()  # not at the end: Django logs refusals after all middleware
        bind_contextvars(request_id=request_id)
        begun_s = time.monotonic()
        response = self.get_response(request)
        response[HEADER] = request_id
        took_s = time.monotonic() - begun_s
        route = request.resolver_match.route if request.resolver_match else None
        told = request.method not in ("GET", "HEAD") or response.status_code >= 400
        log.log(
            logging.INFO if told or took_s > SLOW_S else logging.DEBUG,
            "request.answered",
            method=request.method,
            route=route,
            status=response.status_code,
            took_ms=round(1000 * took_s),
        )
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Who asks, and for which run; a person known by a token is bound in accounts/tokens.py."""
        bound: dict[str, str] = {}
        if request.user.is_authenticated:
            bound["user"] = request.user.username
        if "run_id" in kwargs:
            bound["run_id"] = str(kwargs["run_id"])
        secret = next((str(kwargs[name]) for name in _SECRETS if name in kwargs), "")
        if secret:
            bound[HIDDEN] = secret
        bind_contextvars(**bound)
