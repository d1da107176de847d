"""Two members in detail: which videos explain the difference, and where they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from vad.errors import VadError
from vad.evaluation.anatomy import explain_difference
from vad.evaluation.frame import video_metrics
from vad.evaluation.scores import ScoreSet
from webapp import charts
from webapp.compare.selection import Member
from webapp.evaluations import scores as store
from webapp.evaluations.links import viewer_url
from webapp.evaluations.models import Evaluation

SHOWN = 25  # videos of the list; the rest goes with "all"
BY: dict[str, str] = {
    "max_score": "highest score",
    "mean_score": "mean score",
    "auc": "AUC within the video",
}


@dataclass(frozen=True, kw_only=True)
class VideoRow:
    """What one video adds to the difference of the AUC, `second - first`.

    Args:
        bar: from -100 to 100, of the largest contribution.
    """

    key: str
    classes: str
    contribution: float
    as_positive: float
    as_negative: float
    bar: float
    href: str


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Which videos and classes explain a difference.

    Args:
        covered: share of the sum of all absolute contributions that the shown videos hold.
    """

    first: float
    second: float
    difference: float
    videos: list[VideoRow]
    count: int
    covered: float
    classes: list[dict[str, Any]]

    @property
    def percent(self) -> int:
        return round(100 * self.covered)


def chosen_two(members: Sequence[Member], first: str, second: str) -> tuple[Member, Member] | None:
    """The two members of the address, else the first two that can be compared; None without."""
    there = [member for member in members if member.evaluation is not None]
    by_key = {member.key: member for member in there}
    partners = [by_key[second]] if second in by_key else there
    able = (m for m in there if any(o is not m and _same(m, o) for o in partners))
    a = by_key.get(first) or next(able, None) or next(iter(there), None)
    b = by_key.get(second)
    if b is None or b is a:
        b = next((m for m in there if a is not None and m is not a and _same(a, m)), None)
        b = b or next((member for member in there if member is not a), None)
    return (a, b) if a is not None and b is not None else None


def explained(first: Member, second: Member, *, every: bool = False) -> Explained:
    """Which videos explain the difference of two runs; of a group, its first run.

    Raises:
        VadError: the protocols differ, there is no AUC, or the scores are gone.
    """
    a, b = _evaluations(first, second)
    found = _explain(a.scores_path, a.scores_sha256, b.scores_path, b.scores_sha256)
    rows = found["videos"] if every else found["videos"][:SHOWN]
    largest = max((abs(row["contribution"]) for row in found["videos"]), default=0.0) or 1.0
    total = sum(abs(row["contribution"]) for row in found["videos"]) or 1.0
    return Explained(
        first=found["first"],
        second=found["second"],
        difference=found["difference"],
        count=len(found["videos"]),
        covered=sum(abs(row["contribution"]) for row in rows) / total,
        videos=[
            VideoRow(
                key=row["key"],
                classes=", ".join(row["classes"]) or "normal",
                contribution=row["contribution"],
                as_positive=row["as_positive"],
                as_negative=row["as_negative"],
                bar=100 * row["contribution"] / largest,
                href=viewer_url(_ids(first, second), row["key"]),
            )
            for row in rows
        ],
        classes=sorted(found["classes"], key=lambda row: -abs(row["contribution"])),
    )


def scatter(first: Member, second: Member, by: str) -> charts.Figure:
    """Each test video by its number in two runs.

    Raises:
        VadError: as `explained`.
    """
    a, b = _evaluations(first, second)
    values = [{row["key"]: row for row in video_metrics(store.load(e))} for e in (a, b)]
    points = [
        charts.VideoPoint(
            name=key,
            kind="anomalous" if row["label"] else "normal",
            x=row[by],
            y=values[1][key][by],
            href=viewer_url(_ids(first, second), key),
        )
        for key, row in values[0].items()
        if key in values[1] and row[by] is not None and values[1][key][by] is not None
    ]
    return charts.videos_scatter(
        points,
        title=f"Test videos by their {BY[by]}",
        what=f"{BY[by]}, 0 to 1",
        first=first.run.name,
        second=second.run.name,
    )


def _evaluations(first: Member, second: Member) -> tuple[Evaluation, Evaluation]:
    a, b = first.evaluation, second.evaluation
    if a is None or b is None or a.fingerprint != b.fingerprint:
        raise VadError(
            "evaluation-impossible",
            f"{first.name} and {second.name} were not evaluated under one protocol.",
            "Choose two runs with the same data set version, truth and rules.",
        )
    return a, b


def _ids(*members: Member) -> list[UUID]:
    return [member.run.pk for member in members]


def _same(first: Member, second: Member) -> bool:
    a, b = first.evaluation, second.evaluation
    return a is not None and b is not None and a.fingerprint == b.fingerprint


@lru_cache(maxsize=32)
def _explain(first: Path, _first: str, second: Path, _second: str) -> dict[str, Any]:
    return explain_difference(ScoreSet.load(first), ScoreSet.load(second))
