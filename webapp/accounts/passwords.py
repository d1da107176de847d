"""Forgotten passwords: one-time links, from an admin of the server or by mail."""

from __future__ import annotations

import secrets
import smtplib
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import audit, guard
from webapp.accounts.models import PasswordLink, User
from webapp.accounts.permissions import require_server_admin
from webapp.accounts.tokens import digest_of

VALID = timedelta(hours=24)  # of an admin's link, which is handed over somehow
VALID_BY_MAIL = timedelta(hours=1)
MOST_WAITING = 3  # links by mail of one person that work at the same time
MOST_ATTEMPTS = 3  # to mail one
AT_ONCE = 20
KEPT = timedelta(days=7)  # a dead link can say why it is dead

log = structlog.get_logger(__name__)


def by_mail() -> bool:
    """Whether the server can mail a link: it has a mail server, and knows its own address."""
    return bool(settings.MAIL_FROM and settings.PUBLIC_URL)


@transaction.atomic
def link_create(
    *, user: User, by: User | None, now: datetime | None = None
) -> tuple[PasswordLink, str]:
    """A link for a person, and its secret, which is known here and never again.

    Earlier links of the person end. `by` is None on the command line alone.

    Raises:
        VadError: `not-allowed`, also for a person who is deactivated.
    """
    if by is not None:
        require_server_admin(by)
    if not user.is_active:
        raise VadError(
            "not-allowed", f"{user} is deactivated.", "Reactivate them first, then make the link."
        )
    now = now or timezone.now()
    links_end(user, now)
    secret = secrets.token_urlsafe(32)
    link = PasswordLink.objects.create(
        user=user, digest=digest_of(secret), created_by=by, expires_at=now + VALID
    )
    audit.record("password-link-created", by=by, subject=user.username)
    return link, secret


def find(secret: str) -> PasswordLink | None:
    """The link, whether or not it still works."""
    return PasswordLink.objects.select_related("user").filter(digest=digest_of(secret)).first()


def password_set(*, link: PasswordLink, new: str) -> User:
    """A new password by a link, which is used up; all sessions of the person end.

    Raises:
        ConfigError: the password is not by the rules; the link goes on working.
        VadError: `password-link-unusable`.
    """
    try:
        validate_password(new, link.user)
    except ValidationError as exc:
        raise ConfigError({"new": " ".join(exc.messages)}, what="The form") from None
    now = timezone.now()
    with transaction.atomic():
        alive = PasswordLink.objects.filter(
            pk=link.pk, used_at=None, revoked_at=None, expires_at__gt=now, user__is_active=True
        )
        if not alive.update(used_at=now):  # of two who use it, one
            link.refresh_from_db()
            raise unusable(link.problem)
        user = User.objects.select_for_update().get(pk=link.user_id)
        user.set_password(new)
        user.save(update_fields=["password"])
        ended, _ = user.sessions.all().delete()
        links_end(user, now)
        guard.forgive(user.username)
        audit.record("password-reset", by=user, subject=user.username, sessions_ended=ended)
    return user


def unusable(why: str) -> VadError:
    """Why a link leads nowhere; the same for one that never existed as for one long gone."""
    said = {
        "expired": "This link has expired.",
        "used": "This link has been used.",
        "revoked": "This link does not work any more.",
    }.get(why, "There is no such link.")
    return VadError(
        "password-link-unusable", said, "Ask for a new one, or ask an admin of the server."
    )


def links_end(user: User, now: datetime) -> None:
    """No link of the person works any more."""
    PasswordLink.objects.filter(user=user, used_at=None, revoked_at=None).update(revoked_at=now)


# --- by mail --------------------------------------------------------------------------------


@transaction.atomic
def mail_ask(*, name: str, address: str | None) -> None:
    """Somebody says that they forgot the password of a name or a mail address.

    The caller learns nothing of whether there is such a person: what is sent is sent later, and
    there is one commit either way, so that it takes as long.

    Raises:
        VadError: `too-many-tries`, whether or not there is such a person.
    """
    name = name.strip()
    guard.asked(name=name, address=address)
    now = timezone.now()
    named = Q(username=User.normalize_username(name)) | Q(email__iexact=name)
    for user in User.objects.filter(named, is_active=True).exclude(email="")[:MOST_WAITING]:
        waiting = PasswordLink.objects.filter(
            user=user, by_mail=True, used_at=None, revoked_at=None, expires_at__gt=now
        )
        if waiting.count() < MOST_WAITING:
            PasswordLink.objects.create(user=user, by_mail=True, expires_at=now + VALID_BY_MAIL)
            audit.record("password-asked", by=None, subject=user.username)


def mail_links() -> int:
    """Send the links that were asked for; how many were sent. Harmless beside others who do."""
    if not by_mail():
        return 0
    sent = 0
    due = PasswordLink.objects.select_related("user").filter(
        by_mail=True, digest=None, used_at=None, revoked_at=None,
        expires_at__gt=timezone.now(), attempts__lt=MOST_ATTEMPTS, user__is_active=True,
    ).exclude(user__email="")  # fmt: skip
    for link in due.order_by("pk")[:AT_ONCE]:
        secret = secrets.token_urlsafe(32)
        mine = PasswordLink.objects.filter(pk=link.pk, digest=None)
        if not mine.update(digest=digest_of(secret), attempts=F("attempts") + 1):
            continue
        try:
            _mail(link.user, secret).send()
        except (OSError, smtplib.SMTPException) as exc:
            PasswordLink.objects.filter(pk=link.pk).update(digest=None)
            log.warning("password.not_mailed", user=link.user.username, cause=type(exc).__name__)
        else:
            sent += 1
    return sent


def _mail(user: User, secret: str) -> EmailMessage:
    link = settings.PUBLIC_URL + reverse("password", args=[secret])
    return EmailMessage(
        subject="[VADLab] A new password",
        body=f"Somebody, probably you, said that the password of {user.username} is forgotten.\n\n"
        f"Set a new one here, within an hour:\n{link}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n",
        from_email=settings.MAIL_FROM,
        to=[user.email],
        headers={"Auto-Submitted": "auto-generated"},
    )


def links_forget(now: datetime | None = None) -> int:
    """Delete links that have been dead for a week; how many."""
    gone, _ = PasswordLink.objects.filter(
        expires_at__lt=(now or timezone.now()) - KEPT
    ).delete()  # fmt: skip
    return gone
