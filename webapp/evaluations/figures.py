"""Figures of one or several evaluations, drawn from the stored scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vad.errors import VadError
from vad.evaluation.frame import THRESHOLD
from webapp import charts
from webapp.evaluations import maps
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

MOST_PATCHES = 6  # curves beside those of the runs
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")
POINTS = 400  # a curve of 400 chosen points cannot be told from the whole at any screen size


def roc(evaluation: Evaluation) -> charts.Figure:
    """Its ROC curve with the band, in its run's colour."""
    title = title_of("Frame-level ROC", [evaluation])
    return charts.roc([roc_of(evaluation, with_band=True)], title=title)


def pr(evaluation: Evaluation) -> charts.Figure:
    """Its precision-recall curve with the band, and the chance line."""
    return charts.pr(
        [pr_of(evaluation, with_band=True)],
        title=title_of("Frame-level precision and recall", [evaluation]),
        prevalence=prevalence([evaluation]),
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
    return charts.per_class(
        [class_values(evaluation)],
        title="Frame-level AUC within the videos of each class",
        videos=class_videos(evaluation),
    )


def class_values(evaluation: Evaluation) -> charts.ClassValues:
    """AUC of each class that has one, with its interval."""
    rows = _classes(evaluation)
    return charts.ClassValues(
        name=evaluation.of_run.name,
        values={row["class"]: row["auc"] for row in rows},
        intervals={
            row["class"]: tuple(row["intervals"]["auc"])
            for row in rows
            if (row.get("intervals") or {}).get("auc")
        },
        index=evaluation.of_run.color,
    )


def class_videos(evaluation: Evaluation) -> dict[str, int]:
    """How many videos the AUC of each class is of."""
    return {row["class"]: row["videos"] for row in _classes(evaluation)}


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [row for row in evaluation.per_class if row.get("auc") is not None]


@dataclass(frozen=True, kw_only=True)
class PatchCurve:
    """A patch whose own scores are drawn, too; row and column from 0."""

    evaluation: Evaluation
    row: int
    column: int


def patch_curves(texts: Sequence[str], evaluations: Sequence[Evaluation]) -> list[PatchCurve]:
    """From `RUN.ROW.COLUMN` of an address, id and numbers from 1; what is none is left out."""
    by_id = {str(evaluation.pk): evaluation for evaluation in evaluations}
    found = []
    for text in texts[:MOST_PATCHES]:
        run, row, column = text.split(".") if text.count(".") == 2 else ("", "", "")
        if run in by_id and _NUMBER.fullmatch(row) and _NUMBER.fullmatch(column):
            place = {"row": int(row) - 1, "column": int(column) - 1}
            found.append(PatchCurve(evaluation=by_id[run], **place))
    return found


def timeline(
    evaluations: Sequence[Evaluation], key: str, *, patches: Sequence[PatchCurve] = ()
) -> charts.Figure:
    """The scores of one video over its frames, with the truth. The threshold is the viewer's line.

    A run that did not score the video has no curve. A patch that is not there has none.

    Raises:
        VadError: `not-found`, no evaluation has this video; `file-missing`, `scores-invalid`.
    """
    tracks: list[charts.ScoreTrack] = []
    truth: list[tuple[int, int]] = []
    num_frames = 0
    for evaluation in evaluations:
        scores = store.load(evaluation)
        if key not in scores.index:
            continue
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
    if not tracks:
        raise VadError(
            "not-found",
            f"None of these runs scored the video {key}." if evaluations else "No run is shown.",
            "Choose a video of the list." if evaluations else "Show one with its eye.",
        )
    tracks += [track for patch in patches if (track := _patch_track(patch, key))]
    return charts.score_timeline(
        tracks, title=f"Score of {key}", num_frames=num_frames, truth=truth
    )


def _patch_track(patch: PatchCurve, key: str) -> charts.ScoreTrack | None:
    evaluation = patch.evaluation
    if not evaluation.has_maps:
        return None
    grid = maps.load(evaluation)
    if key not in grid.index or not (patch.row < grid.rows and patch.column < grid.columns):
        return None
    starts, scores = maps.curve(evaluation, key, patch.row * grid.columns + patch.column)
    return charts.ScoreTrack(
        name=f"patch {patch.row + 1},{patch.column + 1} of {evaluation.of_run.name}",
        starts=starts,
        scores=scores,
        index=evaluation.of_run.color,
        of_patch=True,
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
