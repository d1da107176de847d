"""What the API says and takes of data sets, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.datasets.services import DESCRIPTION_LENGTH
from webapp.runs.shapes import Name, RunDetailJson, Tags


class VersionJson(TypedDict):
    id: UUID
    number: int
    format: str
    fingerprint: str
    counts: dict[str, Any]
    created_at: Time


class DatasetJson(TypedDict):
    id: int
    name: str
    description: str
    project: str
    created_at: Time
    versions: list[VersionJson]


class VideoCountJson(TypedDict):
    split: str
    label: int
    count: int


class FeatureSetJson(TypedDict):
    id: UUID
    name: str
    version: UUID
    ready: bool
    extractor: str
    dim: int
    video_count: int
    size_bytes: int
    fingerprint: str
    produced_by: UUID | None
    created_at: Time


class FeatureSetDetailJson(FeatureSetJson):
    summary: dict[str, Any]


class VersionDetailJson(VersionJson):
    rules: dict[str, Any]
    notes: list[Any]
    videos: list[VideoCountJson]
    feature_sets: list[FeatureSetJson]


class ScoresJson(TypedDict):
    """Of one video under one evaluation; `auc` is null where its frames are all of one kind."""

    max_score: float
    mean_score: float
    auc: float | None
    error: float
    peak_frame: int


class VideoJson(TypedDict):
    """`intervals` are frames [start, end), null where only the label is known."""

    id: int
    key: str
    split: str
    label: int
    classes: list[str]
    num_frames: int
    fps: float
    width: int
    height: int
    intervals: NotRequired[list[list[int]] | None]
    scores: NotRequired[ScoresJson | None]


class ChangeJson(TypedDict):
    """A video that is in one version only, or in both and not the same."""

    key: str
    kind: str
    split: str
    label: int
    classes: list[str]
    fields: dict[str, list[Any]]


DifferencesJson = TypedDict(
    "DifferencesJson",
    {
        "from": UUID,
        "to": UUID,
        "videos": dict[str, int],
        "fields": dict[str, int],
        "rules": dict[str, list[Any]],
        "changes": list[ChangeJson],
    },
)


class RegisteringJson(TypedDict):
    run: RunDetailJson


# --- bodies ---------------------------------------------------------------------------------


class NewDataset(TypedDict, total=False):
    config: Required[
        Annotated[dict[str, Any], Meta(description="as `configs/register/` describes it")]
    ]
    tags: Tags
    run_name: Name
    project: str


class Description(TypedDict):
    description: Annotated[str, Meta(max_length=DESCRIPTION_LENGTH)]
