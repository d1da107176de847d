"""ROC and PR curves with few enough points to draw, each point with its threshold. numpy only."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad.errors import VadError
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep

MAX_POINTS = 600


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """Points of a ROC or PR curve, from nothing flagged to everything flagged.

    Every point is a real operating point with exact values; thinning leaves points out and moves
    none. The first point flags nothing: its threshold is infinite, its precision 1 by convention.

    Args:
        thresholds, fpr, tpr, precision: [k]; tpr is the recall.
        reduced: points were left out.
    """

    thresholds: np.ndarray
    fpr: np.ndarray
    tpr: np.ndarray
    precision: np.ndarray
    reduced: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the infinite first threshold becomes None."""
        return {
            "thresholds": [t if math.isfinite(t) else None for t in self.thresholds.tolist()],
            "fpr": self.fpr.tolist(),
            "tpr": self.tpr.tolist(),
            "precision": self.precision.tolist(),
            "reduced": self.reduced,
        }


def roc_curve(scores: ScoreSet, max_points: int = MAX_POINTS) -> Curve:
    """Points to draw the frame-level ROC curve with: x is `fpr`, y is `tpr`.

    Raises:
        VadError: `evaluation-impossible` without positive or without negative frames.
    """
    return _thinned(_full(scores), "fpr", "tpr", max_points)


def pr_curve(scores: ScoreSet, max_points: int = MAX_POINTS) -> Curve:
    """Points to draw the frame-level precision-recall curve with: x is `tpr`, y is `precision`.

    Raises:
        VadError: `evaluation-impossible` without positive or without negative frames.
    """
    return _thinned(_full(scores), "tpr", "precision", max_points)


def operating_point(scores: ScoreSet, threshold: float) -> dict[str, float | None]:
    """Rates over all frames when everything at or above `threshold` is flagged, exactly."""
    flagged = scores.scores >= np.float32(threshold)
    positive, negative = int(scores.positives.sum()), int(scores.negatives.sum())
    tp, fp = int(scores.positives[flagged].sum()), int(scores.negatives[flagged].sum())
    f1 = 2 * tp / (tp + fp + positive) if tp + fp + positive else None
    return {
        "threshold": float(threshold),
        "tpr": tp / positive if positive else None,
        "fpr": fp / negative if negative else None,
        "precision": tp / (tp + fp) if tp + fp else None,
        "f1": f1,
    }


def simplify(x: np.ndarray, y: np.ndarray, max_points: int) -> np.ndarray:
    """Positions of the points that carry a polyline's shape, in order.

    Splits the worst stretch first: of all stretches between two kept points, the one with the
    point farthest from its chord gets that point. Corners of the convex hull come early. The idea
    is that of Douglas and Peucker 1973, with a number of points in place of a tolerance.

    Args:
        x, y: [n], in drawing order.
        max_points: at least 2; the first and last points are always kept.
    """
    if len(x) <= max_points:
        return np.arange(len(x))
    kept = {0, len(x) - 1}
    stretches = [_farthest(x, y, 0, len(x) - 1)]
    while len(kept) < max_points:
        gap, first, split, last = heapq.heappop(stretches)
        if gap == 0.0:  # what is left lies on its chord already
            break
        kept.add(split)
        heapq.heappush(stretches, _farthest(x, y, first, split))
        heapq.heappush(stretches, _farthest(x, y, split, last))
    return np.array(sorted(kept))


def _farthest(x: np.ndarray, y: np.ndarray, first: int, last: int) -> tuple[float, int, int, int]:
    """The inner point farthest from the chord, as (-distance, first, point, last)."""
    if last - first < 2:
        return 0.0, first, first, last
    dx, dy = x[last] - x[first], y[last] - y[first]
    px, py = x[first + 1 : last] - x[first], y[first + 1 : last] - y[first]
    length = math.hypot(dx, dy)
    distance = np.abs(px * dy - py * dx) / length if length else np.hypot(px, py)
    split = int(np.argmax(distance))
    return -float(distance[split]), first, first + 1 + split, last


def _full(scores: ScoreSet) -> Curve:
    sweep = Sweep.of(scores)
    if not sweep.defined:
        missing = "positive" if sweep.num_positive == 0 else "negative"
        raise VadError(
            "evaluation-impossible",
            f"There is no curve: the evaluated videos have no {missing} frame.",
            "Evaluate on a split with normal and abnormal frames.",
        )
    return Curve(
        thresholds=np.concatenate([[np.inf], sweep.thresholds]),
        fpr=np.concatenate([[0.0], sweep.fp / sweep.num_negative]),
        tpr=np.concatenate([[0.0], sweep.tp / sweep.num_positive]),
        precision=np.concatenate([[1.0], sweep.precision]),
        reduced=False,
    )


def _thinned(curve: Curve, x: str, y: str, max_points: int) -> Curve:
    kept = simplify(getattr(curve, x), getattr(curve, y), max_points)
    return Curve(
        thresholds=curve.thresholds[kept],
        fpr=curve.fpr[kept],
        tpr=curve.tpr[kept],
        precision=curve.precision[kept],
        reduced=len(kept) < len(curve.fpr),
    )
