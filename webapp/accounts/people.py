"""The people of the server, for those who administer it: who is there, and who may still enter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from vad.errors import VadError
from webapp.accounts import audit, passwords
from webapp.accounts.models import ApiToken, BrowserSession, Invitation, Membership, User
from webapp.accounts.permissions import require_server_admin
from webapp.runs.models import CLAIMED, ENDED, Run


@dataclass(kw_only=True)
class Person:
    """A person, with what they have that is alive."""

    user: User
    last_seen_at: datetime | None = None  # by a browser or a token
    sessions: int = 0
    tokens: int = 0
    running: int = 0
    waiting: int = 0  # runs that have neither ended nor begun
    memberships: list[Membership] = field(default_factory=list)

    def note_seen(self, at: datetime | None) -> None:
        known = [each for each in (self.last_seen_at, at) if each is not None]
        self.last_seen_at = max(known, default=None)


def users(*, q: str = "", state: str = "") -> QuerySet[User]:
    """By name; `state` is `active` or `deactivated`, or empty for both."""
    found = User.objects.order_by("username")
    if q:
        found = found.filter(Q(username__icontains=q) | Q(membership__project__name__icontains=q))
    if state:
        found = found.filter(is_active=state == "active")
    return found.distinct()


def described(users: Iterable[User]) -> list[Person]:
    """These users with what they have, in the same order, in a fixed number of queries."""
    found = {user.pk: Person(user=user, last_seen_at=user.last_login) for user in users}
    now = timezone.now()
    sessions = BrowserSession.objects.filter(user__in=found, expire_date__gt=now)
    for pk, count, seen in _by(sessions.values("user"), Max("seen_at")):
        found[pk].sessions = count
        found[pk].note_seen(seen)
    living = Count("pk", filter=Q(revoked_at=None, expires_at__gt=now))
    tokens = ApiToken.objects.filter(user__in=found).order_by().values("user")
    for row in tokens.annotate(n=living, seen=Max("last_used_at")):
        found[row["user"]].tokens = row["n"]
        found[row["user"]].note_seen(row["seen"])
    unfinished = Run.objects.filter(owner__in=found).exclude(state__in=ENDED).order_by()
    counted = unfinished.values("owner", "state").annotate(n=Count("pk"))
    for owner, state, count in counted.values_list("owner", "state", "n"):
        if state in CLAIMED:
            found[owner].running += count
        else:
            found[owner].waiting += count
    members: dict[int, list[Membership]] = defaultdict(list)
    rows = Membership.objects.filter(user__in=found).select_related("project")
    for membership in rows.order_by("project__name"):
        members[membership.user_id].append(membership)
    for pk, theirs in members.items():
        found[pk].memberships = theirs
    return list(found.values())


def _by(rows: QuerySet, seen: Max) -> Sequence[tuple[int, int, datetime | None]]:
    return rows.order_by().annotate(n=Count("pk"), seen=seen).values_list("user", "n", "seen")


# --- what is decided about them -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a deactivation ended, and the runs that it left as they are."""

    sessions: int
    tokens: int
    runs: int


@transaction.atomic
def person_deactivate(*, user: User, by: User) -> Ended:
    """They can enter no more, by no way. What they made stays, also their runs that wait.

    Sessions, tokens, links for a new password and the invitations that they made end for good.

    Raises:
        VadError: `not-allowed`; `last-admin`, nobody would be left to administer the server.
    """
    require_server_admin(by)
    _keep_an_admin(user)
    now = timezone.now()
    if not User.objects.filter(pk=user.pk, is_active=True).update(is_active=False):
        return Ended(sessions=0, tokens=0, runs=0)
    sessions, _ = BrowserSession.objects.filter(user=user).delete()
    tokens = ApiToken.objects.filter(user=user, revoked_at=None, expires_at__gt=now)
    revoked = tokens.update(revoked_at=now)
    Invitation.objects.filter(created_by=user, revoked_at=None).update(revoked_at=now)
    passwords.links_end(user, now)
    runs = Run.objects.filter(owner=user).exclude(state__in=ENDED).count()
    audit.record(
        "person-deactivated", by=by, subject=user.username, sessions_ended=sessions,
        tokens_revoked=revoked, runs_left=runs,
    )  # fmt: skip
    return Ended(sessions=sessions, tokens=revoked, runs=runs)


@transaction.atomic
def person_reactivate(*, user: User, by: User) -> None:
    """They may sign in again, with the password that they had; their tokens stay revoked."""
    require_server_admin(by)
    if User.objects.filter(pk=user.pk, is_active=False).update(is_active=True):
        audit.record("person-reactivated", by=by, subject=user.username)


@transaction.atomic
def person_set_admin(*, user: User, admin: bool, by: User) -> None:
    """Let a person administer the server, or not any more.

    Raises:
        VadError: `not-allowed`, also for a person who is deactivated; `last-admin`.
    """
    require_server_admin(by)
    if not admin:
        _keep_an_admin(user)
    changed = User.objects.filter(pk=user.pk, is_superuser=not admin)
    if admin and not User.objects.filter(pk=user.pk, is_active=True).exists():
        raise VadError("not-allowed", f"{user} is deactivated.", "Reactivate them first.")
    if changed.update(is_superuser=admin, is_staff=admin):
        kind = "server-admin-made" if admin else "server-admin-ended"
        audit.record(kind, by=by, subject=user.username)


def _keep_an_admin(leaving: User) -> None:
    """Locks all admins, so that two of them cannot both be the last to go."""
    active = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")
    admins = {user.pk for user in active.select_for_update()}
    if admins == {leaving.pk}:
        raise VadError(
            "last-admin",
            f"{leaving} is the last active admin of the server.",
            "Make another person an admin of the server first.",
        )
