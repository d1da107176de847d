"""What the API says and takes of reports, as types."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time


class ReportJson(TypedDict):
    id: UUID
    title: str
    owner: str
    created_at: Time
    changed_at: Time


class RevisionJson(TypedDict):
    number: int
    title: str
    note: str
    by: str
    at: Time


class WholeReportJson(ReportJson):
    """A revision; `panels` holds what its panels show, where they were asked for."""

    project: str
    revision: RevisionJson
    blocks: list[dict[str, Any]]
    panels: NotRequired[dict[str, dict[str, Any]]]


class RecheckedJson(TypedDict):
    block: str
    title: str
    state: str
    sha256: str
    now_sha256: str | None
    differences: list[Any]


class RecheckJson(TypedDict):
    revision: int
    summary: dict[str, int]
    panels: list[RecheckedJson]


class CommentJson(TypedDict):
    id: int
    block: str
    text: str
    by: str
    at: Time


class LinkJson(TypedDict):
    """`link` is in the answer to the POST and nowhere else."""

    id: int
    note: str
    revision: int | None
    password: bool
    created_by: str
    created_at: Time
    expires_at: Time
    problem: str | None
    views: int
    viewed_at: Time | None
    link: NotRequired[str]


class NewReport(TypedDict, total=False):
    """Of `blocks`, or ready-made of an `evaluation` or of compared `runs`."""

    title: str
    blocks: list[dict[str, Any]]
    project: str
    evaluation: UUID
    runs: list[UUID]


class NewRevision(TypedDict, total=False):
    """`base` is the revision that this one changes: 409 when there is a newer one."""

    title: str
    blocks: list[dict[str, Any]]
    note: str
    base: int


class Freezing(TypedDict, total=False):
    """`no` makes all panels live again."""

    freeze: str


class NewComment(TypedDict, total=False):
    block: str
    text: Required[str]


class NewLink(TypedDict, total=False):
    """Without `revision` the newest one is shown."""

    days: Annotated[int, Meta(ge=1)]
    note: str
    password: str
    revision: int
