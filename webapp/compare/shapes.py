"""What the API says of comparisons, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Any, TypedDict
from uuid import UUID

from webapp.evaluations.shapes import EvaluationJson
from webapp.runs.shapes import SeriesJson


class ComparedRunJson(TypedDict):
    id: UUID
    name: str
    state: str
    color: int


class CellJson(TypedDict):
    value: float
    low: float | None
    high: float | None
    deviation: float | None
    n: int


class GroupOfRunsJson(TypedDict):
    name: str
    runs: list[UUID]


class ComparedJson(GroupOfRunsJson):
    metrics: dict[str, CellJson | None]


class NotComparableJson(TypedDict):
    first: str
    second: str
    differences: list[str]


class ComparisonJson(TypedDict):
    runs: list[ComparedRunJson]
    members: list[ComparedJson]
    keys: list[str]
    series: dict[str, dict[str, SeriesJson]]
    evaluations: dict[str, EvaluationJson]
    not_comparable: list[NotComparableJson]
    config_differences: dict[str, list[Any]]


class PairsJson(TypedDict):
    metric: str
    samples: int
    members: list[GroupOfRunsJson]
    pairs: list[dict[str, Any]]


class ExplanationJson(TypedDict):
    """All contributions sum to the difference."""

    first: float
    second: float
    difference: float
    videos: list[dict[str, Any]]
    classes: list[dict[str, Any]]
