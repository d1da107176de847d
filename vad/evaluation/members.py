"""Runs, or groups of runs that differ in their seed, against each other on the same videos.

A member's value is the mean over its runs, and so is each of its bootstrap samples: a difference of
two groups then says how sure the mean is as far as the test videos go. How much training itself
varies is the deviation over the seeds, a number of its own (`bootstrap.over_seeds`). numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from vad.evaluation.bootstrap import (
    MIN_VIDEOS,
    Band,
    aligned,
    fewest,
    percentile_interval,
    resample,
    sample_metrics,
    two_sided,
)
from vad.evaluation.frame import metrics
from vad.evaluation.ladder import Ladder
from vad.evaluation.scores import ScoreSet


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """A metric of one run, and its values when the test videos are drawn again.

    Args:
        value: over all videos; None where it is not defined.
        samples: [S]; empty with too few videos for an honest interval.
    """

    value: float | None
    samples: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Member `second` minus member `first`, on the same samples of the test videos.

    Args:
        first, second: positions of the members.
        low, high: the 95 % interval; None when there is none.
        p: two-sided, of this pair alone.
        p_holm: the same after Holm's correction for all pairs that were asked for together.
    """

    first: int
    second: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        """Below 5 % after the correction."""
        return self.p_holm is not None and self.p_holm < 0.05

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "significant": self.significant}


def draw(scores: ScoreSet, metric: str, *, samples: int = 1000, seed: int = 0) -> Drawn:
    """A metric with its samples; all runs on the same videos see the same draws.

    The videos are taken in the order of their names, so what one run drew can be kept and compared
    with any other.
    """
    ordered = scores.select(np.argsort(np.array(scores.keys)))
    value = metrics(ordered)[metric]
    if value is None or samples < 1 or fewest(ordered.labels) < MIN_VIDEOS:
        return Drawn(value=value, samples=np.zeros(0))
    counts = resample(ordered.labels, samples, seed)
    return Drawn(value=value, samples=sample_metrics(ordered, counts, [metric])[metric])


def pairwise(members: Sequence[Sequence[Drawn]]) -> list[Pair]:
    """Every pair of members; those without a value are left out.

    Args:
        members: the draws of each one's runs, all of the same metric, samples and seed.
    """
    means = [mean_of(runs) for runs in members]
    found = [
        pair_of(a, b, means[a], means[b])
        for a, b in combinations(range(len(means)), 2)
        if means[a].value is not None and means[b].value is not None
    ]
    return holm(found)


def pair_of(first: int, second: int, a: Drawn, b: Drawn) -> Pair:
    """The difference of two members whose values are defined."""
    assert a.value is not None
    assert b.value is not None
    there = len(a.samples) > 0 and len(a.samples) == len(b.samples)
    drawn = b.samples - a.samples if there else np.zeros(0)
    interval = percentile_interval(drawn) if there else None
    return Pair(
        first=first,
        second=second,
        difference=b.value - a.value,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        p=two_sided(drawn) if interval else None,
    )


def holm(pairs: Sequence[Pair]) -> list[Pair]:
    """With p corrected for how many pairs there are. Source: Holm 1979, step-down."""
    ranked = sorted((pair.p, i) for i, pair in enumerate(pairs) if pair.p is not None)
    found, highest = list(pairs), 0.0
    for place, (p, i) in enumerate(ranked):
        highest = max(highest, min(1.0, (len(ranked) - place) * p))
        found[i] = replace(pairs[i], p_holm=highest)
    return found


def check_same_videos(sets: Sequence[ScoreSet]) -> None:
    """All runs against the first.

    Raises:
        VadError: `evaluation-impossible`, naming what differs.
    """
    for other in sets[1:]:
        aligned(sets[0], other)


def mean_curves(sets: Sequence[ScoreSet], *, points: int = 201) -> dict[str, Band] | None:
    """`roc` (TPR over FPR) and `pr` (precision over recall), averaged at each x over the runs.

    `low` and `high` are one standard deviation (n - 1) around the mean: the spread of training. The
    area under a mean ROC curve is the mean of the areas.

    Returns:
        None for fewer than two runs, or without both kinds of frames.
    """
    fpr, recall = np.linspace(0, 1, points) ** 2, np.linspace(0, 1, points)
    rungs = [Ladder(scores).rungs(np.ones(len(scores))) for scores in sets]
    if len(rungs) < 2 or not all(each.defined for each in rungs):
        return None
    return {
        "roc": _spread(fpr, np.array([each.tpr_at(fpr) for each in rungs])),
        "pr": _spread(recall, np.array([each.precision_at(recall) for each in rungs])),
    }


def mean_of(runs: Sequence[Drawn]) -> Drawn:
    """One member of several runs; undefined if one of them is."""
    values = [run.value for run in runs]
    if not values or None in values:
        return Drawn(value=None, samples=np.zeros(0))
    lengths = {len(run.samples) for run in runs}
    samples = np.mean([run.samples for run in runs], axis=0) if len(lengths) == 1 else np.zeros(0)
    return Drawn(value=float(np.mean([v for v in values if v is not None])), samples=samples)


def _spread(x: np.ndarray, curves: np.ndarray) -> Band:
    mean, deviation = curves.mean(axis=0), curves.std(axis=0, ddof=1)
    return Band(
        x=x, y=mean, low=np.clip(mean - deviation, 0, 1), high=np.clip(mean + deviation, 0, 1)
    )
