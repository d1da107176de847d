"""How sure a number is: resampling the test videos. numpy only.

The frames of a video stand or fall together, so videos are drawn, not frames: with replacement,
normal and abnormal ones separately, as many of each as there are. Percentile intervals of level
95 %. All metrics of one call, and both runs of a paired test, see the same samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad.errors import VadError
from vad.evaluation.frame import THRESHOLD, metrics
from vad.evaluation.ladder import Ladder, Rungs
from vad.evaluation.pairs import PairMatrix, video_pairs
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import scaled_partial_area

LEVEL = 0.95
MIN_VIDEOS = 5  # of a label: resampling fewer shows hardly any of the real variation
MAX_UNDEFINED = 0.05  # of the samples; with more, what is left would be a biased choice

INTERVAL_METRICS = (
    "auc", "ap_step", "ap_pr_auc",
    "auc_abnormal", "ap_step_abnormal", "ap_pr_auc_abnormal",
    "auc_macro", "auc_fpr_01", "auc_fpr_10",
    "far_normal", "video_auc", "video_accuracy",
)  # fmt: skip

_ON_RUNGS: dict[str, Callable[[Rungs], float]] = {
    "ap_step": Rungs.ap_step,
    "ap_pr_auc": Rungs.ap_pr_auc,
    "auc_fpr_01": lambda rungs: scaled_partial_area(*rungs.roc(), 0.01),
    "auc_fpr_10": lambda rungs: scaled_partial_area(*rungs.roc(), 0.10),
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired comparison of two runs, `second - first`.

    Args:
        low, high: the 95 % interval of the difference; None when it is not defined.
        p: two-sided; how easily resampling turns the sign of the difference around.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None

    @property
    def significant(self) -> bool:
        """The interval leaves out zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def to_dict(self) -> dict[str, Any]:
        names = ("metric", "first", "second", "difference", "low", "high", "p", "significant")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False, kw_only=True)
class Band:
    """A curve with its pointwise 95 % band: [k] each."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def to_dict(self) -> dict[str, list[float]]:
        return {name: getattr(self, name).tolist() for name in ("x", "y", "low", "high")}


def resample(labels: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """How often each video is drawn: [S, V] float64, whole numbers; the same for the same seed.

    Args:
        labels: [V]; each label keeps its number of videos in every sample.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros((samples, len(labels)))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        even = np.full(len(members), 1 / len(members))
        counts[:, members] = rng.multinomial(len(members), even, size=samples)
    return counts


def sample_metrics(
    scores: ScoreSet, counts: np.ndarray, names: Sequence[str] = INTERVAL_METRICS
) -> dict[str, np.ndarray]:
    """Metrics when video v is there counts[s, v] times: exact, not approximated.

    Args:
        counts: [S, V], whole numbers.
        names: of `INTERVAL_METRICS`.

    Returns:
        name to [S] float64, NaN where a metric is not defined.
    """
    counts = np.asarray(counts, dtype=np.float64)
    abnormal = scores.labels == 1
    found: dict[str, np.ndarray] = {}
    if {"auc", "auc_abnormal", "auc_macro"} & set(names):
        pairs = PairMatrix.of(scores)
        found["auc"] = pairs.aucs(counts)
        found["auc_abnormal"] = pairs.select(abnormal).aucs(counts[:, abnormal])
        found["auc_macro"] = _macro(pairs, counts)
    found |= _rung_metrics(scores, counts, [n for n in names if n in _ON_RUNGS])
    inner = [n.removesuffix("_abnormal") for n in names if n.endswith("_abnormal")]
    if any(n in _ON_RUNGS for n in inner):
        part = _rung_metrics(
            scores.select(abnormal), counts[:, abnormal], [n for n in inner if n in _ON_RUNGS]
        )
        found |= {f"{name}_abnormal": values for name, values in part.items()}
    if "far_normal" in names:
        frames = scores.frames * ~abnormal[scores.video_of]
        alarms = scores.per_video(frames * (scores.scores > THRESHOLD))
        found["far_normal"] = _ratios(counts @ alarms, counts @ scores.per_video(frames))
    if "video_auc" in names:
        found["video_auc"] = video_pairs(scores).aucs(counts)
    if "video_accuracy" in names:
        right = (scores.max_scores > THRESHOLD) == abnormal
        found["video_accuracy"] = _ratios(counts @ right, counts.sum(axis=1))
    return {name: found[name] for name in names}


