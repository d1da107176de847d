"""Links by which people without an account read one report, and nothing else."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import audit, guard
from webapp.accounts.models import User
from webapp.accounts.permissions import require_editor
from webapp.accounts.tokens import digest_of
from webapp.core.api import storable
from webapp.reports import queries
from webapp.reports.models import Report, Revision, ShareLink

MOST_DAYS = 365
MOST_LINKS = 100  # of a report, that work
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128


@transaction.atomic
def link_create(
    *,
    report: Report,
    by: User,
    days: int = 14,
    note: str = "",
    password: str = "",
    revision: int | None = None,
    now: datetime | None = None,
) -> tuple[ShareLink, str]:
    """A link and its secret, which is known here and never again.

    Args:
        revision: what it shows for good; None follows the report.

    Raises:
        ConfigError: a field is wrong.
        VadError: `not-allowed`; `not-found`, there is no such revision.
    """
    require_editor(by, report.project)
    note = " ".join(note.split())
    wrong = {}
    if not 1 <= days <= MOST_DAYS:
        wrong["days"] = f"{days} is not from 1 to {MOST_DAYS}"
    if len(note) > 80 or not storable(note):
        wrong["note"] = f"has {len(note)} characters, 80 at most"
    if password and not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        wrong["password"] = f"has {len(password)} characters, needs {SHORTEST_PASSWORD} to "
        wrong["password"] += f"{LONGEST_PASSWORD}, or none"
    now = now or timezone.now()
    alive = report.links.filter(revoked_at=None, expires_at__gt=now)
    if not wrong and alive.count() >= MOST_LINKS:
        wrong["report"] = f"has {MOST_LINKS} links that work; revoke some"
    if wrong:
        raise ConfigError(wrong, what="The link")
    shown = queries.revision_of(report, revision) if revision is not None else None
    secret = secrets.token_urlsafe(32)
    link = ShareLink.objects.create(
        report=report,
        revision=shown,
        digest=digest_of(secret),
        note=note,
        password=make_password(password) if password else "",
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
    audit.record(
        "report-shared", by=by, project=report.project, subject=report.title, note=note,
        days=days, with_password=bool(password),
    )  # fmt: skip
    return link, secret


@transaction.atomic
def link_revoke(*, link: ShareLink, by: User) -> None:
    """Nobody reads by it any more. Revoking twice is harmless."""
    require_editor(by, link.report.project)
    alive = ShareLink.objects.filter(pk=link.pk, revoked_at=None)
    if alive.update(revoked_at=timezone.now()):
        audit.record(
            "report-unshared", by=by, project=link.report.project, subject=link.report.title,
            note=link.note,
        )  # fmt: skip


def find(secret: str) -> ShareLink:
    """The link of an address, if it works.

    Raises:
        VadError: `not-found`, there never was one; `share-unusable`.
    """
    rows = ShareLink.objects.select_related("report__project", "revision__report__project")
    link = rows.filter(digest=digest_of(secret)).first()
    if link is None:
        raise VadError(
            "not-found", "There is no such page.", "Check the address: all of it is needed."
        )
    if link.problem:
        said = {"revoked": "was taken back", "expired": "has expired"}[link.problem]
        raise VadError(
            "share-unusable", f"This link {said}.", "Ask whoever sent it to you for a new one."
        )
    return link


def revision_of(link: ShareLink) -> Revision:
    return link.revision or queries.revision_of(link.report)


def password_check(*, link: ShareLink, password: str) -> bool:
    """Whether it is the link's password. Failing locks, as signing in does.

    Raises:
        guard.Locked: too many tries at this link or from this address.
    """
    # no person's name has a space, so no account is locked with a link
    tried = guard.begin(username=f"share link {link.pk}", address=audit.address())
    if not check_password(password[:LONGEST_PASSWORD], link.password):
        return False
    guard.succeeded(tried)
    return True


def view_count(*, link: ShareLink) -> None:
    """The page was shown once more."""
    ShareLink.objects.filter(pk=link.pk).update(views=F("views") + 1, viewed_at=timezone.now())
