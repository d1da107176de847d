"""What the API says and takes of people, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required, TypedDict

from msgspec import Meta

from webapp.accounts import invitations, tokens
from webapp.core.openapi import Time

RoleName = Literal["viewer", "member", "admin"]


class TokenJson(TypedDict):
    id: int
    name: str
    prefix: str
    scope: str
    project: str | None
    created_at: Time
    expires_at: Time
    last_used_at: Time | None
    problem: str | None


class MadeTokenJson(TokenJson):
    """`token` is its text, in this answer and nowhere else."""

    token: str


class MineJson(TypedDict):
    slug: str
    name: str
    role: str


class MeJson(TypedDict):
    username: str
    projects: list[MineJson]
    token: TokenJson | None


class ProjectJson(TypedDict):
    slug: str
    name: str
    created_at: Time


class MemberJson(TypedDict):
    username: str
    role: str


class ProjectDetailJson(ProjectJson):
    members: list[MemberJson]


class InvitationJson(TypedDict):
    id: int
    note: str
    role: str
    uses: int
    max_uses: int
    created_by: str
    created_at: Time
    expires_at: Time
    problem: str | None


class MadeInvitationJson(InvitationJson):
    """`link` is in this answer and nowhere else."""

    link: str


class AuditEventJson(TypedDict):
    at: Time
    kind: str
    by: str | None
    subject: str
    detail: dict[str, Any]
    address: str | None
    token: str | None
    said: str


# --- bodies ---------------------------------------------------------------------------------


class NewToken(TypedDict, total=False):
    name: Required[Annotated[str, Meta(min_length=1, max_length=80)]]
    scope: Literal["read", "write"]
    project: str
    days: Annotated[int, Meta(ge=1, le=tokens.MOST_DAYS)]


class ProjectName(TypedDict):
    name: Annotated[str, Meta(min_length=1, max_length=80)]


class MemberRole(TypedDict):
    role: RoleName


class NewInvitation(TypedDict, total=False):
    role: RoleName
    days: Annotated[int, Meta(ge=1, le=invitations.MOST_DAYS)]
    max_uses: Annotated[int, Meta(ge=1, le=invitations.MOST_USES)]
    note: Annotated[str, Meta(max_length=80)]


# --- people of the server -------------------------------------------------------------------


class PersonJson(TypedDict):
    """`sessions` and `tokens` that are alive; runs that are `running`, or `waiting` to begin."""

    username: str
    active: bool
    admin: bool
    joined_at: Time
    last_seen_at: Time | None
    projects: list[MineJson]
    sessions: int
    tokens: int
    running: int
    waiting: int


class PasswordLinkJson(TypedDict):
    """`link` is in this answer and nowhere else."""

    link: str
    expires_at: Time


class PersonChange(TypedDict, total=False):
    active: bool
    admin: bool
