"""Members of several seeds: means, their draws, and pairs corrected for their number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_sets import random_set

from vad.errors import VadError
from vad.evaluation.bootstrap import paired
from vad.evaluation.frame import metrics
from vad.evaluation.members import (
    Pair,
    check_same_videos,
    draw,
    holm,
    mean_curves,
    mean_of,
    pairwise,
)
from vad.evaluation.scores import ScoreSet


def other_scores(scores: ScoreSet, seed: int, noise: float) -> ScoreSet:
    """The same videos, scored by a worse run."""
    rng = np.random.default_rng(seed)
    values = scores.scores + rng.normal(0, noise, len(scores.scores))
    return replace(scores, scores=np.clip(values, 0, 1).astype(np.float32))


@pytest.mark.parametrize("metric", ["auc", "ap_step", "auc_abnormal", "video_auc"])
def test_a_pair_of_single_runs_is_the_paired_test(metric):
    first = random_set(1, normal=9, abnormal=9)
    second = other_scores(first, 2, 0.3)

    (found,) = pairwise([[draw(s, metric, samples=200)] for s in (first, second)])
    expected = paired(first, second, samples=200, names=[metric])[metric]

    assert (found.difference, found.low, found.high, found.p) == pytest.approx(
        (expected.difference, expected.low, expected.high, expected.p)
    )
    assert found.p_holm == found.p  # one test needs no correction


def test_a_shuffled_run_sees_the_same_draws():
    scores = random_set(3, normal=8, abnormal=8)
    order = np.random.default_rng(0).permutation(len(scores))

    a, b = draw(scores, "auc", samples=50), draw(scores.select(order), "auc", samples=50)

    assert a.value == b.value
    assert np.array_equal(a.samples, b.samples)


def test_the_value_of_a_group_is_the_mean_over_its_seeds():
    first = random_set(4, normal=8, abnormal=8)
    seeds = [other_scores(first, s, 0.2) for s in (1, 2, 3)]

    found = mean_of([draw(s, "auc", samples=40) for s in seeds])
    (pair,) = pairwise(
        [[draw(first, "auc", samples=40)], [draw(s, "auc", samples=40) for s in seeds]]
    )

    assert found.value == pytest.approx(np.mean([metrics(s)["auc"] for s in seeds]))
    assert pair.difference == pytest.approx(found.value - metrics(first)["auc"])
    assert found.samples.shape == (40,)


def test_too_few_videos_give_a_difference_without_an_interval():
    first = random_set(5, normal=3, abnormal=3)

    (found,) = pairwise([[draw(first, "auc")], [draw(other_scores(first, 1, 0.3), "auc")]])

    assert (found.low, found.p, found.p_holm, found.significant) == (None, None, None, False)


def test_holm_by_hand():
    """Holm's step-down: 4 x 0.01, then 3 x 0.02 and no less, then 2 x 0.03, then 0.04."""
    given = [0.04, 0.01, None, 0.03, 0.02]
    pairs = [
        Pair(first=0, second=i + 1, difference=0.0, low=0.0, high=0.0, p=p)
        for i, p in enumerate(given)
    ]

    found = [pair.p_holm for pair in holm(pairs)]

    assert found == [pytest.approx(0.06), pytest.approx(0.04), None, *[pytest.approx(0.06)] * 2]


def test_the_area_under_the_mean_curve_is_the_mean_of_the_areas():
    first = random_set(6, normal=10, abnormal=10)
    sets = [first, other_scores(first, 1, 0.3), other_scores(first, 2, 0.3)]

    roc = mean_curves(sets, points=2001)["roc"]

    areas = [metrics(s)["auc"] for s in sets]
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(np.mean(areas), abs=2e-3)
    assert (roc.low <= roc.y).all()
    assert (roc.high >= roc.y).all()
    assert mean_curves([first]) is None


def test_other_videos_are_refused():
    with pytest.raises(VadError, match="not evaluated on the same frames"):
        check_same_videos([random_set(1), random_set(2)])
