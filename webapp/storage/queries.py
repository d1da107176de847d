"""What the Storage page and its endpoint show."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db.models import Count, QuerySet, Sum
from django.urls import reverse

from webapp.accounts import access
from webapp.accounts.models import Project, User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs.models import Run
from webapp.storage import survey
from webapp.storage.models import Finding, Measured, StoredArtifact

LARGEST = 20
LISTED = 50  # findings on the page


@dataclass(kw_only=True)
class ProjectUse:
    """What a project takes, by what it is."""

    project: Project
    checkpoint_bytes: int = 0
    score_bytes: int = 0
    proxy_bytes: int = 0
    stored_bytes: int = 0  # in the object storage; not on the disk
    log_bytes: int = 0  # and whatever else lies in the folders of runs
    feature_bytes: int = 0
    dataset_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        return (
            self.checkpoint_bytes + self.score_bytes + self.proxy_bytes + self.log_bytes
            + self.feature_bytes + self.dataset_bytes
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Large:
    """One of the largest things, with a page to look at it."""

    area: str
    name: str
    url: str
    project: Project
    size_bytes: int
    run: Run | None = None


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system of the data folder."""

    used_bytes: int
    free_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.used_bytes + self.free_bytes

    @property
    def percent(self) -> int:
        return round(100 * self.used_bytes / max(1, self.used_bytes + self.free_bytes))


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What takes the room, as far as the person may see it.

    Args:
        at: when the disk was looked at; None: never.
        rest: what belongs to no project, for whoever administers the server.
        totals: kind of finding: (how many, bytes).
    """

    disk: Disk
    at: datetime | None
    projects: Sequence[ProjectUse]
    largest: Sequence[Large]
    rest: Sequence[Measured]
    orphans: Sequence[Finding]
    missing: Sequence[Finding]
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(use.size_bytes for use in self.projects) + sum(r.size_bytes for r in self.rest)


def storage(user: User) -> Storage:
    """Everything for the page; sizes are those of the last survey."""
    projects = {project.pk: project for project in access.projects(user).order_by("name", "pk")}
    newest = Measured.objects.order_by("-at").first()
    orphans = visible(user, Finding.Kind.ORPHAN)
    missing = visible(user, Finding.Kind.MISSING)
    return Storage(
        disk=disk(),
        at=newest.at if newest else None,
        projects=_by_project(projects),
        largest=_largest(projects),
        rest=_rest(user),
        orphans=list(orphans.select_related("project")[:LISTED]),
        missing=list(missing.select_related("project")[:LISTED]),
        totals={"orphans": total(orphans), "missing": total(missing)},
    )


def disk() -> Disk:
    found = shutil.disk_usage(settings.DATA_DIR)
    return Disk(used_bytes=found.used, free_bytes=found.free)


def visible(user: User, kind: str) -> QuerySet[Finding]:
    """Findings of the person's projects; what belongs to none is the administrator's."""
    found = Finding.objects.filter(kind=kind)
    if user.is_superuser:
        return found
    return found.filter(project__in=access.projects(user))


def total(findings: QuerySet[Finding]) -> tuple[int, int]:
    found = findings.order_by().aggregate(n=Count("pk"), size=Sum("size_bytes"))
    return found["n"], found["size"] or 0


def _by_project(projects: dict[int, Project]) -> list[ProjectUse]:
    found = {pk: ProjectUse(project=project) for pk, project in projects.items()}
    sums = (
        Measured.objects.filter(project__in=projects)
        .order_by()
        .values("project", "area")
        .annotate(
            checkpoints=Sum("checkpoint_bytes"), scores=Sum("score_bytes"),
            proxies=Sum("proxy_bytes"), size=Sum("size_bytes"),
        )
    )  # fmt: skip
    for row in sums:
        use = found[row["project"]]
        if row["area"] == survey.FEATURES:
            use.feature_bytes = row["size"]
        elif row["area"] == survey.DATASETS:
            use.dataset_bytes = row["size"]
        else:
            use.checkpoint_bytes, use.score_bytes = row["checkpoints"], row["scores"]
            use.proxy_bytes = row["proxies"]
            parts = row["checkpoints"] + row["scores"] + row["proxies"]
            use.log_bytes = row["size"] - parts
    for project, size in (
        StoredArtifact.objects.filter(project__in=projects)
        .order_by()
        .values_list("project")
        .annotate(Sum("size_bytes"))
    ):
        found[project].stored_bytes = size
    return sorted(found.values(), key=lambda use: -use.size_bytes)


def _largest(projects: dict[int, Project]) -> list[Large]:
    rows = list(
        Measured.objects.filter(project__in=projects, size_bytes__gt=0).order_by("-size_bytes")[
            :LARGEST
        ]
    )
    ids = {area: [uuid.UUID(r.key) for r in rows if r.area == area] for area in
           (survey.RUNS, survey.FEATURES, survey.DATASETS)}  # fmt: skip
    runs = Run.objects.in_bulk(ids[survey.RUNS])
    features = FeatureSet.objects.in_bulk(ids[survey.FEATURES])
    versions = DatasetVersion.objects.select_related("dataset").in_bulk(ids[survey.DATASETS])
    found = []
    for row in rows:
        pk = uuid.UUID(row.key)
        run = runs.get(pk) if row.area == survey.RUNS else None
        if run is not None:
            name, url = run.name, reverse("runs:detail", args=[pk])
        elif row.area == survey.FEATURES and pk in features:
            name = features[pk].name
            url = reverse("datasets:detail", args=[features[pk].version_id])
        elif row.area == survey.DATASETS and pk in versions:
            name, url = str(versions[pk]), reverse("datasets:detail", args=[pk])
        else:  # deleted since it was measured
            continue
        found.append(
            Large(
                area=row.area, name=name, url=url, project=projects[row.project_id or 0],
                size_bytes=row.size_bytes, run=run,
            )
        )  # fmt: skip
    return found


def _rest(user: User) -> list[Measured]:
    if not user.is_superuser:
        return []
    return list(Measured.objects.filter(area=survey.SERVER).order_by("-size_bytes"))
