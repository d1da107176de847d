"""What evaluation costs, beside scikit-learn on every frame: ratios of one run on one machine.

    python tests/bench/bench_evaluation.py [--videos 290] [--samples 1000]

The made-up set has the size and balance of the UCF-Crime test split: 290 videos with about
1.1 million frames, 8 % of them positive.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # the budget is for one core; must be set before numpy loads
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # noqa: E402
from sklearn import metrics as sk  # noqa: E402

from vad.evaluation import anatomy, bootstrap, curves, frame  # noqa: E402
from vad.evaluation.pairs import PairMatrix  # noqa: E402
from vad.evaluation.scores import ScoreSet  # noqa: E402

BOOTSTRAP_BUDGET_S = 5.0  # 1,000 samples of 1.1 million frames on one core


def make(videos: int, seed: int, lift: float = 1.2) -> ScoreSet:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0)  # the same videos and truth for every seed
    length = truth.lognormal(4.7, 1.1, videos)
    length = np.maximum(4, length * (240 * videos / length.sum())).astype(np.int64)
    offsets = np.cumsum([0, *length], dtype=np.int64)
    abnormal = np.arange(videos) < videos * 140 // 290
    positives = np.zeros(offsets[-1], dtype=np.int64)
    for v in np.flatnonzero(abnormal):
        start = offsets[v] + int(truth.integers(0, length[v]))
        positives[start : min(start + 1 + length[v] // 5, offsets[v + 1])] = 16
    noise = rng.normal(0, 1, offsets[-1]) + np.repeat(rng.normal(0, 0.5, videos), length)
    return ScoreSet(
        keys=tuple(f"v{v}" for v in range(videos)),
        labels=abnormal.astype(np.int8),
        classes=tuple((f"class {v % 13}",) if abnormal[v] else () for v in range(videos)),
        offsets=offsets,
        scores=(1 / (1 + np.exp(-noise - lift * (positives > 0)))).astype(np.float32),
        frames=np.full(offsets[-1], 16, dtype=np.int64),
        positives=positives,
    )


def best_of(times: int, call: Callable[[], Any]) -> tuple[float, Any]:
    spent, result = [], None
    for _ in range(times):
        begin = time.perf_counter()
        result = call()
        spent.append(time.perf_counter() - begin)
    return min(spent), result


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=290)
    parser.add_argument("--samples", type=int, default=1000)
    args = parser.parse_args()

    first, second = make(args.videos, seed=1), make(args.videos, seed=2, lift=1.3)
    print(
        f"{len(first)} videos, {len(first.scores):,} snippets, {first.frames.sum():,} frames, "
        f"{first.positives.sum():,} positive; one core"
    )
    counts = np.stack([first.positives, first.negatives], axis=1)
    truth = np.repeat(np.tile([1, 0], len(counts)), counts.ravel())
    values = np.repeat(first.scores, first.frames)

    theirs, expected = best_of(
        2, lambda: (sk.roc_auc_score(truth, values), sk.average_precision_score(truth, values))
    )
    from vad.evaluation.sweep import Sweep

    def areas() -> tuple[float | None, float | None]:
        sweep = Sweep.of(first)
        return sweep.auc(), sweep.ap_step()

    ours, found = best_of(5, areas)
    worst = max(abs(a - (b or 0)) for a, b in zip(expected, found, strict=True))
    print(f"AUC and AP: {ours * 1e3:.1f} ms, scikit-learn on the frames {theirs * 1e3:.0f} ms")
    print(f"  {theirs / ours:.0f} times as fast, largest difference {worst:.1e}")

    def report(name: str, call: Callable[[], Any], times: int = 3) -> float:
        spent, _ = best_of(times, call)
        print(f"{name}: {spent * 1e3:.0f} ms")
        return spent

    report("all metrics, per class and per video", lambda: frame.evaluate(first))
    report("ROC and PR curve to draw", lambda: (curves.roc_curve(first), curves.pr_curve(first)))
    report("pair matrix", lambda: PairMatrix.of(first))
    report("anatomy of the AUC", lambda: anatomy.anatomy(first))
    spent = report(
        f"intervals of {len(bootstrap.INTERVAL_METRICS)} metrics, {args.samples} samples",
        lambda: bootstrap.intervals(first, samples=args.samples),
        1,
    )
    print(f"  {args.samples * theirs / spent:.0f} times as fast as AUC and AP by scikit-learn")
    report("intervals of every class", lambda: bootstrap.class_intervals(first), 1)
    report("bands of both curves", lambda: bootstrap.bands(first, samples=args.samples), 1)
    report(
        "paired test of two runs", lambda: bootstrap.paired(first, second, samples=args.samples), 1
    )
    over = spent / BOOTSTRAP_BUDGET_S
    print(f"intervals take {over:.2f} of their budget of {BOOTSTRAP_BUDGET_S:.0f} s")
    return int(over > 1 and args.videos <= 290 and args.samples <= 1000)


if __name__ == "__main__":
    sys.exit(main())
