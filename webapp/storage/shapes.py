"""What the API says and takes of disk space, as types: mypy and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.storage.retention import MOST_KEPT


class DiskJson(TypedDict):
    """The file system of the data folder."""

    used_bytes: int
    free_bytes: int


class ProjectUseJson(TypedDict):
    """What a project takes, by what it is; `stored_bytes` are in the object storage."""

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
    """One of the largest things; `url` is its page."""

    kind: str
    name: str
    url: str
    project: str
    size_bytes: int


class TotalJson(TypedDict):
    count: int
    size_bytes: int


class StorageJson(TypedDict):
    """`orphans`: files that no row knows; `missing`: rows whose file is gone."""

    measured_at: Time | None
    disk: DiskJson
    size_bytes: int
    projects: list[ProjectUseJson]
    largest: list[LargeJson]
    orphans: TotalJson
    missing: TotalJson


class RetentionRuleJson(TypedDict):
    """How many of the best checkpoints each run keeps."""

    project: str
    keep_best: int


class OrphanJson(TypedDict):
    """`path` is below the data folder; `project` is null where nobody knows whose it is."""

    path: str
    what: str
    project: str | None
    size_bytes: int


class OrphansJson(TypedDict):
    """`results` are the largest; `count` and `size_bytes` are of all."""

    count: int
    size_bytes: int
    results: list[OrphanJson]


class DeletionJson(TypedDict):
    """A deletion before it is done.

    `also`: evaluations, which go with the runs that they evaluate. `running` and `needed_by`, runs
    that stay and could not go on, keep it from being done.
    """

    runs: list[UUID]
    also: list[UUID]
    size_bytes: int
    checkpoints: int
    evaluations: int
    running: list[UUID]
    needed_by: list[UUID]
    possible: bool


# --- bodies ---------------------------------------------------------------------------------


class RetentionRuleChange(TypedDict, total=False):
    """`"keep_best": null` is the server's default."""

    project: str
    keep_best: Annotated[int, Meta(ge=1, le=MOST_KEPT)] | None


# --- projects -------------------------------------------------------------------------------


class ProjectDeletionJson(TypedDict):
    """`queued` of the runs have not begun; `running` and `needed_by` (runs of other projects; the
    first few of each) keep it from being done. Not exact is the size as last measured."""

    runs: int
    datasets: int
    feature_sets: int
    evaluations: int
    sweeps: int
    reports: int
    links: int
    members: int
    size_bytes: int
    size_is_exact: bool
    queued: int
    running: list[UUID]
    needed_by: list[UUID]
    possible: bool


class DeletedProjectJson(TypedDict):
    slug: str
    done: bool


class ProjectConfirmation(TypedDict):
    slug: Annotated[str, Meta(max_length=80)]
