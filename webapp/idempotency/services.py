"""`Idempotency-Key`: the same request again gets the first one's answer, and makes nothing new."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.response import Response

from vad.errors import VadError
from webapp.core.api import Request
from webapp.core.openapi import invalid
from webapp.core.rest import StrictRenderer
from webapp.idempotency.models import IdempotencyKey

F = TypeVar("F", bound=Callable[..., Any])
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY_LENGTH = 200
KEPT = timedelta(hours=24)


def idempotent(method: F, *, secret: bool = False) -> F:
    """Let a method of a view take `Idempotency-Key`.

    The key's row, what the request makes and the answer are one transaction: a request that fails
    leaves no key behind, and of two at the same time the second waits for the first one's answer.
    """

    @wraps(method)
    def keyed(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return method(self, request, *args, **kwargs)
        with transaction.atomic():
            row, is_new = _claim(request, _checked(key))
            if not is_new:
                return _again(row)
            answer: Response = method(self, request, *args, **kwargs)
            if answer.status_code >= 400:
                transaction.set_rollback(True)
                return answer
            row.status = answer.status_code
            row.body = "" if secret else StrictRenderer().render(answer.data).decode()
            row.save(update_fields=["status", "body"])
            return answer

    keyed.idempotent = True  # type: ignore[attr-defined]  # the OpenAPI document says so
    return keyed  # type: ignore[return-value]


def idempotent_secret(method: F) -> F:
    """As `idempotent`, for an answer that must not be kept: again is refused, not repeated."""
    return idempotent(method, secret=True)


def keys_forget(now: datetime | None = None) -> int:
    """Drop the keys whose day is over; how many."""
    old = IdempotencyKey.objects.filter(created_at__lt=(now or timezone.now()) - KEPT)
    return old.delete()[0]


def _claim(request: Request, key: str) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether it is new. Waits for a request with the same key.

    Raises:
        VadError: `idempotency-mismatch`, the key was sent with something else.
    """
    now = timezone.now()
    same = {"user": request.user, "route": _route(request), "key": key}
    digest = _digest(request)
    IdempotencyKey.objects.filter(**same, created_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(**same, digest=digest, created_at=now), True
    except IntegrityError:
        row = IdempotencyKey.objects.get(**same)
    if row.digest != digest:
        raise VadError(
            "idempotency-mismatch",
            f"The key {key[:60]!r} was used for another request to this address.",
            "Send a new key with a new request, and the same body with the same key.",
        )
    return row, False


def _again(row: IdempotencyKey) -> Response:
    if not row.body:
        raise VadError(
            "idempotency-used",
            f"This was done with the key {row.key[:60]!r} already; its answer held a secret, which "
            "is not kept.",
            "Look for what was made in the list; revoke it and make another if its text is lost.",
        )
    return Response(json.loads(row.body), status=row.status, headers={REPLAYED: "true"})


def _checked(key: str) -> str:
    if not (1 <= len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
        raise invalid({HEADER: f"must be 1 to {KEY_LENGTH} printable ASCII characters"})
    return key


def _route(request: Request) -> str:
    return f"{request.method} {request.path}"[:300]


def _digest(request: Request) -> str:
    token = request.user.token
    said = [request.data, token.project_id if token else None]
    # keyed: a body may hold a password, which a plain digest of it would let anybody guess
    text = json.dumps(said, sort_keys=True)
    return salted_hmac("idempotency", text, algorithm="sha256").hexdigest()
