"""Invitations by link: who opens one signs up, or joins when they are signed in."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import audit, services
from webapp.accounts.models import Invitation, Membership, Project, Role, User
from webapp.accounts.permissions import require_admin
from webapp.accounts.tokens import digest_of

MOST_DAYS, MOST_USES = 30, 100
KEPT = timedelta(days=90)  # a dead one still says why, and whom it let in


@transaction.atomic
def invitation_create(
    *,
    project: Project,
    by: User,
    role: str = Role.MEMBER,
    days: int = 7,
    max_uses: int = 1,
    note: str = "",
    now: datetime | None = None,
) -> tuple[Invitation, str]:
    """An invitation and the secret of its link, which is known here and never again.

    Raises:
        ConfigError: a field is wrong.
        VadError: `not-allowed`.
    """
    require_admin(by, project)
    note = " ".join(note.split())
    wrong = {}
    if role not in Role.values:
        wrong["role"] = f"{role[:40]!r} is none of {', '.join(Role.values)}"
    if not 1 <= days <= MOST_DAYS:
        wrong["days"] = f"{days} is not from 1 to {MOST_DAYS}"
    if not 1 <= max_uses <= MOST_USES:
        wrong["max_uses"] = f"{max_uses} is not from 1 to {MOST_USES}"
    if len(note) > 80:
        wrong["note"] = f"has {len(note)} characters, 80 at most"
    if wrong:
        raise ConfigError(wrong, what="The invitation")
    secret = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        project=project,
        digest=digest_of(secret),
        note=note,
        role=role,
        max_uses=max_uses,
        created_by=by,
        expires_at=(now or timezone.now()) + timedelta(days=days),
    )
    audit.record(
        "invitation-created", by=by, project=project, subject=note, role=role, days=days,
        max_uses=max_uses,
    )  # fmt: skip
    return invitation, secret


@transaction.atomic
def invitation_revoke(*, invitation: Invitation, by: User) -> None:
    """Nobody enters by it any more. Revoking twice is harmless."""
    require_admin(by, invitation.project)
    alive = Invitation.objects.filter(pk=invitation.pk, revoked_at=None)
    if alive.update(revoked_at=timezone.now()):
        audit.record(
            "invitation-revoked", by=by, project=invitation.project, subject=invitation.note,
            role=invitation.role,
        )  # fmt: skip


def forget(now: datetime | None = None) -> int:
    """Delete invitations that expired long ago; how many."""
    gone, _ = Invitation.objects.filter(expires_at__lt=(now or timezone.now()) - KEPT).delete()
    return gone


def find(secret: str) -> Invitation | None:
    """The invitation of a link, whether or not it still works."""
    found = Invitation.objects.select_related("project", "created_by")
    return found.filter(digest=digest_of(secret)).first()


@transaction.atomic
def invitation_join(*, invitation: Invitation, by: User) -> Membership:
    """A person who has an account joins. Who is a member already uses nothing up.

    Raises:
        VadError: `invitation-unusable`.
    """
    membership = Membership.objects.filter(project=invitation.project, user=by).first()
    if membership is not None:
        return membership
    _use(invitation)
    return _enter(invitation, by)


@transaction.atomic
def invitation_sign_up(*, invitation: Invitation, username: str, password: str) -> User:
    """A new person in the project; the invitation is used only if the account is made.

    Raises:
        ConfigError: the name or the password is not by the rules.
        VadError: `invitation-unusable`.
    """
    _use(invitation)
    user = services.user_create(username=username, password=password)
    audit.record("sign-up", by=user, project=invitation.project, subject=user.username)
    _enter(invitation, user)
    return user


def _enter(invitation: Invitation, user: User) -> Membership:
    membership = Membership.objects.create(
        project=invitation.project, user=user, role=invitation.role
    )
    audit.record(
        "member-joined", by=user, project=invitation.project, subject=user.username,
        role=invitation.role, invited_by=invitation.created_by.username,
    )  # fmt: skip
    return membership


def _use(invitation: Invitation) -> None:
    """Take one of its uses, by one guarded update: of two who come for the last, one gets it."""
    usable = Invitation.objects.filter(
        pk=invitation.pk, revoked_at=None, expires_at__gt=timezone.now(), uses__lt=F("max_uses")
    )
    if not usable.update(uses=F("uses") + 1):
        raise unusable(Invitation.objects.get(pk=invitation.pk).problem)


def unusable(why: str) -> VadError:
    """Why a link leads nowhere; the same for one that never existed as for one long gone."""
    said = {
        "expired": "This invitation has expired.",
        "used": "This invitation has been used.",
        "revoked": "This invitation was taken back.",
    }.get(why, "There is no such invitation.")
    return VadError("invitation-unusable", said, "Ask whoever sent it to you for a new link.")
