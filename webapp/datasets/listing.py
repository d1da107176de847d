"""What the data set pages list: data sets, and the parts of a version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import NullIf

from vad.data.manifest import NORMAL, SPLITS
from webapp import charts
from webapp.accounts.models import Project
from webapp.core import query
from webapp.datasets.findings import Findings, of_versions
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet, Video
from webapp.runs.models import Run, State


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """A data set with what is counted of its latest version.

    Args:
        frames: 0 where none are known.
        duration_s: of the videos whose rate is known; None where none is.
        feature_bytes: of the feature sets that are ready.
    """

    dataset: Dataset
    version: DatasetVersion
    num_versions: int
    train: int
    train_abnormal: int
    test: int
    test_abnormal: int
    classes: int
    frames: int
    duration_s: float | None
    num_features: int
    feature_bytes: int
    num_runs: int
    findings: Findings


def datasets(project: Project | None, q: str = "") -> QuerySet[Dataset]:
    """The project's data sets, those with the newest version first."""
    found = Dataset.objects.filter(project=project, versions__isnull=False)
    for word in query.words(q):
        found = found.filter(name__icontains=word)
    return found.annotate(newest=Max("versions__created_at")).order_by("-newest", "name")


def dataset_rows(page: Sequence[Dataset]) -> list[DatasetRow]:
    """One row a data set, in a fixed number of queries."""
    by_dataset: dict[int, list[DatasetVersion]] = {dataset.pk: [] for dataset in page}
    found = DatasetVersion.objects.filter(dataset__in=page).select_related("dataset")
    for version in found.order_by("number"):
        by_dataset[version.dataset_id].append(version)
    latest = {pk: versions[-1] for pk, versions in by_dataset.items() if versions}
    ids = [version.pk for version in latest.values()]
    videos: dict[UUID, Counter[tuple[str, int]]] = {pk: Counter() for pk in ids}
    frames: Counter[UUID] = Counter()
    seconds: dict[UUID, float] = {}
    counted = Video.objects.filter(version__in=ids).values_list("version", "split", "label")
    rate = NullIf(F("fps"), 0.0)
    sums = counted.annotate(n=Count("pk"), f=Sum("num_frames"), s=Sum(F("num_frames") / rate))
    for pk, split, label, n, f, s in sums.order_by():
        videos[pk][split, label] += n
        frames[pk] += f or 0
        if s:
            seconds[pk] = seconds.get(pk, 0.0) + s
    classes: dict[UUID, set[str]] = {pk: set() for pk in ids}
    abnormal = Video.objects.filter(version__in=ids, label=1).values_list("version", "classes")
    for pk, names in abnormal.distinct().order_by():
        classes[pk].update(names)
    sets = FeatureSet.objects.filter(version__in=ids).order_by().values_list("version")
    features = {
        pk: (n, size or 0)
        for pk, n, size in sets.annotate(
            n=Count("pk"), size=Sum("size_bytes", filter=Q(ready=True))
        )
    }
    runs = _per_version(Run.objects.filter(version__in=ids))
    findings = of_versions(latest.values())
    return [
        DatasetRow(
            dataset=dataset,
            version=version,
            num_versions=len(by_dataset[dataset.pk]),
            train=videos[version.pk]["train", 0] + videos[version.pk]["train", 1],
            train_abnormal=videos[version.pk]["train", 1],
            test=videos[version.pk]["test", 0] + videos[version.pk]["test", 1],
            test_abnormal=videos[version.pk]["test", 1],
            classes=len(classes[version.pk]),
            frames=frames[version.pk],
            duration_s=seconds.get(version.pk),
            num_features=features.get(version.pk, (0, 0))[0],
            feature_bytes=features.get(version.pk, (0, 0))[1],
            num_runs=runs.get(version.pk, 0),
            findings=findings[version.pk],
        )
        for dataset in page
        for version in [latest[dataset.pk]]
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
            seconds=Sum(F("num_frames") / NullIf(F("fps"), 0.0)),
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


def siblings(version: DatasetVersion) -> list[DatasetVersion]:
    """All versions of the same data set."""
    return list(version.dataset.versions.order_by("number"))


def feature_sets(version: DatasetVersion) -> list[FeatureSet]:
    """The newest first."""
    return list(version.feature_sets.select_related("produced_by").order_by("-created_at"))


def feature_facts(features: FeatureSet) -> list[tuple[str, Any]]:
    """What a feature set is: how snippets lie over frames, its crops, how it was extracted."""
    summary = features.summary
    rule = summary.get("rule") or {}
    facts: list[tuple[str, Any]] = []
    if rule.get("rule") == "stretch":
        facts.append(("Snippets", "spread evenly over each video"))
    elif rule.get("snippet_len"):
        facts.append(("Snippets", f"of {rule['snippet_len']} frames"))
    if summary.get("snippets"):
        facts.append(("Snippets in all", f"{summary['snippets']:,}"))
    if summary.get("crops"):
        facts.append(("Crops", ", ".join(str(n) for n in summary["crops"])))
    if summary.get("dtype"):
        facts.append(("Numbers", summary["dtype"]))
    facts += _flat("", summary.get("settings") or {})
    return facts


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
