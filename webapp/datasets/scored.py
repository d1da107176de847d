"""What runs score on the videos of a version: which there are, and the numbers of each video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vad.evaluation.frame import video_metrics
from vad.evaluation.scores import ScoreSet, VideoScores
from webapp.accounts.models import User
from webapp.core.query import uuids
from webapp.datasets.models import DatasetVersion
from webapp.evaluations.models import Evaluation


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Of one video, under one evaluation.

    Args:
        auc: of its own frames; None where they are all of one kind.
        error: mean distance of the score from the truth over its frames, 0 to 1. Unlike the AUC it
            is there for normal videos, too, where it is the mean score.
        peak_frame: in the middle of the snippet with the highest score, the first of equal ones.
    """

    max_score: float
    mean_score: float
    auc: float | None
    error: float
    peak_frame: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "max_score": self.max_score,
            "mean_score": self.mean_score,
            "auc": self.auc,
            "error": self.error,
            "peak_frame": self.peak_frame,
        }


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of an evaluation, and the numbers of its videos by their keys."""

    evaluation: Evaluation
    scores: ScoreSet
    numbers: Mapping[str, Numbers]

    def of(self, key: str) -> VideoScores | None:
        return self.scores.video(key) if key in self.numbers else None


def evaluations(version: DatasetVersion, user: User) -> list[Evaluation]:
    """The evaluations on a version that a person may see, the newest first."""
    found = Evaluation.objects.visible_to(user).filter(version=version)
    found = found.select_related("of_run").defer("patch", "stages", "per_class", "protocol")
    return list(found.order_by("-created_at"))


def chosen(text: str, among: list[Evaluation]) -> Evaluation | None:
    """The one that an address names, by its own run or by the run that it is of: the newest."""
    wanted = uuids([text])[:1]
    return next((e for e in among if e.pk in wanted or e.of_run_id in wanted), None)


def load(evaluation: Evaluation) -> Scored:
    """Its scores, read once and kept.

    Raises:
        VadError: `file-missing` or `scores-invalid`.
    """
    return Scored(evaluation, *_loaded(evaluation.scores_path, evaluation.scores_sha256))


@lru_cache(maxsize=8)
def _loaded(path: Path, _sha256: str) -> tuple[ScoreSet, Mapping[str, Numbers]]:
    scores = ScoreSet.load(path)
    rows = zip(video_metrics(scores), scores.videos(), strict=True)
    return scores, {row["key"]: _of_video(row, video) for row, video in rows}


def _of_video(row: Mapping[str, Any], video: VideoScores) -> Numbers:
    positive, frames = row["positive_frames"], row["frames"]
    off = (frames - positive) * (row["mean_negative"] or 0.0)
    off += positive * (1.0 - (row["mean_positive"] or 0.0)) if positive else 0.0
    top = int(video.scores.argmax())
    return Numbers(
        max_score=row["max_score"],
        mean_score=row["mean_score"] or 0.0,
        auc=row["auc"],
        error=off / frames if frames else 0.0,
        peak_frame=int(video.start_frames[top] + video.frames[top] // 2),
    )
