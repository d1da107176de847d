"""What the API says and takes of external runs, as types."""

from __future__ import annotations

from typing import Annotated, Any, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.runs.shapes import Name, Notes, RunDetailJson, Tags


class ExternalRunJson(RunDetailJson):
    """The run, with what logs it and for how long it has been silent."""

    client: str
    labels: dict[str, str]
    heard_at: Time | None
    silent_s: float | None


class HeardJson(TypedDict):
    """`stop` asks the script to end: somebody stopped its run."""

    state: str
    stop: bool


class StateJson(TypedDict):
    state: str


class HistoryJson(TypedDict):
    """Points that came with times, as they were sent; a number that JSON lacks is a text."""

    key: str
    total: int
    steps: list[int]
    times: list[int]
    values: list[Any]


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
    """`id` is chosen by the client, if at all: asking twice makes one run."""

    name: Name
    project: str
    params: dict[str, Any]
    tags: Tags
    labels: dict[str, str]
    notes: Notes
    started_at: str
    environment: dict[str, Any]
    client: str
    id: str


class NewPoints(TypedDict, total=False):
    """Either; times are optional, in milliseconds since 1970. All is kept, or nothing.

    `{"metrics": {KEY: {"steps": [], "values": [], "times": []}}}`, or
    `{"rows": [{"step": 1, "values": {KEY: 0.5}, "time": 0}]}`.
    """

    metrics: dict[str, Any]
    rows: list[dict[str, Any]]
    done: Annotated[int, Meta(ge=0)]
    total: Annotated[int, Meta(ge=0)]


class NewLines(TypedDict, total=False):
    """With `session` and a rising `part`, each part is kept once."""

    lines: list[str]
    session: str
    part: Annotated[int, Meta(ge=0)]


class NewParams(TypedDict, total=False):
    """`"replace": false` refuses to change a known one."""

    params: dict[str, Any]
    replace: bool


class NewTags(TypedDict, total=False):
    tags: Tags


class NewLabels(TypedDict, total=False):
    labels: dict[str, str]
    remove: list[str]


class RunEnd(TypedDict, total=False):
    status: str
    reason: str
    ended_at: str


class NewUpload(TypedDict, total=False):
    """Of a checkpoint `step` too."""

    kind: str
    path: Required[str]
    size_bytes: Required[Annotated[int, Meta(ge=0)]]
    sha256: Required[str]
    step: int | None
    best: bool
    metrics: dict[str, Any]
