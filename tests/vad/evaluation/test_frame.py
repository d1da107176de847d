"""Frame-level metrics: scikit-learn on every frame is the judge, small cases by hand."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from evaluation_sets import expanded, make_set, random_set, score_sets
from hypothesis import given, settings
from sklearn import metrics as sk

from vad.evaluation.frame import METRICS, class_metrics, evaluate, metrics, video_metrics
from vad.evaluation.scores import ScoreSet

CLOSE = {"abs": 1e-9, "rel": 0}


def judge(scores: ScoreSet) -> dict[str, float | None]:
    """Area and precision metrics by scikit-learn, on the expanded frames."""
    truth, values = expanded(scores)
    if len(set(truth.tolist())) < 2:
        return dict.fromkeys(("auc", "ap_step", "ap_pr_auc", "auc_fpr_01", "auc_fpr_10"))
    precision, recall, _ = sk.precision_recall_curve(truth, values)
    return {
        "auc": sk.roc_auc_score(truth, values),
        "ap_step": sk.average_precision_score(truth, values),
        "ap_pr_auc": sk.auc(recall, precision),
        "auc_fpr_01": sk.roc_auc_score(truth, values, max_fpr=0.01),
        "auc_fpr_10": sk.roc_auc_score(truth, values, max_fpr=0.10),
    }


def assert_same(ours: float | None, theirs: float | None) -> None:
    if theirs is None:
        assert ours is None
    else:
        assert ours == pytest.approx(theirs, **CLOSE)


@given(scores=score_sets())
@settings(max_examples=150, deadline=None)
def test_areas_equal_scikit_learn_on_every_frame(scores):
    ours = metrics(scores)

    for name, expected in judge(scores).items():
        assert_same(ours[name], expected)


@given(scores=score_sets())
@settings(max_examples=100, deadline=None)
def test_subsets_equal_scikit_learn_on_the_frames_of_those_videos(scores):
    ours = metrics(scores)
    abnormal, normal = scores.labels == 1, scores.labels == 0

    on_abnormal = judge(scores.select(abnormal))
    for name in ("auc", "ap_step", "ap_pr_auc"):
        assert_same(ours[f"{name}_abnormal"], on_abnormal[name])
    for row in class_metrics(scores):
        members = scores.has_class(row["class"])
        assert_same(row["auc"], judge(scores.select(members))["auc"])
        with_normal = judge(scores.select(members | normal))
        assert_same(row["auc_with_normal"], with_normal["auc"])
        assert_same(row["ap_step_with_normal"], with_normal["ap_step"])
    singles = [judge(scores.select(np.array([v])))["auc"] for v in range(len(scores))]
    for row, expected in zip(video_metrics(scores), singles, strict=True):
        assert_same(row["auc"], expected)
    defined = [value for value in singles if value is not None]
    assert_same(ours["auc_macro"], float(np.mean(defined)) if defined else None)


@given(scores=score_sets())
@settings(max_examples=60, deadline=None)
def test_video_level_metrics_equal_scikit_learn_on_the_highest_scores(scores):
    ours = metrics(scores)
    highest = np.array([video.scores.max() for video in scores.videos()])

    both = len(set(scores.labels.tolist())) == 2
    assert_same(ours["video_auc"], sk.roc_auc_score(scores.labels, highest) if both else None)
    assert_same(ours["video_accuracy"], sk.accuracy_score(scores.labels, highest > 0.5))


@pytest.mark.parametrize("levels", [0, 8])
def test_a_larger_set_equals_scikit_learn(levels):
    scores = random_set(3, normal=30, abnormal=30, length=60, levels=levels)

    ours = metrics(scores)

    for name, expected in judge(scores).items():
        assert_same(ours[name], expected)


def test_a_case_small_enough_to_count_by_hand():
    # frames by falling score: 0.9 ++, 0.6 +-, 0.2 --
    scores = make_set([(1, ("Fall",), [(0.9, 2, 2), (0.6, 2, 1)]), (0, (), [(0.2, 2, 0)])])

    found = metrics(scores)

    assert found["auc"] == pytest.approx((2 * 3 + 1 * (2 + 0.5)) / 9)
    assert found["ap_step"] == pytest.approx(2 / 3 * 1 + 1 / 3 * 3 / 4)
    assert found["ap_pr_auc"] == pytest.approx(2 / 3 * 1 + 1 / 3 * (1 + 3 / 4) / 2)
    assert found["auc_abnormal"] == pytest.approx((2 + 0.5) / 3)
    assert found["far_normal"] == 0.0
    assert found["video_auc"] == 1.0
    assert found["oracle_f1"] == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert found["oracle_f1_threshold"] == pytest.approx(0.6)
    # TPR - FPR: 2/3 - 0 at 0.9, 1 - 1/3 at 0.6: the higher threshold wins a tie
    assert found["oracle_youden"] == pytest.approx(2 / 3)
    assert found["oracle_youden_threshold"] == pytest.approx(0.9)


def test_far_counts_frames_of_normal_videos_strictly_above_a_half():
    scores = make_set(
        [
            (0, (), [(0.5, 16, 0), (0.51, 4, 0), (0.1, 20, 0)]),
            (1, ("Fall",), [(0.99, 16, 0), (0.9, 16, 16)]),
        ]
    )

    assert metrics(scores)["far_normal"] == pytest.approx(4 / 40)


def test_a_highest_score_of_exactly_a_half_calls_a_video_normal():
    scores = make_set([(0, (), [(0.5, 1, 0)]), (1, ("Fall",), [(0.5, 1, 1)])])

    assert metrics(scores)["video_accuracy"] == 0.5


def test_without_one_of_the_classes_metrics_are_none_and_never_nan():
    only_normal = make_set([(0, (), [(0.3, 16, 0), (0.7, 16, 0)])])

    found = metrics(only_normal)

    assert {name for name, value in found.items() if value is not None} == {
        "far_normal",
        "video_accuracy",
    }
    assert found["far_normal"] == 0.5


def test_frames_of_equal_scores_are_no_better_than_chance():
    scores = make_set([(0, (), [(0.4, 9, 0)]), (1, ("Fall",), [(0.4, 7, 3)])])

    assert metrics(scores)["auc"] == 0.5


def test_a_video_of_two_classes_counts_in_both():
    scores = make_set(
        [
            (1, ("Fall", "Fight"), [(0.9, 4, 4), (0.1, 4, 0)]),
            (1, ("Fight",), [(0.1, 4, 4), (0.4, 4, 0)]),
            (0, (), [(0.2, 4, 0)]),
        ]
    )

    rows = {row["class"]: row for row in class_metrics(scores)}

    assert [rows["Fall"]["videos"], rows["Fight"]["videos"]] == [1, 2]
    assert [rows["Fall"]["found"], rows["Fight"]["found"]] == [1, 1]
    assert rows["Fall"]["auc"] == 1.0
    # pairs: 0.9 beats 0.1 and 0.4; 0.1 ties with 0.1 and loses to 0.4
    assert rows["Fight"]["auc"] == pytest.approx((2 + 0.5) / 4)


def test_evaluate_reports_every_catalogued_metric_and_plain_json_types():
    import json

    report = evaluate(random_set(1))

    assert list(report["metrics"]) == list(METRICS)
    assert report["counts"]["videos"] == 12 == len(report["per_video"])
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_video_rows_hold_means_over_frames():
    scores = make_set([(1, ("Fall",), [(0.8, 10, 5), (0.25, 30, 0)])])

    (row,) = video_metrics(scores)

    assert row["mean_positive"] == pytest.approx(0.8)
    assert row["mean_negative"] == pytest.approx((0.8 * 5 + 0.25 * 30) / 35)
    assert row["mean_score"] == pytest.approx((0.8 * 10 + 0.25 * 30) / 40)
    assert row["share_above"] == pytest.approx(10 / 40)


def test_metrics_raise_no_warning_on_a_video_without_frames():
    scores = make_set([(0, (), [(0.4, 0, 0)]), (1, ("Fall",), [(0.4, 7, 3), (0.6, 0, 0)])])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate(scores)

    assert report["per_video"][0]["mean_score"] is None
    assert report["metrics"]["far_normal"] is None
    assert math.isclose(report["metrics"]["auc"], 0.5)


def test_the_documentation_defines_every_metric_under_its_name():
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")

    assert [name for name in METRICS if f"`{name}`" not in page] == []