def intervals(
    scores: ScoreSet,
    *,
    samples: int = 1000,
    seed: int = 0,
    names: Sequence[str] = INTERVAL_METRICS,
) -> dict[str, list[float] | None]:
    """The 95 % interval [low, high] of each metric, None where there is no honest one.

    None when a label has fewer than `MIN_VIDEOS` videos, or more than `MAX_UNDEFINED` of the
    samples leave the metric undefined.
    """
    if samples < 1 or fewest(scores.labels) < MIN_VIDEOS:
        return dict.fromkeys(names)
    drawn = sample_metrics(scores, resample(scores.labels, samples, seed), names)
    return {name: percentile_interval(values) for name, values in drawn.items()}


def class_intervals(
    scores: ScoreSet, *, samples: int = 1000, seed: int = 0
) -> dict[str, dict[str, list[float] | None]]:
    """For each class the intervals of `auc` and `auc_with_normal`.

    The class's videos are drawn among themselves, so that no sample is without them. A class of
    fewer than `MIN_VIDEOS` videos gets None, and most data sets have such classes.
    """
    pairs, normal = PairMatrix.of(scores), scores.labels == 0
    found: dict[str, dict[str, list[float] | None]] = {}
    for name in scores.class_names:
        members = scores.has_class(name) & ~normal
        row: dict[str, list[float] | None] = {}
        for key, chosen in {"auc": members, "auc_with_normal": members | normal}.items():
            labels = scores.labels[chosen]
            row[key] = None
            if samples >= 1 and fewest(labels) >= MIN_VIDEOS:
                counts = resample(labels, samples, seed)
                row[key] = percentile_interval(pairs.select(chosen).aucs(counts))
        found[name] = row
    return found


def paired(
    first: ScoreSet,
    second: ScoreSet,
    *,
    samples: int = 1000,
    seed: int = 0,
    names: Sequence[str] = INTERVAL_METRICS,
) -> dict[str, Difference | None]:
    """Compare two runs on the same videos, `second - first`, resampling both alike.

    Much of what makes a sample hard or easy is common to both runs and cancels, so a difference
    can be certain although the two intervals overlap.

    Returns:
        name to Difference, or None where a metric is not defined.

    Raises:
        VadError: `evaluation-impossible`, the runs were not evaluated on the same frames.
    """
    second = aligned(first, second)
    value_a, value_b = metrics(first), metrics(second)
    enough = samples >= 1 and fewest(first.labels) >= MIN_VIDEOS
    drawn: dict[str, np.ndarray] = {}
    if enough:
        counts = resample(first.labels, samples, seed)
        a, b = sample_metrics(first, counts, names), sample_metrics(second, counts, names)
        drawn = {name: b[name] - a[name] for name in names}
    return {
        name: difference_of(name, value_a[name], value_b[name], drawn.get(name)) for name in names
    }


def difference_of(
    metric: str, first: float | None, second: float | None, drawn: np.ndarray | None
) -> Difference | None:
    """`second - first` with interval and p; None where either is not defined.

    Args:
        drawn: [S], the difference in each sample; None without samples.
    """
    if first is None or second is None:
        return None
    interval = None if drawn is None else percentile_interval(drawn)
    return Difference(
        metric=metric,
        first=first,
        second=second,
        difference=second - first,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        p=two_sided(drawn) if interval and drawn is not None else None,
    )


