"""What the API says and takes of external runs: mypy and the OpenAPI document read these types."""

from __future__ import annotations

from typing import Annotated, Any, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.external.models import Upload
from webapp.external.points import MOST_KEYS, MOST_POINTS, MOST_STEP, MOST_TIME_MS, Value
from webapp.external.services import (
    ENDS,
    LABEL_TEXT,
    LINE,
    MOST_LABELS,
    MOST_LINES,
    MOST_PARAMS,
    PARAM_TEXT,
)
from webapp.external.uploads import PATH_LENGTH
from webapp.runs.shapes import Name, Notes, RunDetailJson, Tags

Step = Annotated[int, Meta(ge=-MOST_STEP, le=MOST_STEP)]
TimeMs = Annotated[int, Meta(ge=0, le=MOST_TIME_MS, description="milliseconds since 1970, UTC")]
Count = Annotated[int, Meta(ge=0, le=MOST_STEP)]
Params = Annotated[
    dict[str, Any],
    Meta(max_length=MOST_PARAMS, description="texts, numbers, yes and no; nested get dots"),
]
Labels = Annotated[
    dict[str, Annotated[str, Meta(max_length=LABEL_TEXT)]], Meta(max_length=MOST_LABELS)
]


class ExternalRunJson(RunDetailJson):
    """A run, with what logs it, its labels, when it was `heard` and how long it is silent."""

    client: str
    labels: dict[str, str]
    heard_at: Time | None
    silent_s: float | None


class HeardJson(TypedDict):
    """`stop`: somebody stopped the run, and its script should end."""

    state: str
    stop: bool


class StateJson(TypedDict):
    state: str


class HistoryJson(TypedDict):
    """Points of one metric as they were sent; `total` is how many there are."""

    key: str
    total: int
    steps: list[int]
    times: list[int]
    values: list[Value]


class UploadJson(TypedDict):
    """`offset`: bytes received so far; `file`: where it can be fetched, null before it is whole."""

    id: UUID
    run: UUID
    kind: str
    path: str
    step: int | None
    size_bytes: int
    sha256: str
    offset: int
    chunk_bytes: int
    finished_at: Time | None
    file: str | None


# --- bodies ---------------------------------------------------------------------------------


class NewExternalRun(TypedDict, total=False):
    """`client`: what logs it. `id`: asked twice with the same one, it is one run."""

    name: Name
    project: str
    params: Params
    tags: Tags
    labels: Labels
    notes: Notes
    started_at: Time
    environment: Params
    client: str
    id: UUID


class ColumnsJson(TypedDict, total=False):
    """Points of one metric; each list has equally many."""

    steps: Required[Annotated[list[Step], Meta(max_length=MOST_POINTS)]]
    values: Required[Annotated[list[Value], Meta(max_length=MOST_POINTS)]]
    times: Annotated[list[TimeMs], Meta(max_length=MOST_POINTS)] | None


class PointsJson(TypedDict, total=False):
    """What was measured at one step, by metric."""

    step: Required[Step]
    values: Required[dict[str, Value]]
    time: TimeMs | None


class MetricBatch(TypedDict, total=False):
    """`metrics` or `rows`; `done` and `total` say how far the run is."""

    metrics: Annotated[dict[str, ColumnsJson], Meta(max_length=MOST_KEYS)]
    rows: Annotated[list[PointsJson], Meta(max_length=MOST_POINTS)]
    done: Count | None
    total: Count | None


class LogPart(TypedDict, total=False):
    """With `session` and a rising `part`, each part is added once."""

    lines: Annotated[list[Annotated[str, Meta(max_length=LINE)]], Meta(max_length=MOST_LINES)]
    session: str
    part: Count | None


class ParamsChange(TypedDict, total=False):
    """`"replace": false` refuses another value for a setting that is known."""

    params: Params
    replace: bool


class TagsChange(TypedDict, total=False):
    tags: Tags


class LabelsChange(TypedDict, total=False):
    """`labels` to add or change; `remove` names others to take off."""

    labels: Labels
    remove: list[str]


class RunEnd(TypedDict, total=False):
    status: Annotated[str, Meta(extra_json_schema={"enum": list(ENDS)})]
    reason: Annotated[str, Meta(max_length=PARAM_TEXT)]
    ended_at: Time


class NewUpload(TypedDict, total=False):
    """`step`, `best` and `metrics` are of a checkpoint."""

    kind: Annotated[str, Meta(extra_json_schema={"enum": Upload.Kind.values})]
    path: Required[Annotated[str, Meta(min_length=1, max_length=PATH_LENGTH)]]
    size_bytes: Required[Count]
    sha256: Required[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]]
    step: Count | None
    best: bool
    metrics: dict[str, Any]
