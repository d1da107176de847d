"""What the API says and takes of sweeps, as types."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.runs.shapes import Config, Gpus, MemoryMb, Name, Priority, Tags, TimeLimit


class SweepJson(TypedDict):
    id: UUID
    name: str
    project: str
    owner: str
    state: str
    problem: Any
    kind: str
    config: dict[str, Any]
    feature_set: UUID | None
    evaluate: bool
    tags: list[str]
    space: Any
    seeds: list[int]
    direction: str
    chosen_on: str
    trials_planned: int
    created_at: Time
    changed_at: Time
    settings: int
    parallel: int
    entropy: int
    stop_after: int
    stop_least: int
    priority: int
    gpus: int
    memory_mb: int | None
    time_limit_s: int | None
    strategy: str
    objective: str
    take: str
    stop_rule: str


class CountsJson(TypedDict):
    planned: int
    made: int
    active: int
    done: int
    pruned: int
    failed: int
    ended: int


class SettingJson(TypedDict):
    params: dict[str, Any]
    objective: float | None
    deviation: float | None
    auc: float | None
    trials: list[int]
    runs: list[UUID | None]


class ShareOfSettingJson(TypedDict):
    """How much of the objective's variance a setting explains, with its error and a p-value."""

    name: str
    share: float | None
    error: float | None
    chance: float | None
    groups: int


class WhatMattersJson(TypedDict):
    trials: int
    missing: Any
    settings: list[ShareOfSettingJson]


class SweepDetailJson(SweepJson):
    trials: CountsJson
    best: list[SettingJson]
    importance: WhatMattersJson


class TrialJson(TypedDict):
    number: int
    params: dict[str, Any]
    seed: int | None
    state: str
    objective: float | None
    auc: float | None
    run: UUID | None
    evaluation: UUID | None
    pruned_step: int | None
    pruned_why: str | None


class NewSweep(TypedDict, total=False):
    """What each member means is in docs/sweeps.md."""

    name: Name
    project: str
    kind: str
    config: Config
    space: dict[str, Any]
    seeds: list[int]
    strategy: str
    settings: Annotated[int, Meta(ge=0)]
    parallel: Annotated[int, Meta(ge=1)]
    entropy: int
    objective: str
    direction: str
    take: str
    stop_rule: str
    stop_after: Annotated[int, Meta(ge=0)]
    stop_least: Annotated[int, Meta(ge=0)]
    extract: Config | None
    version: UUID | None
    feature_set: UUID | None
    evaluate: bool
    tags: Tags
    priority: Priority
    gpus: Gpus
    memory_mb: MemoryMb | None
    time_limit_s: TimeLimit | None
