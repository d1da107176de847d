"""What the API says and takes of the queue, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.runs.shapes import RunJson, StartJson


class PauseJson(TypedDict):
    by: str | None
    at: Time
    reason: str


class PauseStateJson(TypedDict):
    paused: PauseJson | None


class WaitingJson(TypedDict):
    run: RunJson
    why: str
    place: int | None
    starts: StartJson | None


class QueueJson(TypedDict):
    paused: PauseJson | None
    server_paused: PauseJson | None
    results: list[WaitingJson]


class SlotJson(TypedDict):
    """`busy` without a run: one that you may not see."""

    name: str
    device: str
    busy: bool
    run: UUID | None
    use_percent: int | None
    used_mb: int | None
    memory_mb: int | None


class WorkerJson(TypedDict):
    name: str
    host: str
    version: str
    alive: bool
    seen_at: Time
    drained_at: Time | None
    refused: Any
    slots: list[SlotJson]


class UsageJson(TypedDict):
    """Device hours that count of a member, and their share."""

    name: str
    gpu_h: float
    cpu_h: float
    share: float


class ShareJson(TypedDict):
    user: str
    share: float


# --- bodies ---------------------------------------------------------------------------------


class Paused(TypedDict, total=False):
    """A project, or `"server": true` for everything."""

    project: str
    server: bool
    reason: str


class NewShare(TypedDict):
    user: str
    share: Annotated[float, Meta(ge=0.01, le=100)]
