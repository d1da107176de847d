"""Every threshold of weighted scores at once, and the exact areas under its curves. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vad.evaluation.scores import ScoreSet


@dataclass(frozen=True, eq=False, kw_only=True)
class Sweep:
    """What is flagged at each distinct score, from the highest down.

    Frames with equal scores are flagged together, as scikit-learn does. Counts are whole numbers,
    so areas carry no rounding beyond their last division.

    Args:
        thresholds: [K] float32, falling; flagged is everything with a score at or above it.
        tp, fp: [K] int64, true and false positives at each threshold.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray

    @classmethod
    def over(cls, scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> Sweep:
        """Sort once.

        Args:
            scores: [n]; positives, negatives: [n], how many frames carry each score. Entries
                without any frame make no threshold.
        """
        weight = positives + negatives
        if not weight.all():
            kept = weight > 0
            scores, positives, negatives = scores[kept], positives[kept], negatives[kept]
        order = np.argsort(scores)[::-1]
        scores = scores[order]
        last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # of each group of ties
        return cls(
            thresholds=scores[last],
            tp=np.cumsum(positives[order], dtype=np.int64)[last],
            fp=np.cumsum(negatives[order], dtype=np.int64)[last],
        )

    @classmethod
    def of(cls, scores: ScoreSet) -> Sweep:
        """Over all frames of a score set."""
        return cls.over(scores.scores, scores.positives, scores.negatives)

    @cached_property
    def num_positive(self) -> int:
        return int(self.tp[-1]) if len(self.tp) else 0

    @cached_property
    def num_negative(self) -> int:
        return int(self.fp[-1]) if len(self.fp) else 0

    @cached_property
    def defined(self) -> bool:
        """Both classes are there; without that no curve means anything."""
        return self.num_positive > 0 and self.num_negative > 0

    @cached_property
    def precision(self) -> np.ndarray:
        """[K]; never 0/0, because every threshold flags something."""
        return self.tp / (self.tp + self.fp)

    def auc(self) -> float | None:
        """Area under the ROC curve by trapezoids: a tie between the classes counts half."""
        if not self.defined:
            return None
        width = np.diff(self.fp, prepend=0)
        height = np.diff(self.tp, prepend=0)
        doubled = np.dot(width, 2 * self.tp - height)
        return float(doubled) / (2.0 * self.num_positive * self.num_negative)

    def partial_auc(self, max_fpr: float) -> float | None:
        """Area up to a false-positive rate, scaled so that chance is 0.5 and perfect is 1.

        Source: McClish 1989, as `roc_auc_score(max_fpr=…)` of scikit-learn.
        """
        if not self.defined:
            return None
        fpr = np.concatenate([[0.0], self.fp / self.num_negative])
        tpr = np.concatenate([[0.0], self.tp / self.num_positive])
        return float(scaled_partial_area(fpr, tpr, max_fpr))

    def ap_step(self) -> float | None:
        """Average precision: the sum over thresholds of precision times the rise in recall."""
        if not self.defined:
            return None
        gained = np.diff(self.tp, prepend=0)
        return float(np.dot(gained, self.precision)) / self.num_positive

    def ap_pr_auc(self) -> float | None:
        """Area under the precision-recall points by trapezoids, from recall 0, precision 1.

        Always read beside `ap_step`: straight lines between the points flatter a detector with
        few distinct scores.
        """
        if not self.defined:
            return None
        gained = np.diff(self.tp, prepend=0)
        before = np.concatenate([[1.0], self.precision[:-1]])
        return float(np.dot(gained, self.precision + before)) / (2.0 * self.num_positive)

    def best_f1(self) -> tuple[float, float] | None:
        """The highest F1 of any threshold, and that threshold. Seen the truth: an oracle."""
        if not self.defined:
            return None
        f1 = 2 * self.tp / (self.tp + self.fp + self.num_positive)
        best = int(np.argmax(f1))
        return float(f1[best]), float(self.thresholds[best])

    def best_youden(self) -> tuple[float, float] | None:
        """The highest TPR - FPR of any threshold, and that threshold. Seen the truth: an oracle."""
        if not self.defined:
            return None
        gap = self.tp * self.num_negative - self.fp * self.num_positive
        best = int(np.argmax(gap))  # whole numbers: of equal gaps the highest threshold wins
        whole = self.num_positive * self.num_negative
        return float(gap[best]) / whole, float(self.thresholds[best])


def scaled_partial_area(fpr: np.ndarray, tpr: np.ndarray, max_fpr: float) -> float:
    """McClish's partial area of a ROC polyline [k] that starts at (0, 0) and ends at (1, 1)."""
    stop = int(np.searchsorted(fpr, max_fpr, side="right"))  # at least 1: fpr[0] is 0
    x, y = fpr[:stop], tpr[:stop]
    if stop < len(fpr) and x[-1] < max_fpr:
        share = (max_fpr - x[-1]) / (fpr[stop] - x[-1])
        x = np.append(x, max_fpr)
        y = np.append(y, y[-1] + share * (tpr[stop] - y[-1]))
    area = np.trapezoid(y, x)
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))
