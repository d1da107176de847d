"""How sure patch-level numbers are: 95 % intervals over videos, as in `bootstrap`. numpy only.

A draw only changes how often each video counts. So what each video adds at each score is put into
matrices once, and all draws together are a few matrix products. With more distinct scores of
positives than `MAX_LEVELS`, neighbouring ones share a level: with 290 videos of 240 snippets that
moved AP by 0.0001 and the other areas by less than 0.00001, where the intervals were 0.01 to 0.03
wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vad.evaluation.bootstrap import (
    MIN_VIDEOS,
    Difference,
    difference_of,
    fewest,
    percentile_interval,
    require_same,
    resample,
)
from vad.evaluation.patch import Limits, match_patch_regions, patch_metrics, tiou
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.regions import Matches

PATCH_INTERVAL_METRICS = (
    "patch_auc", "patch_ap_step", "patch_ap_pr_auc",
    "patch_auc_ungated", "patch_ap_step_ungated", "patch_ap_pr_auc_ungated",
    "tiou", "rbdc", "tbdc",
)  # fmt: skip
MAX_LEVELS = 4096
KEPT_SAMPLES = 500  # of an evaluation, so that it can be paired with any other without its maps
_KEPT_SEED = 0  # the same for every run, whatever seed its intervals have
_KEPT_DIGITS = 7
_CELLS = 1 << 20  # of a block of draws: 8 MB a table


def patch_intervals(
    patches: PatchSet, *, samples: int = 1000, seed: int = 0
) -> dict[str, list[float] | None]:
    """The 95 % interval [low, high] of each metric, None where there is no honest one.

    Under the same conditions as `bootstrap.intervals`, and with the same draws.
    """
    return intervals_and_draws(patches, samples=samples, seed=seed, kept=0)[0]


def intervals_and_draws(
    patches: PatchSet, *, samples: int, seed: int, kept: int = KEPT_SAMPLES
) -> tuple[dict[str, list[float] | None], dict[str, list[float | None]]]:
    """`patch_intervals`, and draws to keep: any two runs of one patch protocol are paired by them.

    The kept draws take the videos in the order of their names and have a seed of their own, as
    `members.draw` does with frames. Preparing the maps is most of the work, so both are made in
    one go.

    Args:
        samples, seed: of the intervals.
        kept: how many draws to keep.

    Returns:
        The intervals; and name to [kept] values, None where a metric is not defined. Without
        samples, or with too few videos, nothing is drawn and no draws are kept.
    """
    labels = np.array([v.video.label for v in patches.videos])
    if samples < 1 or fewest(labels) < MIN_VIDEOS:
        return dict.fromkeys(PATCH_INTERVAL_METRICS), {}
    order = np.argsort(np.array([v.video.key for v in patches.videos]))
    by_name = np.empty((kept, len(labels)))
    by_name[:, order] = resample(labels[order], kept, _KEPT_SEED)
    counts = np.concatenate([resample(labels, samples, seed), by_name])
    drawn = sample_patch_metrics(patches, counts)
    found = {name: percentile_interval(values[:samples]) for name, values in drawn.items()}
    return found, {name: _plain(values[samples:]) for name, values in drawn.items() if kept}


def paired_patches(
    first: PatchSet, second: PatchSet, *, samples: int = 1000, seed: int = 0
) -> dict[str, Difference | None]:
    """Compare the patch metrics of two runs, `second - first`, resampling the videos of both alike.

    As `bootstrap.paired`, and with the same draws.

    Returns:
        name of `PATCH_INTERVAL_METRICS` to Difference, or None where a metric is not defined.

    Raises:
        VadError: `evaluation-impossible`, the runs have other videos, grids or places of anomalies.
    """
    second = aligned_patches(first, second)
    before, after = patch_metrics(first), patch_metrics(second)
    labels = np.array([v.video.label for v in first.videos])
    drawn: dict[str, np.ndarray] = {}
    if samples >= 1 and fewest(labels) >= MIN_VIDEOS:
        counts = resample(labels, samples, seed)
        a, b = sample_patch_metrics(first, counts), sample_patch_metrics(second, counts)
        drawn = {name: b[name] - a[name] for name in PATCH_INTERVAL_METRICS}
    return {
        name: difference_of(name, before[name], after[name], drawn.get(name))
        for name in PATCH_INTERVAL_METRICS
    }


def aligned_patches(first: PatchSet, second: PatchSet) -> PatchSet:
    """`second` in the video order of `first`; maps may differ in number, the truth may not.

    Raises:
        VadError: `evaluation-impossible`, naming the videos that differ.
    """
    others = {v.video.key: v for v in second.videos}
    keys = {v.video.key for v in first.videos}
    problems = [f"{key}: only in the second run" for key in others if key not in keys]
    if first.rule != second.rule:
        problems.append(f"patches were marked by {first.rule} and by {second.rule}")
    for video in first.videos:
        other = others.get(video.video.key)
        if other is None:
            problems.append(f"{video.video.key}: only in the first run")
        elif not _same_truth(video, other):
            problems.append(f"{video.video.key}: label, frames or places of anomalies differ")
    require_same("patches", problems)
    return PatchSet(videos=tuple(others[v.video.key] for v in first.videos))


def _same_truth(a: PatchVideo, b: PatchVideo) -> bool:
    return (
        a.video.label == b.video.label
        and a.tracks == b.tracks
        and np.array_equal(a.truth.bounds, b.truth.bounds)
        and np.array_equal(a.truth.masks, b.truth.masks)
        and np.array_equal(a.truth.located, b.truth.located)
    )


def sample_patch_metrics(patches: PatchSet, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics when video v is there counts[s, v] times.

    Args:
        counts: [S, V], whole numbers.

    Returns:
        name of `PATCH_INTERVAL_METRICS` to [S] float64, NaN where a metric is not defined.
    """
    counts = np.asarray(counts, dtype=np.float64)
    found = {
        **_areas(Levels.of_patches(patches, gated=True), counts, ""),
        **_areas(Levels.of_patches(patches, gated=False), counts, "_ungated"),
        "tiou": _tiou(patches, counts),
        **_regions(match_patch_regions(patches), patches, counts),
    }
    return {name: found[name] for name in PATCH_INTERVAL_METRICS}


