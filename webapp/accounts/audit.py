"""The audit log: who did what to whom, when and from where.

Services write it, and they know no request: where it comes from is set by the middleware for the
time of a request (`origin`), and is nothing on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from webapp.accounts.models import AuditEvent, Project, User

KINDS: dict[str, str] = {  # kind: what it says on a page
    "sign-in": "signed in",
    "sign-in-failed": "failed to sign in",
    "sign-in-locked": "was locked out",
    "sign-out": "signed out",
    "sign-up": "signed up",
    "password-changed": "changed the password",
    "password-asked": "asked for a link to a new password",
    "password-link-created": "made a link to a new password",
    "password-reset": "set a new password by a link",
    "recovery-mail-changed": "changed the mail for a forgotten password",
    "session-ended": "ended a session",
    "token-created": "created a token",
    "token-revoked": "revoked a token",
    "person-deactivated": "deactivated a person",
    "person-reactivated": "reactivated a person",
    "server-admin-made": "made an admin of the server",
    "server-admin-ended": "ended an admin of the server",
    "project-created": "created the project",
    "project-renamed": "renamed the project",
    "project-deleted": "deleted a project",
    "invitation-created": "made an invitation",
    "invitation-revoked": "revoked an invitation",
    "member-joined": "joined",
    "role-changed": "changed a role",
    "member-removed": "removed a member",
    "member-left": "left",
    "runs-deleted": "deleted runs",
    "channel-created": "made a channel of notifications",
    "channel-deleted": "deleted a channel of notifications",
    "retention-changed": "changed which checkpoints are kept",
    "leftovers-removed": "removed files that nothing needs",
    "report-deleted": "deleted a report",
    "report-shared": "made a link to a report",
    "report-unshared": "revoked a link to a report",
}

# What a person does to their own account. An admin of a project reads it of its members; other
# events without a project are of the server, or of a project that was deleted.
OF_ONESELF = (
    "sign-in", "sign-in-failed", "sign-in-locked", "sign-out", "sign-up", "password-changed",
    "password-reset", "recovery-mail-changed", "session-ended", "token-created", "token-revoked",
)  # fmt: skip

_address: ContextVar[str | None] = ContextVar("address", default=None)


@contextmanager
def origin(address: str | None) -> Iterator[None]:
    """For the time of a request, what is recorded comes from this address."""
    before = _address.set(address)
    try:
        yield
    finally:
        _address.reset(before)


def address() -> str | None:
    """The address of the request that is being answered."""
    return _address.get()


def record(
    kind: str,
    *,
    by: User | None,
    project: Project | None = None,
    subject: str = "",
    **detail: Any,
) -> None:
    """Add an event. Nothing secret goes in: no password, no token, no link, no typed name.

    Args:
        by: None where nobody is known, as when signing in fails for a name that does not exist.
        project: its admins see the event; one without a project is seen by superusers.
        subject: whom or what it was done to, by name.
        detail: facts that JSON can hold.
    """
    if kind not in KINDS:
        raise KeyError(f"{kind!r} is no kind of audit event")
    AuditEvent.objects.create(
        kind=kind,
        by=by,
        by_name=by.username if by else "",
        project=project,
        subject=subject[:200],
        detail=detail,
        address=address(),
        via=by.token.prefix if by and by.token else "",
    )
