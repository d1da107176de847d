"""Personal tokens of the API: making, revoking, and knowing a person by one."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from vad.errors import ConfigError
from webapp.accounts import access, audit
from webapp.accounts.models import ApiToken, Project, Scope, User

MARK = "vad_"  # so that a person, or a scanner for secrets, knows one when they see it
DAYS, MOST_DAYS = 90, 365
USED_EVERY = timedelta(minutes=1)


def digest_of(secret: str) -> str:
    """SHA-256: right for 256 random bits, which nobody can guess from their digest."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@transaction.atomic
def token_create(
    *,
    by: User,
    name: str,
    scope: str = Scope.READ,
    project: Project | None = None,
    days: int = DAYS,
    now: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A token and its text, which is known here and never again.

    Args:
        project: the only one that it reaches; None for all of the person's, now and later.
        days: until it expires, 1 to 365.

    Raises:
        ConfigError: a field is wrong.
    """
    wrong = {}
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80:
        wrong["name"] = "1 to 80 characters, to know it again by"
    if scope not in Scope.values:
        wrong["scope"] = f"{scope[:40]!r} is none of {', '.join(Scope.values)}"
    if not 1 <= days <= MOST_DAYS:
        wrong["days"] = f"{days} is not from 1 to {MOST_DAYS}"
    if project is not None and not access.memberships(by).filter(project=project).exists():
        wrong["project"] = "you are no member of it"
    if wrong:
        raise ConfigError(wrong, what="The token")
    secret = MARK + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=by,
        name=name,
        prefix=secret[:12],
        digest=digest_of(secret),
        scope=scope,
        project=project,
        expires_at=(now or timezone.now()) + timedelta(days=days),
    )
    audit.record(
        "token-created", by=by, project=project, subject=token.name, prefix=token.prefix,
        scope=scope, days=days,
    )  # fmt: skip
    return token, secret


@transaction.atomic
def token_revoke(*, token: ApiToken, by: User) -> None:
    """It stops working at once. Revoking twice is harmless."""
    alive = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    if alive.update(revoked_at=timezone.now()):
        audit.record(
            "token-revoked", by=by, project=token.project, subject=token.name, prefix=token.prefix
        )


class TokenAuth(BaseAuthentication):
    """`Authorization: Bearer vad_…`. Needs no CSRF token, since no browser sends it by itself."""

    reads: Sequence[str] = SAFE_METHODS  # what a token that may only read is good for

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="VADLab"'

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The token's person, with lowered rights (access.py).

        Raises:
            AuthenticationFailed: it is unknown, expired or revoked, or its person has left.
            PermissionDenied: it may only read, and the request would write.
        """
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = find(secret.strip())
        if token is None:
            raise AuthenticationFailed
        if token.scope != Scope.WRITE and request.method not in self.reads:
            raise PermissionDenied(f"The token {token.prefix}… may only read.")
        user = token.user
        user.token = token
        user.is_superuser = user.is_staff = False  # the row stays as it is: see User.save
        if getattr((request.parser_context or {}).get("view"), "in_project", True):
            access.place(user).put_on(request._request)
        return user, token


class SearchTokenAuth(TokenAuth):
    """For the endpoints of MLflow that only read, but are asked by POST."""

    reads = (*SAFE_METHODS, "POST")


def find(secret: str, now: datetime | None = None) -> ApiToken | None:
    """The living token of a person who may sign in; notes its use, once a minute at most."""
    now = now or timezone.now()
    rows = ApiToken.objects.select_related("user").filter(digest=digest_of(secret))
    token: Any = rows.order_by().first()
    if token is None or token.revoked_at is not None or token.expires_at <= now:
        return None
    if not token.user.is_active:
        return None
    if token.last_used_at is None or token.last_used_at <= now - USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token
