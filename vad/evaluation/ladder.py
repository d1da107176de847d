"""Precision, recall and false-positive rate under resampled videos, without sorting again.

Between two neighbouring positive scores only false positives rise, so all curves are known once
true and false positives are counted at the distinct positive scores. numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vad.evaluation.scores import ScoreSet


@dataclass(frozen=True, eq=False, kw_only=True)
class Rungs:
    """Counts at the K distinct positive scores, from the highest down, under one sample.

    Args:
        tp: [K] positive frames at or above the rung.
        fp: [K] negative frames at or above it.
        fp_above: [K] negative frames strictly above it.
        num_positive, num_negative: all frames of the sample.
    """

    tp: np.ndarray
    fp: np.ndarray
    fp_above: np.ndarray
    num_positive: float
    num_negative: float

    @property
    def defined(self) -> bool:
        return self.num_positive > 0 and self.num_negative > 0

    def ap_step(self) -> float:
        """Average precision in steps."""
        gained = np.diff(self.tp, prepend=0.0)
        return float(np.dot(gained, self._precision())) / self.num_positive

    def ap_pr_auc(self) -> float:
        """Area under the precision-recall points by trapezoids."""
        gained = np.diff(self.tp, prepend=0.0)
        before = self.tp - gained
        flagged = before + self.fp_above
        # the point before a rung; before anything is flagged the precision is 1 by convention
        precision = np.divide(before, flagged, out=np.ones_like(before), where=flagged > 0)
        total = np.dot(gained, self._precision() + precision)
        return float(total) / (2 * self.num_positive)

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """FPR and TPR of the polyline's corners, [2K+2] each, from (0, 0) to (1, 1)."""
        size = 2 * len(self.tp) + 2
        fp, tp = np.empty(size), np.empty(size)
        fp[0] = tp[0] = 0.0
        fp[1:-1:2], fp[2:-1:2], fp[-1] = self.fp_above, self.fp, self.num_negative
        tp[1] = 0.0
        tp[3:-1:2], tp[2:-1:2], tp[-1] = self.tp[:-1], self.tp, self.num_positive
        return fp / self.num_negative, tp / self.num_positive

    def tpr_at(self, fpr: np.ndarray) -> np.ndarray:
        """[k] TPR of the ROC polyline at rising rates; at a vertical rise its upper end."""
        x, y = self.roc()
        left = np.searchsorted(x, fpr, side="right") - 1
        right = np.minimum(left + 1, len(x) - 1)
        width = x[right] - x[left]
        share = np.divide(fpr - x[left], width, out=np.zeros(len(fpr)), where=width > 0)
        return y[left] + share * (y[right] - y[left])

    def precision_at(self, recall: np.ndarray) -> np.ndarray:
        """[k] precision at the highest threshold that reaches each recall."""
        reach = np.searchsorted(self.tp, recall * self.num_positive * (1 - 1e-12), side="left")
        # a sample may lack the videos of the first rungs: start where something is found
        first = np.searchsorted(self.tp, 0.0, side="right")
        at = np.clip(reach, first, len(self.tp) - 1)
        return self._precision()[at]

    def _precision(self) -> np.ndarray:
        flagged = self.tp + self.fp
        return np.divide(self.tp, flagged, out=np.zeros_like(self.tp), where=flagged > 0)


class Ladder:
    """The order of a score set's snippets, made once; then counts for any video multiplicities."""

    def __init__(self, scores: ScoreSet) -> None:
        positive, negative = np.flatnonzero(scores.positives), np.flatnonzero(scores.negatives)
        levels, level = np.unique(scores.scores[positive], return_inverse=True)
        size = len(levels)
        values = scores.scores[negative]
        self._rungs = size
        self._tp = (size - 1 - level, scores.video_of[positive], scores.positives[positive] * 1.0)
        upto = np.searchsorted(levels, values, side="right")
        self._fp = (size - upto, scores.video_of[negative], scores.negatives[negative] * 1.0)
        tied = np.searchsorted(levels, values, side="left") < upto
        self._tied = (self._fp[0][tied], self._fp[1][tied], self._fp[2][tied])

    def rungs(self, counts: np.ndarray) -> Rungs:
        """Counts when video v is there counts[v] times.

        Args:
            counts: [V] float64.
        """
        tp = np.cumsum(self._count(self._tp, counts))
        fp = np.cumsum(self._count(self._fp, counts))
        tied = self._count(self._tied, counts)
        return Rungs(
            tp=tp[:-1],
            fp=fp[:-1],
            fp_above=fp[:-1] - tied[:-1],
            num_positive=float(tp[-1]),
            num_negative=float(fp[-1]),
        )

    def _count(
        self, rows: tuple[np.ndarray, np.ndarray, np.ndarray], counts: np.ndarray
    ) -> np.ndarray:
        """[K+1] frames per rung; the last cell is what lies below every rung."""
        rung, video, weight = rows
        return np.bincount(rung, weights=weight * counts[video], minlength=self._rungs + 1)
