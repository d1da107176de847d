"""What the API says and takes of disk space, as types."""

from __future__ import annotations

from typing import Annotated, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time


class DiskJson(TypedDict):
    used_bytes: int
    free_bytes: int


class ProjectUseJson(TypedDict):
    project: str
    size_bytes: int
    checkpoint_bytes: int
    score_bytes: int
    proxy_bytes: int
    log_bytes: int
    feature_bytes: int
    dataset_bytes: int
    stored_bytes: int


class LargeJson(TypedDict):
    kind: str
    name: str
    url: str
    project: str
    size_bytes: int


class TotalJson(TypedDict):
    count: int
    size_bytes: int


class StorageJson(TypedDict):
    """As of the last survey; `measured_at` is null before the first."""

    measured_at: Time | None
    disk: DiskJson
    size_bytes: int
    projects: list[ProjectUseJson]
    largest: list[LargeJson]
    orphans: TotalJson
    missing: TotalJson


class KeepJson(TypedDict):
    project: str
    keep_best: int | None


class OrphanJson(TypedDict):
    path: str
    what: str
    project: str | None
    size_bytes: int


class OrphansJson(TotalJson):
    results: list[OrphanJson]


class DeletionJson(TypedDict):
    """What deleting runs would free, and what keeps it from being done."""

    runs: list[UUID]
    also: list[UUID]
    size_bytes: int
    checkpoints: int
    evaluations: int
    running: list[UUID]
    needed_by: list[UUID]
    possible: bool


class NewKeep(TypedDict, total=False):
    """null: the server's default."""

    project: str
    keep_best: Annotated[int, Meta(ge=1)] | None


class Nothing(TypedDict):
    """An empty object."""
