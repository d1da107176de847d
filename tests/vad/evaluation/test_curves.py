"""Thinned curves: real operating points, and an area that stays that of the whole curve."""

from __future__ import annotations

import json

import numpy as np
import pytest
from evaluation_sets import expanded, make_set, random_set, score_sets
from hypothesis import given, settings
from hypothesis import strategies as st

from vad.errors import VadError
from vad.evaluation.curves import operating_point, pr_curve, roc_curve, simplify
from vad.evaluation.sweep import Sweep


@pytest.mark.parametrize("lift", [0.0, 1.0, 4.0])
def test_the_thinned_area_stays_within_a_thousandth(lift):
    scores = random_set(5, normal=40, abnormal=40, length=200, lift=lift)
    sweep = Sweep.of(scores)

    roc, pr = roc_curve(scores), pr_curve(scores)

    assert roc.reduced
    assert max(len(roc.fpr), len(pr.fpr)) <= 600
    assert np.trapezoid(roc.tpr, roc.fpr) == pytest.approx(sweep.auc(), abs=1e-3)
    assert np.trapezoid(pr.precision, pr.tpr) == pytest.approx(sweep.ap_pr_auc(), abs=1e-3)


@given(steps=st.lists(st.booleans(), min_size=700, max_size=1500), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_thinned_area_holds_for_any_order_of_positives(steps, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 200, len(steps))
    rows = [(1 - i / 2000, int(w), int(w) * s) for i, (s, w) in enumerate(zip(steps, weight))]  # noqa: B905
    rows += [(0.0, 1, 1), (0.01, 1, 0)]
    scores = make_set([(1, ("Fall",), rows)])

    roc, pr = roc_curve(scores), pr_curve(scores)

    assert np.trapezoid(roc.tpr, roc.fpr) == pytest.approx(Sweep.of(scores).auc(), abs=1e-3)
    assert np.trapezoid(pr.precision, pr.tpr) == pytest.approx(
        Sweep.of(scores).ap_pr_auc(), abs=1e-3
    )


def test_every_point_is_what_its_threshold_does_to_the_frames():
    scores = random_set(5, normal=20, abnormal=20, length=80)
    truth, values = expanded(scores)

    curve = roc_curve(scores, max_points=40)

    assert len(curve.fpr) == 40
    for threshold, fpr, tpr, precision in zip(
        curve.thresholds[1:], curve.fpr[1:], curve.tpr[1:], curve.precision[1:], strict=True
    ):
        flagged = values >= threshold
        assert fpr == pytest.approx(flagged[truth == 0].mean())
        assert tpr == pytest.approx(flagged[truth == 1].mean())
        assert precision == pytest.approx(truth[flagged].mean())
        point = operating_point(scores, float(threshold))
        assert (point["fpr"], point["tpr"], point["precision"]) == (fpr, tpr, precision)


def test_a_curve_runs_from_nothing_flagged_to_everything_flagged():
    for curve in (roc_curve(random_set(1)), pr_curve(random_set(1), max_points=5)):
        data = json.loads(json.dumps(curve.to_dict(), allow_nan=False))

        assert (data["thresholds"][0], data["precision"][0]) == (None, 1.0)
        assert (data["fpr"][0], data["tpr"][0]) == (0.0, 0.0)
        assert (data["fpr"][-1], data["tpr"][-1]) == (1.0, 1.0)
        assert np.all(np.diff(curve.thresholds) < 0)


def test_nothing_flagged_has_no_precision():
    assert operating_point(random_set(1), 2.0)["precision"] is None


def test_without_positive_frames_there_is_no_curve():
    with pytest.raises(VadError, match="no positive frame"):
        roc_curve(make_set([(0, (), [(0.5, 3, 0)])]))


def test_a_corner_survives_however_few_points_are_kept():
    x = np.concatenate([np.zeros(500), np.linspace(0, 1, 500)])
    y = np.concatenate([np.linspace(0, 0.9, 500), np.linspace(0.9, 1, 500)])

    kept = simplify(x, y, 3)

    assert (x[kept[1]], y[kept[1]]) == (0.0, 0.9)


@given(scores=score_sets())
@settings(max_examples=40, deadline=None)
def test_a_short_curve_is_left_whole(scores):
    sweep = Sweep.of(scores)
    if sweep.defined:
        curve = roc_curve(scores)
        assert not curve.reduced
        assert len(curve.fpr) == len(sweep.thresholds) + 1
