"""What the data set pages list: versions, and the parts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet, Sum

from vad.data.manifest import NORMAL, SPLITS
from webapp import charts
from webapp.accounts.models import Project
from webapp.core import query
from webapp.datasets.models import DatasetVersion, FeatureSet, Video
from webapp.runs.models import Run, State

VIDEO_SORTS: dict[str, str] = {
    "key": "key",
    "split": "split",
    "label": "label",
    "frames": "num_frames",
}


@dataclass(frozen=True, kw_only=True)
class VideoFilters:
    q: str = ""
    split: str = ""
    class_name: str = ""
    sort: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> VideoFilters:
        return cls(
            q=given.get("q", "").strip(),
            split=given.get("split", ""),
            class_name=given.get("class", ""),
            sort=given.get("sort", ""),
        )


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """A version with what is counted of it."""

    version: DatasetVersion
    train: int
    train_abnormal: int
    test: int
    test_abnormal: int
    classes: int
    num_features: int
    num_runs: int


def versions(project: Project | None) -> QuerySet[DatasetVersion]:
    """All versions of the project's data sets, the newest first."""
    found = DatasetVersion.objects.filter(dataset__project=project)
    return found.select_related("dataset", "created_by").order_by("-created_at")


def version_rows(page: Sequence[DatasetVersion]) -> list[VersionRow]:
    """One row a version, in a fixed number of queries."""
    ids = [version.pk for version in page]
    videos: dict[UUID, Counter[tuple[str, int]]] = {pk: Counter() for pk in ids}
    counted = Video.objects.filter(version__in=ids).values_list("version", "split", "label")
    for version, split, label, n in counted.annotate(n=Count("pk")).order_by():
        videos[version][split, label] += n
    classes: dict[UUID, set[str]] = {pk: set() for pk in ids}
    abnormal = Video.objects.filter(version__in=ids, label=1).values_list("version", "classes")
    for version, names in abnormal.distinct().order_by():
        classes[version].update(names)
    features = _per_version(FeatureSet.objects.filter(version__in=ids))
    runs = _per_version(Run.objects.filter(version__in=ids))
    return [
        VersionRow(
            version=version,
            train=videos[version.pk]["train", 0] + videos[version.pk]["train", 1],
            train_abnormal=videos[version.pk]["train", 1],
            test=videos[version.pk]["test", 0] + videos[version.pk]["test", 1],
            test_abnormal=videos[version.pk]["test", 1],
            classes=len(classes[version.pk]),
            num_features=features.get(version.pk, 0),
            num_runs=runs.get(version.pk, 0),
        )
        for version in page
    ]


def _per_version(rows: QuerySet[Any]) -> dict[UUID, int]:
    return dict(rows.order_by().values_list("version").annotate(n=Count("pk")))


def registering(project: Project | None) -> list[Run]:
    """Register runs that have made no version yet: on their way, or failed lately."""
    runs = Run.objects.filter(project=project, kind="register")
    unfinished = runs.exclude(state__in=(State.SUCCEEDED, State.CANCELLED))
    return list(unfinished.order_by("-created_at")[:5])


def splits(version: DatasetVersion) -> list[dict[str, Any]]:
    """Videos and frames of each split that has any."""
    rows = (
        version.videos.values("split")
        .annotate(
            videos=Count("pk"),
            normal=Count("pk", filter=Q(label=0)),
            abnormal=Count("pk", filter=Q(label=1)),
            frames=Sum("num_frames"),
        )
        .order_by()
    )
    by_name = {row["split"]: row for row in rows}
    return [dict(by_name[name]) for name in SPLITS if name in by_name]


def class_counts(version: DatasetVersion) -> dict[str, Counter[str]]:
    """split -> class -> number of videos; a video of several classes counts in each."""
    found: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    for split, label, names in version.videos.values_list("split", "label", "classes"):
        kinds = [n for n in names if n != NORMAL] if label else [NORMAL]
        found[split].update(kinds or ["(no class)"])
    return {name: counts for name, counts in found.items() if counts}


def class_names(version: DatasetVersion) -> list[str]:
    """Classes of the abnormal videos, sorted."""
    rows = version.videos.filter(label=1).values_list("classes", flat=True)
    return sorted({name for names in rows for name in names})


def class_figure(version: DatasetVersion) -> charts.Figure:
    return charts.class_histogram(class_counts(version), title=f"Videos by class, {version}")


def videos(version: DatasetVersion, filters: VideoFilters) -> QuerySet[Video]:
    """The version's videos as filtered and sorted."""
    found: QuerySet[Video] = version.videos.all()
    if filters.q:
        found = found.filter(key__icontains=filters.q)
    if filters.split:
        found = found.filter(split=filters.split)
    if filters.class_name:
        found = query.listing(found.filter(label=1), "classes", filters.class_name)
    name = VIDEO_SORTS.get(filters.sort.removeprefix("-"), "")
    if not name:
        return found.order_by("-split", "key")  # training videos first
    order = F(name).desc() if filters.sort.startswith("-") else F(name).asc()
    return found.order_by(order, "key")


def siblings(version: DatasetVersion) -> list[DatasetVersion]:
    """All versions of the same data set."""
    return list(version.dataset.versions.order_by("number"))


def feature_sets(version: DatasetVersion) -> list[FeatureSet]:
    return list(version.feature_sets.select_related("produced_by").order_by("-created_at"))


def registered_by(version: DatasetVersion) -> Run | None:
    """The run that made the version, if it is still there."""
    return version.runs.filter(kind="register").order_by("created_at").first()


def has_media(version: DatasetVersion) -> bool:
    """Whether there are videos to extract features from."""
    return version.videos.exclude(path="").exists()


def rules(version: DatasetVersion) -> list[tuple[str, Any]]:
    """How the reader read what is open: names and values, nested ones by their path."""
    return list(_flat("", version.rules))


def _flat(prefix: str, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        path = f"{prefix} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(path, value)
        else:
            yield path, value
