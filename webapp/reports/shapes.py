"""What the API says and takes of reports, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.compare.selection import MOST_RUNS
from webapp.core.openapi import Time
from webapp.reports import blocks, queries, services, sharing
from webapp.reports.recheck import State

Title = Annotated[str, Meta(max_length=services.MOST_TITLE)]
Note = Annotated[str, Meta(max_length=services.MOST_NOTE)]
RevisionNumber = Annotated[int, Meta(ge=1, le=queries.MOST_NUMBER)]
BlockId = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
Ids = Annotated[list[UUID], Meta(max_length=blocks.MOST_IDS)]


class Block(TypedDict, total=False):
    """A text, or a panel with the fields of its kind (docs/reports.md) and no others.

    `frozen` is the digest of what a panel showed, `now` to freeze it with this save, or nothing.
    """

    id: BlockId
    kind: Required[Annotated[str, Meta(extra_json_schema={"enum": [blocks.TEXT, *blocks.KINDS]})]]
    text: Annotated[str, Meta(max_length=blocks.MOST_TEXT)]
    caption: Annotated[str, Meta(max_length=blocks.MOST_CAPTION)]
    frozen: Annotated[str, Meta(pattern="^([0-9a-f]{64}|now)?$")]
    evaluations: Ids
    runs: Ids
    video: Annotated[str, Meta(max_length=blocks.LENGTHS["video"])]
    frame: Annotated[int, Meta(ge=0, le=blocks.MOST_FRAME)]
    key: Annotated[str, Meta(max_length=blocks.LENGTHS["key"])]
    q: Annotated[str, Meta(max_length=blocks.LENGTHS["q"])]
    sort: Annotated[str, Meta(max_length=blocks.LENGTHS["sort"])]
    cols: Annotated[str, Meta(max_length=blocks.LENGTHS["cols"])]


class ReportJson(TypedDict):
    """A report, as a list shows it."""

    id: UUID
    title: str
    owner: str
    created_at: Time
    changed_at: Time


class RevisionJson(TypedDict):
    """`note` says what was changed."""

    number: int
    title: str
    note: str
    by: str
    at: Time


class PanelColumnJson(TypedDict):
    title: str
    num: bool
    help: str


class PanelNumberJson(TypedDict):
    """With its interval, or its sample deviation over n runs."""

    value: float
    digits: int
    low: NotRequired[float]
    high: NotRequired[float]
    deviation: NotRequired[float]
    n: NotRequired[int | None]
    best: NotRequired[bool]


class PanelTableJson(TypedDict):
    """With `facts`, names and their values."""

    title: str
    columns: list[PanelColumnJson]
    rows: list[list[str | PanelNumberJson | None]]
    facts: NotRequired[bool]


class PanelPictureJson(TypedDict):
    """`src` is a data address; `problem` says why there is no frame."""

    src: str
    width: int
    height: int
    problem: str
    alt: str


class PanelMapJson(TypedDict):
    """What the colours of the picture stand for, row by row."""

    rows: int
    columns: int
    scores: list[float | None]


class PanelCommandJson(TypedDict):
    title: str
    text: str
    command: str


class PanelSourceJson(TypedDict):
    """What a panel was made of; the digest is empty where there is none."""

    what: str
    name: str
    id: UUID
    sha256: str


class PanelJson(TypedDict, total=False):
    """What a panel shows, since `frozen_at` if it is frozen; or `error` alone, why it cannot."""

    title: str
    note: str
    figures: list[dict[str, Any]]
    tables: list[PanelTableJson]
    picture: PanelPictureJson | None
    map: PanelMapJson | None
    commands: list[PanelCommandJson]
    sources: list[PanelSourceJson]
    frozen_at: Time | None
    error: dict[str, Any]


class ReportDetailJson(ReportJson):
    """What a report says in a revision. `panels` by the ids of their blocks, if asked for."""

    project: str
    revision: RevisionJson
    blocks: list[Block]
    panels: NotRequired[dict[str, PanelJson]]


class RecheckedJson(TypedDict):
    """A frozen panel made once more: `now_sha256` is null where that is not possible."""

    block: str
    title: str
    state: State
    sha256: str
    now_sha256: str | None
    differences: list[str]


class RecheckJson(TypedDict):
    revision: int
    summary: dict[State, int]
    panels: list[RecheckedJson]


class ReportCommentJson(TypedDict):
    id: int
    block: str
    text: str
    by: str
    at: Time


class ReportLinkJson(TypedDict):
    """`revision` is null where the newest one is shown, `password` whether one is asked for.

    `problem` says why it no longer works: `revoked` or `expired`.
    """

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


class MadeReportLinkJson(ReportLinkJson):
    """`link` is in this answer and nowhere else."""

    link: str


# --- bodies ---------------------------------------------------------------------------------

Blocks = Annotated[list[Block], Meta(max_length=blocks.MOST_BLOCKS)]


class NewReport(TypedDict, total=False):
    """With `blocks`, or ready-made of an `evaluation` or of `runs`, which give a title, too."""

    title: Title
    project: str
    blocks: Blocks
    evaluation: UUID
    runs: Annotated[list[UUID], Meta(max_length=MOST_RUNS)]


class ReportChange(TypedDict, total=False):
    """What is named changes; the rest stays. `base` is the revision that was changed."""

    title: Title
    blocks: Blocks
    note: Note
    base: RevisionNumber


class Freezing(TypedDict, total=False):
    freeze: Annotated[Literal["yes", "no"], Meta(description="no: all panels live again")]


class NewReportComment(TypedDict):
    """`block` is a panel of the newest revision."""

    block: BlockId
    text: Annotated[str, Meta(min_length=1, max_length=services.MOST_COMMENT)]


class NewReportLink(TypedDict, total=False):
    """`revision` is shown for good; without it the newest one is."""

    days: Annotated[int, Meta(ge=1, le=sharing.MOST_DAYS)]
    note: Annotated[str, Meta(max_length=80)]
    password: Annotated[
        str, Meta(min_length=sharing.SHORTEST_PASSWORD, max_length=sharing.LONGEST_PASSWORD)
    ]
    revision: RevisionNumber | None
