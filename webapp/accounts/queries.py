"""What the settings pages read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When
from django.shortcuts import get_object_or_404
from django.utils import timezone

from webapp.accounts import access, audit, sessions
from webapp.accounts.models import (
    ApiToken,
    AuditEvent,
    BrowserSession,
    Invitation,
    Membership,
    Project,
    Role,
    User,
)
from webapp.accounts.permissions import require_admin

SHOWN_DEAD = 20  # links and tokens that work no more
AUDIT_PAGE = 50


@dataclass(frozen=True, kw_only=True)
class SessionRow:
    handle: str
    device: str
    agent: str
    address: str | None
    signed_in_at: datetime | None
    seen_at: datetime
    is_this: bool


def session_rows(user: User, current: str | None) -> list[SessionRow]:
    """The person's living sessions, this one first, then the last seen."""
    living = BrowserSession.objects.filter(user=user, expire_date__gt=timezone.now())
    rows = [
        SessionRow(
            handle=row.handle,
            device=sessions.device(row.agent),
            agent=row.agent,
            address=row.address,
            signed_in_at=row.signed_in_at,
            seen_at=row.seen_at,
            is_this=row.session_key == current,
        )
        for row in living.order_by("-seen_at")
    ]
    return sorted(rows, key=lambda row: not row.is_this)


def confirmed_addresses(user: User) -> list[str]:
    """Addresses of the person's own at which they have shown that they read mail; and the chosen
    one, whatever became of its channel."""
    from webapp.notify.models import Channel, Kind  # it is built on the models of this app

    own = Channel.objects.filter(user=user.pk, kind=Kind.MAIL, confirmed_at__isnull=False)
    found = dict.fromkeys(own.order_by("pk").values_list("target", flat=True))
    return list(found | ({user.email: None} if user.email else {}))


def tokens(user: User) -> list[ApiToken]:
    """The person's tokens: the living ones, then the last that died."""
    every = ApiToken.objects.filter(user=user).select_related("project").order_by("-pk")
    return _living_first(every)


def invitations(project: Project) -> list[Invitation]:
    """The links into a project: the living ones, then the last that died."""
    every = Invitation.objects.filter(project=project).select_related("created_by")
    return _living_first(every.order_by("-pk"))


def _living_first(rows: QuerySet[Any]) -> list[Any]:
    found = list(rows[:500])
    return [r for r in found if not r.problem] + [r for r in found if r.problem][:SHOWN_DEAD]


_BY_RIGHTS = Case(
    When(role=Role.ADMIN, then=Value(0)),
    When(role=Role.MEMBER, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)


def members(project: Project) -> QuerySet[Membership]:
    """The people of a project, admins first."""
    rows = Membership.objects.filter(project=project).select_related("user")
    return rows.order_by(_BY_RIGHTS, "user__username")


@dataclass(frozen=True, kw_only=True)
class ProjectRow:
    project: Project
    role: str  # "" for a superuser who is no member
    members: int


def project_rows(user: User) -> list[ProjectRow]:
    """All projects that the person may choose from."""
    roles = dict(Membership.objects.filter(user=user).values_list("project", "role"))
    found = access.projects(user).annotate(num_members=Count("membership")).order_by("name")
    return [
        ProjectRow(
            project=project,
            role=str(Role(roles[project.pk]).label) if project.pk in roles else "",
            members=project.num_members,
        )
        for project in found
    ]


# --- the audit log --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AuditFilters:
    kind: str = ""
    q: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> AuditFilters:
        return cls(kind=given.get("kind", ""), q=given.get("q", "").strip()[:150])

    @property
    def active(self) -> bool:
        return bool(self.kind or self.q)


def audit_events(project: Project, filters: AuditFilters, *, by: User) -> QuerySet[AuditEvent]:
    """Events of a project and what its people did outside of any, the newest first.

    A superuser also sees all that belongs to no project: failed tries with names that do not exist,
    what was done to people, and projects that were deleted.
    """
    people = Membership.objects.filter(project=project).values("user")
    theirs = Q(project=project) | Q(project=None, by__in=people, kind__in=audit.OF_ONESELF)
    if by.is_superuser:
        theirs |= Q(project=None)
    found = AuditEvent.objects.filter(theirs)
    if filters.kind:
        found = found.filter(kind=filters.kind)
    if filters.q:
        said = (
            Q(by_name__icontains=filters.q)
            | Q(subject__icontains=filters.q)
            | Q(address__startswith=filters.q)
            | Q(via__startswith=filters.q)
        )
        found = found.filter(said)
    return found.order_by("-at", "-id")


def audit_detail(event: AuditEvent) -> str:
    """The facts of an event, short."""
    d = event.detail
    match event.kind:
        case "role-changed":
            return f"{d.get('was')} → {d.get('now')}"
        case "member-joined":
            by = f", invited by {d['invited_by']}" if d.get("invited_by") else ""
            return f"as {d.get('role')}{by}"
        case "member-left" | "member-removed":
            return f"was {d.get('role')}"
        case "invitation-created":
            return f"{d.get('role')}, {d.get('days')} d, {d.get('max_uses')} uses at most"
        case "invitation-revoked":
            return str(d.get("role", ""))
        case "token-created":
            return f"{d.get('prefix')}…, {d.get('scope')}, {d.get('days')} d"
        case "token-revoked":
            return f"{d.get('prefix')}…"
        case "project-renamed":
            return f"was {d.get('was')}"
        case "password-changed":
            return f"{d.get('sessions_ended', 0)} other sessions ended"
        case "password-reset":
            return f"{d.get('sessions_ended', 0)} sessions ended"
        case "person-deactivated":
            return (
                f"{d.get('sessions_ended', 0)} sessions ended, {d.get('tokens_revoked', 0)} tokens"
                f" revoked, {d.get('runs_left', 0)} unfinished runs stay"
            )
        case "project-deleted":
            return f"{d.get('runs', 0)} runs, {d.get('datasets', 0)} data sets"
        case "session-ended":
            return f"at {d['its_address']}" if d.get("its_address") else ""
        case "runs-deleted":
            return f"{d.get('count')} runs"
        case "retention-changed":
            return f"the best {d.get('keep_best')}"
        case "leftovers-removed":
            return f"{d.get('count')} files or folders"
        case "sign-in-failed":
            return str(d.get("where", ""))
    return ""


def audit_kinds() -> list[tuple[str, str]]:
    """For the filter: kinds and their words."""
    return [(kind, words.capitalize()) for kind, words in audit.KINDS.items()]


def project_of(user: User, slug: str) -> Project:
    """A project that the person is in. Raises Http404."""
    return get_object_or_404(access.projects(user), slug=slug)


def administered(user: User, slug: str) -> Project:
    """The project, for an admin of it; who may only look is refused, anybody else finds nothing.

    Raises:
        Http404, or VadError: `not-allowed`.
    """
    found = project_of(user, slug)
    require_admin(user, found)
    return found
