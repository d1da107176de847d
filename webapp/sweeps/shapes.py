"""What the API says and takes of sweeps, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, Any, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from vad.configs import TRAININGS
from webapp.core.openapi import Time
from webapp.runs.shapes import Config, Gpus, MemoryMb, Priority, Tags, TimeLimit
from webapp.sweeps.models import StopRule, Strategy, Take
from webapp.sweeps.objectives import KEY_LENGTH
from webapp.sweeps.services import MOST_PARALLEL, MOST_SEEDS, MOST_TRIALS, NAME_LENGTH
from webapp.sweeps.space import MOST_SETTINGS, MOST_VALUES

SpaceText = Annotated[
    str, Meta(min_length=1, description="as the form takes it: `0.3 0.5`, `1e-5 to 1e-2 log in 4`")
]
DIRECTIONS = ("", "max", "min")

Seed = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class DimensionJson(TypedDict, total=False):
    """What one setting may be: one of `values`, or a number from `low` to `high`.

    `log`: equal ratios are equally likely. `points`: how many values a grid takes.
    """

    values: Annotated[list[Any], Meta(min_length=1, max_length=MOST_VALUES)]
    low: float
    high: float
    log: bool
    points: Annotated[int, Meta(ge=0, le=MOST_VALUES)]


class SweepJson(TypedDict):
    """`problem`: why it held itself. `chosen_on`: the split that its best settings fit."""

    id: UUID
    name: str
    project: str
    owner: str
    state: str
    problem: dict[str, Any] | None
    kind: str
    config: dict[str, Any]
    feature_set: UUID | None
    evaluate: bool
    tags: list[str]
    priority: int
    gpus: int
    memory_mb: int | None
    time_limit_s: int | None
    space: dict[str, DimensionJson]
    strategy: str
    settings: int
    seeds: list[int]
    parallel: int
    entropy: int
    objective: str
    direction: str
    take: str
    chosen_on: str
    stop_rule: str
    stop_after: int
    stop_least: int
    trials_planned: int
    created_at: Time
    changed_at: Time


class TrialCountsJson(TypedDict):
    """How many trials stand how."""

    planned: int
    made: int
    active: int
    done: int
    pruned: int
    failed: int
    ended: int


class SettingJson(TypedDict):
    """A setting over its seeds: means over the trials that ended well."""

    params: dict[str, Any]
    objective: float | None
    deviation: float | None
    auc: float | None
    trials: list[int]
    runs: list[UUID | None]


class ImportanceJson(TypedDict):
    """`share` of the objective's variance that a setting explains, its standard `error`, and how
    often `chance` gives as much."""

    name: str
    share: float
    error: float
    chance: float
    groups: int


class ImportancesJson(TypedDict):
    """`missing`: why there are none yet."""

    trials: int
    missing: str | None
    settings: list[ImportanceJson]


class SweepDetailJson(SweepJson):
    trials: TrialCountsJson
    best: list[SettingJson]
    importance: ImportancesJson


class TrialJson(TypedDict):
    """`auc`: on the test split, of its best evaluation. `run` is null when it was deleted."""

    number: int
    params: dict[str, Any]
    seed: int
    state: str
    objective: float | None
    auc: float | None
    run: UUID | None
    evaluation: UUID | None
    pruned_step: int | None
    pruned_why: str | None


# --- bodies ---------------------------------------------------------------------------------


class NewSweep(TypedDict, total=False):
    """`config` is what is not swept; `extract` with `version` makes the features first."""

    name: Required[Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]]
    project: str
    kind: Annotated[str, Meta(extra_json_schema={"enum": list(TRAININGS)})]
    config: Config
    space: Annotated[dict[str, DimensionJson | SpaceText], Meta(max_length=MOST_SETTINGS)]
    strategy: Annotated[str, Meta(extra_json_schema={"enum": Strategy.values})]
    settings: Annotated[int, Meta(ge=0, le=MOST_TRIALS, description="how many; not of a grid")]
    seeds: Annotated[list[Seed], Meta(max_length=MOST_SEEDS)]
    parallel: Annotated[int, Meta(ge=1, le=MOST_PARALLEL, description="runs at once")]
    entropy: Annotated[int, Meta(ge=0, le=2**31 - 1, description="seed of the draws")]
    objective: Annotated[str, Meta(min_length=1, max_length=KEY_LENGTH)]
    direction: Annotated[str, Meta(extra_json_schema={"enum": list(DIRECTIONS)})]
    take: Annotated[str, Meta(extra_json_schema={"enum": Take.values})]
    stop_rule: Annotated[str, Meta(extra_json_schema={"enum": StopRule.values})]
    stop_after: Annotated[int, Meta(ge=0, le=1_000_000, description="steps")]
    stop_least: Annotated[int, Meta(ge=1, le=100, description="trials to compare with")]
    evaluate: bool
    feature_set: UUID | None
    extract: Config | None
    version: UUID | None
    tags: Tags
    priority: Priority
    gpus: Gpus
    memory_mb: MemoryMb | None
    time_limit_s: TimeLimit | None
