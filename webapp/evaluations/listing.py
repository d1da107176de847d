"""What the evaluation pages list: evaluations, and the parts of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet

from vad.evaluation.frame import video_metrics
from vad.evaluation.protocol import Protocol
from webapp.accounts.models import Project
from webapp.core.numbers import signed
from webapp.core.query import uuids, words
from webapp.datasets.models import DatasetVersion
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Run, State

SORTS: dict[str, F] = {
    "name": F("of_run__name"),
    "auc": F("frame_auc"),
    "ap": F("frame_ap"),
    "dataset": F("version__dataset__name"),
    "created": F("created_at"),
}
COUNTS = {
    "videos": "Videos",
    "normal_videos": "normal",
    "abnormal_videos": "abnormal",
    "snippets": "Snippets",
    "frames": "Frames",
    "positive_frames": "anomalous",
}
VIDEO_SORTS = {
    "key": "key",
    "class": "classes",
    "auc": "auc",
    "contribution": "contribution",
    "peak": "max_score",
    "mean": "mean_score",
    "frames": "frames",
    "positive": "positive_frames",
}


@dataclass(frozen=True, kw_only=True)
class Filters:
    q: str = ""
    version: str = ""
    sort: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        sort = query.get("sort", "")
        version = uuids([query.get("version", "")])
        return cls(
            q=query.get("q", "").strip(),
            version=str(version[0]) if version else "",
            sort=sort if sort.removeprefix("-") in SORTS else "",
        )

    @property
    def active(self) -> bool:
        return bool(self.q or self.version)


@dataclass(frozen=True, kw_only=True)
class VideoRow:
    """One test video of an evaluation.

    Args:
        auc: of its own frames; None where they are of one kind.
        contribution: the AUC minus the AUC without it; None where that is not defined.
    """

    key: str
    classes: tuple[str, ...]
    auc: float | None
    contribution: float | None
    max_score: float
    mean_score: float | None
    frames: int
    positive_frames: int

    @property
    def contribution_text(self) -> str:
        return "\u2013" if self.contribution is None else signed(self.contribution, 5)


def evaluations(project: Project | None, filters: Filters) -> QuerySet[Evaluation]:
    """The project's evaluations as filtered and sorted, the newest first."""
    found = Evaluation.objects.filter(run__project=project).select_related(
        "of_run", "checkpoint", "version__dataset"
    )
    found = found.defer("patch", "stages")  # a row of `patch` for each video, and no page lists it
    for word in words(filters.q):
        found = found.filter(of_run__name__icontains=word)
    if filters.version:
        found = found.filter(version__in=uuids([filters.version]))
    key = filters.sort.removeprefix("-")
    if key not in SORTS:
        return found.order_by("-created_at")
    value = SORTS[key]
    order = value.desc if filters.sort.startswith("-") else value.asc
    return found.order_by(order(nulls_last=True), "-created_at")


def versions(project: Project | None) -> list[DatasetVersion]:
    """Data set versions that have evaluations."""
    found = DatasetVersion.objects.filter(
        dataset__project=project, pk__in=Evaluation.objects.values("version")
    )
    return list(found.select_related("dataset").order_by("dataset__name", "number"))


def any_trained(project: Project | None) -> bool:
    """Whether there is a checkpoint that could be evaluated."""
    done = Run.objects.filter(project=project, state=State.SUCCEEDED)
    return done.filter(kind__startswith="train").exists()


def protocol_rows(evaluation: Evaluation) -> list[tuple[str, Any]]:
    """The parts of the protocol by their titles; digests shortened."""
    rows = []
    for part in dataclasses.fields(Protocol):
        value = evaluation.protocol.get(part.name)
        if value in (None, "") or part.name == "num_videos":
            continue
        text = f"{value[:12]}…" if isinstance(value, str) and len(value) == 64 else value
        rows.append((part.metadata["title"].capitalize(), text))
    return rows


def count_rows(evaluation: Evaluation) -> list[tuple[str, int]]:
    return [(word, evaluation.counts[k]) for k, word in COUNTS.items() if k in evaluation.counts]


def class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The class rows, the best AUC first, with the interval to show."""
    rows = [
        {**row, "interval": (row.get("intervals") or {}).get("auc")} for row in evaluation.per_class
    ]
    return sorted(rows, key=lambda r: (r.get("auc") is None, -(r.get("auc") or 0.0), r["class"]))


def video_rows(evaluation: Evaluation, *, sort: str = "", class_name: str = "") -> list[VideoRow]:
    """One row a test video; those that cost the most first unless sorted otherwise.

    Raises:
        VadError: the scores are gone or damaged.
    """
    contributions = store.contributions(evaluation)
    rows = [
        VideoRow(
            key=row["key"],
            classes=tuple(row["classes"]),
            auc=row["auc"],
            contribution=contributions.get(row["key"]),
            max_score=row["max_score"],
            mean_score=row["mean_score"],
            frames=row["frames"],
            positive_frames=row["positive_frames"],
        )
        for row in video_metrics(store.load(evaluation))
        if not class_name
        or class_name in row["classes"]
        or (class_name == "normal" and not row["label"])
    ]
    name = VIDEO_SORTS.get(sort.removeprefix("-"), "contribution")
    have = [row for row in rows if getattr(row, name) is not None]
    have.sort(key=lambda row: getattr(row, name), reverse=sort.startswith("-"))
    return have + [row for row in rows if getattr(row, name) is None]


def telling(rows: Sequence[VideoRow]) -> str:
    """A video worth a first look: anomalous, and the first of the list."""
    first = next((row for row in rows if row.positive_frames), None)
    first = first or next(iter(rows), None)
    return first.key if first else ""
