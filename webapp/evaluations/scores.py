"""The web side of the score store: read once, kept while it is looked at."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from vad.data.manifest import load_truth
from vad.errors import VadError
from vad.evaluation import curves
from vad.evaluation.alarms import Alarms, video_alarms
from vad.evaluation.anatomy import anatomy
from vad.evaluation.bootstrap import Band, bands
from vad.evaluation.curves import Curve
from vad.evaluation.scores import ScoreSet, VideoScores
from vad.timeline import mask_intervals
from webapp.evaluations.models import Evaluation

KEPT = 8  # score sets in memory: 70,000 snippets are 1.7 MB
KEPT_CURVES = 512  # thinned curves: 13 kB each
BAND_SAMPLES = 200  # of the bands around curves; the intervals are the evaluation's own


def load(evaluation: Evaluation) -> ScoreSet:
    """All scores of an evaluation.

    Raises:
        VadError: `file-missing` or `scores-invalid`.
    """
    return _load(evaluation.scores_path, evaluation.scores_sha256)


def contributions(evaluation: Evaluation) -> dict[str, float | None]:
    """By video key: the AUC minus the AUC without this video; empty where there is no AUC."""
    return _contributions(evaluation.scores_path, evaluation.scores_sha256)


def truth_of(evaluation: Evaluation, key: str, scores: ScoreSet) -> list[tuple[int, int]]:
    """Anomalous frames [start, end) of a video, from the data set's truth.

    Without its file, from the counts in the score store, where they are exact to a snippet.
    """
    try:
        truth = load_truth(evaluation.version.folder, "test")
        return list(truth[key].intervals) if key in truth else []
    except VadError:
        return list(_counted(scores.video(key)))


def alarms(evaluation: Evaluation, threshold: float) -> dict[str, Alarms]:
    """By video key: its false alarms and misses at a threshold.

    Raises:
        VadError: as `load`.
    """
    return _alarms(
        evaluation.scores_path, evaluation.scores_sha256, evaluation.version.folder, threshold
    )


def band(evaluation: Evaluation, kind: str) -> Band | None:
    """The pointwise 95 % band of its `roc` or `pr` curve; None with too few videos."""
    return _bands(evaluation.scores_path, evaluation.scores_sha256).get(kind)


def roc_points(evaluation: Evaluation, points: int) -> Curve:
    """A thinned ROC curve; `evaluation-impossible` without both kinds of frames."""
    return _roc(evaluation.scores_path, evaluation.scores_sha256, points)


def pr_points(evaluation: Evaluation, points: int) -> Curve:
    """A thinned precision-recall curve; `evaluation-impossible` without both kinds of frames."""
    return _pr(evaluation.scores_path, evaluation.scores_sha256, points)


def operating_point(evaluation: Evaluation, threshold: float) -> dict[str, float | None]:
    """Rates at a threshold; see `vad.evaluation.curves.operating_point`."""
    return _operating(evaluation.scores_path, evaluation.scores_sha256, threshold)


@lru_cache(maxsize=KEPT_CURVES)
def _roc(path: Path, sha256: str, points: int) -> Curve:
    return curves.roc_curve(_load(path, sha256), points)


@lru_cache(maxsize=KEPT_CURVES)
def _pr(path: Path, sha256: str, points: int) -> Curve:
    return curves.pr_curve(_load(path, sha256), points)


@lru_cache(maxsize=KEPT_CURVES)
def _operating(path: Path, sha256: str, threshold: float) -> dict[str, float | None]:
    return curves.operating_point(_load(path, sha256), threshold)


@lru_cache(maxsize=KEPT)
def _bands(path: Path, sha256: str) -> dict[str, Band]:
    return bands(_load(path, sha256), samples=BAND_SAMPLES) or {}


@lru_cache(maxsize=2 * KEPT)
def _alarms(path: Path, sha256: str, folder: Path, threshold: float) -> dict[str, Alarms]:
    scores = _load(path, sha256)
    try:
        truth = {key: known.intervals for key, known in load_truth(folder, "test").items()}
    except VadError:
        truth = {video.key: _counted(video) for video in scores.videos()}
    return {
        video.key: video_alarms(video.scores, video.frames, truth.get(video.key, ()), threshold)
        for video in scores.videos()
    }


def _counted(video: VideoScores) -> tuple[tuple[int, int], ...]:
    """Its anomalous frames as the score store knows them, exact to a snippet."""
    return mask_intervals((video.positives > 0).repeat(video.frames))


@lru_cache(maxsize=KEPT)
def _load(path: Path, _sha256: str) -> ScoreSet:
    return ScoreSet.load(path)


@lru_cache(maxsize=KEPT)
def _contributions(path: Path, sha256: str) -> dict[str, float | None]:
    try:
        rows = anatomy(_load(path, sha256))["videos"]
    except VadError as exc:
        if exc.code != "evaluation-impossible":
            raise
        return {}
    return {row["key"]: row["change"] for row in rows}