def bands(
    scores: ScoreSet, *, samples: int = 1000, seed: int = 0, points: int = 201
) -> dict[str, Band] | None:
    """Pointwise bands: `roc` (TPR over FPR) and `pr` (precision over recall).

    The ROC grid is denser towards low false-positive rates, where curves are steep. None under
    the same conditions as in `intervals`.
    """
    ladder = Ladder(scores)
    whole = ladder.rungs(np.ones(len(scores)))
    if samples < 1 or fewest(scores.labels) < MIN_VIDEOS or not whole.defined:
        return None
    fpr, recall = np.linspace(0, 1, points) ** 2, np.linspace(0, 1, points)
    drawn = [ladder.rungs(counts) for counts in resample(scores.labels, samples, seed)]
    drawn = [rungs for rungs in drawn if rungs.defined]
    if len(drawn) < (1 - MAX_UNDEFINED) * samples:
        return None
    roc = np.array([rungs.tpr_at(fpr) for rungs in drawn])
    pr = np.array([rungs.precision_at(recall) for rungs in drawn])
    return {
        "roc": _band(fpr, whole.tpr_at(fpr), roc),
        "pr": _band(recall, whole.precision_at(recall), pr),
    }


def aligned(first: ScoreSet, second: ScoreSet) -> ScoreSet:
    """`second` in the video order of `first`; snippets may differ, frames and truth may not.

    Raises:
        VadError: `evaluation-impossible`, naming the videos that differ.
    """
    problems = [f"{k}: only in the first run" for k in first.keys if k not in second.index]
    problems += [f"{k}: only in the second run" for k in second.keys if k not in first.index]
    if not problems:
        second = second.select(np.array([second.index[key] for key in first.keys]))
        for what, a, b in (
            ("label", first.labels, second.labels),
            ("frames", first.per_video(first.frames), second.per_video(second.frames)),
            (
                "positive frames",
                first.per_video(first.positives),
                second.per_video(second.positives),
            ),
        ):
            problems += [
                f"{first.keys[v]}: {what} {a[v]} in the first run, {b[v]} in the second"
                for v in np.flatnonzero(a != b)
            ]
    require_same("frames", problems)
    return second


def require_same(what: str, problems: Sequence[str]) -> None:
    """Refuse to compare two runs that were evaluated on different things.

    Args:
        what: which of them, in the plural.
        problems: each a difference; none: they are the same.

    Raises:
        VadError: `evaluation-impossible`.
    """
    if not problems:
        return
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    raise VadError(
        "evaluation-impossible",
        f"The two runs were not evaluated on the same {what}: {problems[0]}{more}.",
        "Evaluate both runs on the same data set version with the same protocol.",
        problems=problems,
    )


def over_seeds(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, standard deviation (n - 1) and n of one metric over runs that differ in their seed.

    This is the spread of training, not of the test videos; the deviation of one run is None.
    """
    n = len(values)
    return {
        "n": n,
        "mean": float(np.mean(values)) if n else None,
        "deviation": float(np.std(values, ddof=1)) if n > 1 else None,
    }


def _rung_metrics(
    scores: ScoreSet, counts: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    found = {name: np.full(len(counts), np.nan) for name in names}
    if not names or not len(scores):
        return found
    ladder = Ladder(scores)
    for s, row in enumerate(counts):
        rungs = ladder.rungs(row)
        if rungs.defined:
            for name in names:
                found[name][s] = _ON_RUNGS[name](rungs)
    return found


def _macro(pairs: PairMatrix, counts: np.ndarray) -> np.ndarray:
    own = pairs.positives * pairs.negatives
    defined = own > 0
    values = np.divide(np.diag(pairs.wins), own, out=np.zeros(len(own)), where=defined)
    return _ratios(counts @ values, counts @ defined)


def _ratios(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def fewest(labels: np.ndarray) -> int:
    """Videos of the rarer label among those that occur."""
    return int(np.unique(labels, return_counts=True)[1].min()) if len(labels) else 0


def percentile_interval(values: np.ndarray) -> list[float] | None:
    """[low, high] of drawn values [S]; None when more than `MAX_UNDEFINED` of them are NaN."""
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - MAX_UNDEFINED) * len(values):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def two_sided(differences: np.ndarray) -> float:
    """Twice the share of samples on the rarer side of zero, zero itself on both; never 0."""
    defined = differences[np.isfinite(differences)]
    side = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (1 + side) / (1 + len(defined))))


def _band(x: np.ndarray, y: np.ndarray, drawn: np.ndarray) -> Band:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Band(x=x, y=y, low=low, high=high)
