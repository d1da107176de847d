"""What the API says and takes of runs, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from vad.configs import CONFIGS, TRAININGS
from webapp.core.openapi import Time
from webapp.runs.bookmarks import MOST_QUERY
from webapp.runs.bookmarks import NAME_LENGTH as VIEW_NAME
from webapp.runs.resources import LEAST_TIME_S, MOST_GPUS, MOST_MEMORY_MB, MOST_TIME_S
from webapp.runs.services import MAX_TAGS, NAME_LENGTH, NOTES_LENGTH, TAG_LENGTH

Name = Annotated[str, Meta(max_length=NAME_LENGTH)]
Tags = Annotated[list[Annotated[str, Meta(max_length=TAG_LENGTH)]], Meta(max_length=MAX_TAGS)]
Notes = Annotated[str, Meta(max_length=NOTES_LENGTH)]
Priority = Annotated[int, Meta(ge=-100, le=100)]
Gpus = Annotated[int, Meta(ge=1, le=MOST_GPUS)]
MemoryMb = Annotated[int, Meta(ge=1, le=MOST_MEMORY_MB)]
TimeLimit = Annotated[int, Meta(ge=LEAST_TIME_S, le=MOST_TIME_S)]
ViewText = Annotated[str, Meta(min_length=1, max_length=VIEW_NAME)]
Config = Annotated[
    dict[str, Any],
    Meta(description="Fields of the kind's configuration (`configs/KIND/`); others keep defaults."),
]


class RunJson(TypedDict):
    """A run, as a list shows it."""

    id: UUID
    name: str
    kind: str
    state: str
    project: str
    owner: str
    tags: list[str]
    color: int
    dataset: str | None
    version: UUID | None
    feature_set: UUID | None
    of_run: UUID | None
    priority: int
    device: str
    gpus: int
    memory_mb: int | None
    time_limit_s: int | None
    spent_s: float
    not_before: Time | None
    attempt: int
    max_attempts: int
    worker: str | None
    slot: str
    stop: str
    done: int
    total: int
    unit: str
    percent: float
    rate: float | None
    eta_s: float | None
    note: str
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    changed_at: Time
    error: dict[str, Any] | None
    values: NotRequired[dict[str, Any]]


class StartJson(TypedDict):
    """When a waiting run should start, and from how many finished runs that is known."""

    at: Time
    from_runs: int


class RunDetailJson(RunJson):
    """All of a run. `commands` do it again; `why` it waits and when it `starts`."""

    gpu_hours: float
    notes: str
    config: dict[str, Any]
    environment: dict[str, Any]
    result: dict[str, Any]
    cloned_from: UUID | None
    parents: list[UUID]
    children: list[UUID]
    why: NotRequired[str]
    commands: NotRequired[dict[str, str]]
    starts: NotRequired[StartJson | None]


class SpreadJson(TypedDict):
    mean: float
    deviation: float | None
    n: int


class GroupJson(TypedDict):
    """Runs that share a value: mean, sample deviation and n of what they reach."""

    key: str
    title: str
    runs: int
    active: int
    seeds: int | None
    auc: SpreadJson | None
    ap: SpreadJson | None
    filter: str
    ids: list[UUID]


class ViewJson(TypedDict):
    id: int
    name: str
    query: str
    created_by: str | None
    created_at: Time


class RunsJson(TypedDict):
    runs: list[RunJson]


class SeriesJson(TypedDict):
    """Points of a metric; a value that is not finite is null."""

    steps: list[int]
    values: list[float | None]
    total: int
    thinned: bool


class SummaryJson(TypedDict):
    count: int
    last: float | None
    last_step: int
    least: float | None
    least_step: int | None
    greatest: float | None
    greatest_step: int | None


class MetricsJson(TypedDict):
    keys: list[str]
    series: dict[str, SeriesJson]
    summaries: dict[str, SummaryJson]


class LogJson(TypedDict):
    text: str
    offset: int
    size: int
    live: bool


class LineJson(TypedDict):
    number: int
    level: str
    hit: int | None
    text: str


class PassageJson(TypedDict):
    file: str
    lines: list[LineJson]


class SearchJson(TypedDict):
    """A page of a log search; a line that is a hit has its number among them."""

    hits: int
    more: bool
    first: int
    last: int
    passages: list[PassageJson]


class NodeJson(TypedDict):
    id: str
    kind: str
    word: str
    title: str
    numbers: str
    state: str | None
    url: str
    here: bool


EdgeJson = TypedDict("EdgeJson", {"from": str, "to": str, "kind": str})


class LineageJson(TypedDict):
    nodes: list[NodeJson]
    edges: list[EdgeJson]


class RunEventJson(TypedDict):
    at: Time
    kind: str
    message: str
    by: str | None
    attempt: int


class CheckpointJson(TypedDict):
    """`file` is where it can be fetched; null when the rule let it go, or it is missing.

    `why` says for what it stays.
    """

    step: int
    path: str
    sha256: str
    size_bytes: int
    best: bool
    metrics: dict[str, Any]
    created_at: Time
    removed_at: Time | None
    why: list[str]
    file: str | None


class BagJson(TypedDict):
    step: int
    top: int
    chosen: list[int]
    scores: list[float]
    abnormal: list[float]
    normal: list[float]
    carried: list[float]


class BagsJson(TypedDict):
    video: str
    label: int
    steps: list[int]
    videos: list[str]
    bags: list[BagJson]


class KindJson(TypedDict):
    kind: str
    title: str


# --- bodies ---------------------------------------------------------------------------------


class NewRun(TypedDict, total=False):
    kind: Required[Annotated[str, Meta(extra_json_schema={"enum": list(CONFIGS)})]]
    config: Config
    name: Name
    notes: Notes
    tags: Tags
    priority: Priority
    project: str
    version: UUID | None
    feature_set: UUID | None
    of_run: UUID | None
    gpus: Gpus
    memory_mb: MemoryMb | None
    time_limit_s: TimeLimit | None


class NewPipeline(TypedDict, total=False):
    """Features and proxies if they have to be made, trainings, evaluations; all or none."""

    kind: Annotated[str, Meta(extra_json_schema={"enum": list(TRAININGS)})]
    train: Config
    stage2: Annotated[Config | None, Meta(description="both stages, starts from `train`'s weights")]
    evaluate: Annotated[Config | None, Meta(description="null for no evaluations")]
    extract: Config | None
    proxies: Config | None
    seeds: list[int]
    name: Name
    tags: Tags
    project: str
    priority: Priority
    version: UUID | None
    feature_set: UUID | None
    gpus: Gpus
    memory_mb: MemoryMb | None
    time_limit_s: TimeLimit | None


class RunChange(TypedDict, total=False):
    """What is named changes; the rest stays."""

    name: Name
    notes: Notes
    tags: Tags
    priority: Priority
    gpus: Gpus
    memory_mb: MemoryMb | None
    time_limit_s: TimeLimit | None


class RunStep(TypedDict, total=False):
    """`config` and `name` of a clone, `to` of a move; nothing for the other steps."""

    config: Config
    name: Name
    to: Literal["up", "down", "top"]


class ViewName(TypedDict):
    name: ViewText


class NewView(TypedDict, total=False):
    name: Required[ViewText]
    query: Annotated[
        str, Meta(max_length=MOST_QUERY, description="what follows the `?` of the table")
    ]
    project: str
