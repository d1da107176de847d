"""Conditional requests of the API: nothing is sent that is known, nothing overwritten unseen.

An ETag is `"REVISION.DIGEST"`, or `"DIGEST"` where people change nothing: the digest is that of the
answer, the revision one of what people may change. `If-None-Match` compares the whole, `If-Match`
the revision alone, or the progress of a run would forbid to rename it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TypeVar

from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_cache_control
from django.utils.http import parse_etags
from rest_framework.response import Response

from vad.errors import VadError

M = TypeVar("M", bound=Model)


def revision(row: Model, *fields: str) -> str:
    """A short digest of these fields."""
    said = json.dumps([str(row.pk), *(getattr(row, name) for name in fields)], default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def tagged(answer: Response, of: str) -> Response:
    """The answer, with a revision in its ETag."""
    answer.revision = of  # type: ignore[attr-defined]
    return answer


def require_match(request: HttpRequest, row: M, revision_of: Callable[[M], str]) -> None:
    """Refuse a change of what is not any more as the client read it. In a transaction.

    Raises:
        VadError: `precondition-failed`; the row is locked otherwise.
    """
    if "If-Match" not in request.headers:
        return
    now = type(row)._base_manager.select_for_update().filter(pk=row.pk).first()
    if now is None:
        raise Http404
    require_revision(request, revision_of(now), what=str(now))


def require_revision(request: HttpRequest, now: str, *, what: str) -> None:
    """Refuse a change of what has another revision now, for a caller that has locked it.

    Raises:
        VadError: `precondition-failed`.
    """
    header = request.headers.get("If-Match")
    if header is None:
        return
    known = [etag.strip('"').partition(".")[0] for etag in parse_etags(header)]
    if "*" not in known and now not in known:
        raise VadError(
            "precondition-failed",
            f"{what} was changed since you read it; nothing of yours was stored.",
            "Read it again, and send the change with the ETag of that answer.",
        )


def is_known(request: HttpRequest, etag: str) -> bool:
    """Whether the client has this already, by `If-None-Match`."""
    given = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in given or etag in [one.removeprefix("W/") for one in given]


def not_modified(answer: HttpResponse) -> HttpResponseNotModified:
    """304 with the headers of the answer that it stands for."""
    found = HttpResponseNotModified()
    for name in ("ETag", "Cache-Control", "Vary"):
        if answer.has_header(name):
            found[name] = answer[name]
    return found


class ConditionalMiddleware:
    """ETags of the API's answers, and 304 for what the client has."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        reads = request.method in ("GET", "HEAD")
        rev = getattr(answer, "revision", "")
        if not request.path.startswith("/api/") or answer.status_code != 200 or answer.streaming:
            return answer
        if not (reads or rev) or answer.has_header("ETag"):
            return answer
        digest = hashlib.md5(answer.content, usedforsecurity=False).hexdigest()
        answer["ETag"] = f'"{rev}.{digest}"' if rev else f'"{digest}"'
        if not reads:
            return answer
        if not answer.has_header("Cache-Control"):
            patch_cache_control(answer, private=True, no_cache=True)
        return not_modified(answer) if is_known(request, answer["ETag"]) else answer