@dataclass(frozen=True, eq=False, kw_only=True)
class Levels:
    """What each video adds at K levels of score, from the highest down.

    Args:
        gained: [V, K] positives at the level.
        false: [V, K] negatives at it or above.
        tied: [V, K] negatives at it.
        positives, negatives: [V], all of them, those below every level included.
    """

    gained: np.ndarray
    false: np.ndarray
    tied: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(
        cls,
        num_videos: int,
        positives: tuple[np.ndarray, np.ndarray, np.ndarray],
        negatives: tuple[np.ndarray, np.ndarray, np.ndarray],
        *,
        limit: int = MAX_LEVELS,
    ) -> Levels:
        """From rows of video, score and weight, [n] each.

        Args:
            positives: a score of minus infinity is at no level.
            limit: of levels; scores of positives are put together, equally many a level.
        """
        video, score, weight = positives
        at_some = np.isfinite(score)
        distinct, level = np.unique(score[at_some], return_inverse=True)
        first = np.arange(len(distinct))  # of the distinct scores, the lowest of each level
        if len(distinct) > limit:
            share = np.cumsum(np.bincount(level, weights=weight[at_some]))
            first = np.unique(np.searchsorted(share, np.arange(limit) * (share[-1] / limit)))
        lowest, highest = distinct[first], distinct[np.append(first, len(distinct))[1:] - 1]
        size = len(lowest)
        own = size - np.searchsorted(lowest, score[at_some], side="right")
        gained = _table(num_videos, size, video[at_some], own, weight[at_some])
        other, value, amount = negatives
        reached = np.searchsorted(lowest, value, side="right")
        some = reached > 0
        place = size - reached[some]
        reaches = _table(num_videos, size, other[some], place, amount[some])
        equal = value[some] <= highest[reached[some] - 1]
        return cls(
            gained=gained,
            false=np.cumsum(reaches, axis=1),
            tied=_table(num_videos, size, other[some][equal], place[equal], amount[some][equal]),
            positives=np.bincount(video, weights=weight, minlength=num_videos),
            negatives=np.bincount(other, weights=amount, minlength=num_videos),
        )

    @classmethod
    def of_patches(cls, patches: PatchSet, *, gated: bool, limit: int = MAX_LEVELS) -> Levels:
        """Over all patches of all frames."""
        rows: tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]]] = ([], [])
        for v, video in enumerate(patches.videos):
            scores = (video.gated if gated else video.maps).astype(np.float64)
            for kind, amount in zip(rows, video.counts(), strict=True):
                some = amount > 0
                values = scores[some]
                kind.append((np.full(len(values), v), values, amount[some].astype(np.float64)))
        positives, negatives = (
            tuple(np.concatenate(column) for column in zip(*kind, strict=True)) for kind in rows
        )
        return cls.of(len(patches.videos), positives, negatives, limit=limit)  # type: ignore[arg-type]

    def draws(self, counts: np.ndarray) -> Iterator[tuple[slice, Rates]]:
        """The rates of all draws [S, V], a block of draws at a time."""
        step = max(1, _CELLS // max(1, self.gained.shape[1]))
        has = np.flatnonzero(self.positives)
        for first in range(0, len(counts), step):
            block = counts[first : first + step]
            gained = block[:, has] @ self.gained[has]
            false = block @ self.false
            yield (
                slice(first, first + len(block)),
                Rates(
                    gained=gained,
                    found=np.cumsum(gained, axis=1),
                    false=false,
                    false_above=false - block @ self.tied,
                    positives=block @ self.positives,
                    negatives=block @ self.negatives,
                ),
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Rates:
    """Counts of B draws at K levels, [B, K], and in all, [B]."""

    gained: np.ndarray
    found: np.ndarray
    false: np.ndarray
    false_above: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def areas(self) -> Mapping[str, np.ndarray]:
        """AUC, AP in steps and by trapezoids, as `Sweep` has them; [B], NaN where undefined."""
        below = self.negatives[:, None] - (self.false + self.false_above) / 2
        before, flagged = self.found - self.gained, self.found + self.false
        precision = _ratio(self.found, flagged)
        earlier = _ratio(before, before + self.false_above, empty=1.0)
        pairs = self.positives * self.negatives
        whole = np.where(pairs > 0, self.positives, 0.0)
        return {
            "auc": _ratio((self.gained * below).sum(axis=1), pairs, empty=np.nan),
            "ap_step": _ratio((self.gained * precision).sum(axis=1), whole, empty=np.nan),
            "ap_pr_auc": _ratio(
                (self.gained * (precision + earlier)).sum(axis=1), 2 * whole, empty=np.nan
            ),
        }

    def area_to_one(self, frames: np.ndarray) -> np.ndarray:
        """Area under the found share over 0 to 1 negatives a frame, as `RegionCurve` has it.

        Args:
            frames: [B].
        """
        if not self.found.shape[1]:  # nothing is ever found
            return np.where(self.positives > 0, 0.0, np.nan)
        rate = _ratio(self.found, self.positives[:, None], empty=np.nan)
        x1, x0 = (v / frames[:, None] for v in (self.false, self.false_above))
        start = np.zeros((len(rate), 1))
        y0 = np.concatenate([start, rate[:, :-1]], axis=1)
        c0, c1 = np.minimum(x0, 1.0), np.minimum(x1, 1.0)
        y1 = y0 + (rate - y0) * _ratio(c1 - c0, x1 - x0)  # where the line leaves at 1
        rising = (c1 - c0) * (y0 + y1) / 2
        ends = np.minimum(np.concatenate([x0[:, 1:], start + 1.0], axis=1), 1.0)
        flat = np.maximum(ends - c1, 0.0) * rate
        found: np.ndarray = (rising + flat).sum(axis=1)
        return np.where(self.positives > 0, found, np.nan)


def _areas(levels: Levels, counts: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    names = ("auc", "ap_step", "ap_pr_auc")
    found = {f"patch_{name}{suffix}": np.full(len(counts), np.nan) for name in names}
    for at, rates in levels.draws(counts):
        for name, values in rates.areas().items():
            found[f"patch_{name}{suffix}"][at] = values
    return found


def _tiou(patches: PatchSet, counts: np.ndarray) -> np.ndarray:
    parts = [tiou(PatchSet(videos=(v,)), Limits()) for v in patches.videos]
    frames = np.array([part.frames for part in parts], dtype=np.float64)
    sums = np.array([(part.value or 0.0) * part.frames for part in parts])
    return _ratio(counts @ sums, counts @ frames, empty=np.nan)


def _regions(
    matches: Matches | None, patches: PatchSet, counts: np.ndarray
) -> dict[str, np.ndarray]:
    found = {name: np.full(len(counts), np.nan) for name in ("rbdc", "tbdc")}
    if matches is None:
        return found
    videos = len(patches.videos)
    frames = np.array([v.truth.num_frames for v in patches.videos], dtype=np.float64)
    false = (matches.videos, matches.scores, matches.missed)
    for name, owner, found_at in (
        ("rbdc", matches.region_videos, matches.region_found_at),
        ("tbdc", matches.track_videos, matches.track_found_at),
    ):
        levels = Levels.of(videos, (owner, found_at, np.ones(len(owner))), false)
        for at, rates in levels.draws(counts):
            found[name][at] = rates.area_to_one(counts[at] @ frames)
    return found


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(v, _KEPT_DIGITS) if np.isfinite(v) else None for v in values.tolist()]


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = 0.0) -> np.ndarray:
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)


def _table(
    rows: int, columns: int, row: np.ndarray, column: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Weights summed into the cells of a table [rows, columns] float64."""
    cells = np.bincount(row * columns + column, weights=weight, minlength=rows * columns)
    return cells.reshape(rows, columns)
