"""What the API says of evaluations, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Any, TypedDict
from uuid import UUID

from webapp.core.openapi import Time


class EvaluationJson(TypedDict):
    id: UUID
    of_run: UUID
    name: str
    version: UUID
    feature_set: UUID
    selection: str
    fingerprint: str
    metrics: dict[str, Any]
    intervals: dict[str, Any]
    created_at: Time


class EvaluationDetailJson(EvaluationJson):
    """All numbers of an evaluation, under its protocol."""

    patch: dict[str, Any]
    stages: dict[str, Any]
    protocol: dict[str, Any]
    per_class: list[Any]
    counts: dict[str, Any]
    scores_sha256: str


class CurveJson(TypedDict):
    """Operating points; the first flags nothing, at an infinite threshold, which is null."""

    thresholds: list[float | None]
    fpr: list[float]
    tpr: list[float]
    precision: list[float]
    reduced: bool


class TimelineJson(TypedDict):
    """A score per snippet; `truth` is frames [start, end)."""

    key: str
    label: int
    classes: list[str]
    num_frames: int
    start_frames: list[int]
    scores: list[float | None]
    truth: list[list[int]]


class TruthJson(TypedDict):
    """Where the anomalies are in the frame.

    `intervals` [start, end]; `boxes` [start, end, x0, y0, x1, y1]; `patches` [start, end, [patch]].
    """

    key: str
    intervals: list[list[int]]
    boxes: list[list[float]]
    patches: list[list[Any]]
    problem: str


class AlarmJson(TypedDict):
    start: int
    end: int
    peak: float
    beside: bool


class ErrorsJson(TypedDict):
    key: str
    threshold: float
    rule: str
    false_alarms: list[AlarmJson]
    misses: list[AlarmJson]
    intervals: int
    wrong_frames: int


class EvaluatedVideoJson(TypedDict):
    key: str
    label: int
    classes: list[str]
    max_score: float
