"""Figures of one or several evaluations, drawn from the stored scores."""

from __future__ import annotations

from collections.abc import Sequence

from vad.errors import VadError
from vad.evaluation.frame import THRESHOLD
from webapp import charts
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

POINTS = 400  # a curve of 400 chosen points cannot be told from the whole at any screen size


def roc(evaluations: Sequence[Evaluation], *, with_band: bool = False) -> charts.Figure:
    """ROC curves of one or several evaluations, each in its run's colour."""
    found = [roc_of(evaluation, with_band=with_band) for evaluation in evaluations]
    return charts.roc(found, title=title_of("Frame-level ROC", evaluations))


def pr(evaluations: Sequence[Evaluation], *, with_band: bool = False) -> charts.Figure:
    """Precision-recall curves; the chance line is drawn when all share one share of positives."""
    return charts.pr(
        [pr_of(evaluation, with_band=with_band) for evaluation in evaluations],
        title=title_of("Frame-level precision and recall", evaluations),
        prevalence=prevalence(evaluations),
    )


def roc_of(
    evaluation: Evaluation, *, with_band: bool = False, points: int = POINTS
) -> charts.Curve:
    """One evaluation's ROC curve, with the operating point at the fixed threshold."""
    drawn = store.roc_points(evaluation, points)
    at = store.operating_point(evaluation, THRESHOLD)
    low, high = _interval(evaluation, "auc")
    return charts.Curve(
        name=evaluation.of_run.name,
        key=str(evaluation.of_run_id),
        x=drawn.fpr.tolist(),
        y=drawn.tpr.tolist(),
        thresholds=drawn.thresholds.tolist(),  # the infinite first one becomes null on its way
        other=drawn.precision.tolist(),
        value=evaluation.metrics.get("auc"),
        low=low,
        high=high,
        point=_ring(at["fpr"], at["tpr"]),
        band=_band(evaluation, "roc") if with_band else None,
        index=evaluation.of_run.color,
    )


def pr_of(evaluation: Evaluation, *, with_band: bool = False, points: int = POINTS) -> charts.Curve:
    """One evaluation's precision-recall curve, with the operating point."""
    drawn = store.pr_points(evaluation, points)
    at = store.operating_point(evaluation, THRESHOLD)
    low, high = _interval(evaluation, "ap_step")
    return charts.Curve(
        name=evaluation.of_run.name,
        key=str(evaluation.of_run_id),
        x=drawn.tpr.tolist(),
        y=drawn.precision.tolist(),
        thresholds=drawn.thresholds.tolist(),
        other=drawn.fpr.tolist(),
        value=evaluation.metrics.get("ap_step"),
        low=low,
        high=high,
        point=_ring(at["tpr"], at["precision"]),
        band=_band(evaluation, "pr") if with_band else None,
        index=evaluation.of_run.color,
    )


def prevalence(evaluations: Sequence[Evaluation]) -> float | None:
    """The share of anomalous frames, when it is one for all of them."""
    shares = {
        round(e.counts["positive_frames"] / e.counts["frames"], 6)
        for e in evaluations
        if e.counts.get("frames")
    }
    return shares.pop() if len(shares) == 1 else None


def by_class(evaluation: Evaluation) -> charts.Figure:
    """AUC of each class's own videos."""
    rows = [row for row in evaluation.per_class if row.get("auc") is not None]
    return charts.per_class(
        [
            charts.ClassValues(
                name=evaluation.of_run.name,
                values={row["class"]: row["auc"] for row in rows},
                intervals={
                    row["class"]: tuple(row["intervals"]["auc"])
                    for row in rows
                    if (row.get("intervals") or {}).get("auc")
                },
                index=evaluation.of_run.color,
            )
        ],
        title="Frame-level AUC within the videos of each class",
        videos={row["class"]: row["videos"] for row in rows},
    )


def timeline(evaluations: Sequence[Evaluation], key: str) -> charts.Figure:
    """The scores of one video over its frames, with the truth.

    Raises:
        VadError: `not-found`, an evaluation does not have this video.
    """
    tracks: list[charts.ScoreTrack] = []
    truth: list[tuple[int, int]] = []
    num_frames = 0
    for evaluation in evaluations:
        scores = store.load(evaluation)
        if key not in scores.index:
            raise VadError(
                "not-found",
                f"{evaluation} has no video {key}.",
                "Choose a video of its list.",
            )
        video = scores.video(key)
        tracks.append(
            charts.ScoreTrack(
                name=evaluation.of_run.name,
                starts=video.start_frames.tolist(),
                scores=video.scores.tolist(),
                index=evaluation.of_run.color,
            )
        )
        truth = truth or store.truth_of(evaluation, key, scores)
        num_frames = max(num_frames, video.num_frames)
    return charts.score_timeline(
        tracks, title=f"Score of {key}", num_frames=num_frames, truth=truth, threshold=THRESHOLD
    )


def title_of(what: str, evaluations: Sequence[Evaluation]) -> str:
    """'Frame-level ROC, UCF-Crime v1 test, 290 videos', as far as it holds for all of them."""
    sets = {str(e.version) for e in evaluations}
    videos = {e.counts.get("videos") for e in evaluations}
    parts = [what]
    if len(sets) == 1:
        parts.append(f"{sets.pop()} test")
        if len(videos) == 1:
            parts.append(f"{videos.pop():,} videos")
    return ", ".join(parts)


def _interval(evaluation: Evaluation, name: str) -> tuple[float | None, float | None]:
    low, high = evaluation.intervals.get(name) or (None, None)
    return low, high


def _ring(x: float | None, y: float | None) -> charts.OperatingPoint | None:
    if x is None or y is None:
        return None
    return charts.OperatingPoint(x=x, y=y, threshold=THRESHOLD)


def _band(evaluation: Evaluation, kind: str) -> charts.Band | None:
    found = store.band(evaluation, kind)
    if found is None:
        return None
    return charts.Band(**{k: getattr(found, k).tolist() for k in ("x", "low", "high")})
