"""Resampled metrics are exact for each sample, intervals cover, paired tests are fair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_sets import expanded, make_set, random_set, score_sets
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from vad.errors import VadError
from vad.evaluation.bootstrap import (
    INTERVAL_METRICS,
    bands,
    class_intervals,
    intervals,
    over_seeds,
    paired,
    resample,
    sample_metrics,
)
from vad.evaluation.curves import pr_curve, roc_curve
from vad.evaluation.frame import METRICS, metrics
from vad.evaluation.ladder import Ladder
from vad.evaluation.scores import ScoreSet


def repeated(scores: ScoreSet, counts: np.ndarray) -> ScoreSet:
    """The set in which video v really is there counts[v] times, under new names."""
    chosen = np.repeat(np.arange(len(scores)), counts)
    parts = [scores.select(np.array([v])) for v in chosen]
    return ScoreSet(
        keys=tuple(f"copy-{i}" for i in range(len(parts))),
        labels=scores.labels[chosen],
        classes=tuple(scores.classes[v] for v in chosen),
        offsets=np.cumsum([0, *(len(p.scores) for p in parts)], dtype=np.int64),
        scores=np.concatenate([p.scores for p in parts]),
        frames=np.concatenate([p.frames for p in parts]),
        positives=np.concatenate([p.positives for p in parts]),
    )


@given(scores=score_sets(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_resampled_metric_is_the_metric_of_the_resampled_videos(scores, data):
    counts = data.draw(
        st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores)).filter(any)
    )
    made = repeated(scores, np.array(counts))

    found = sample_metrics(scores, np.array([counts]))

    for name, expected in metrics(made).items():
        if name in INTERVAL_METRICS:
            value = found[name][0]
            if expected is None:
                assert np.isnan(value), name
            else:
                assert value == pytest.approx(expected, abs=1e-9), name


def test_every_catalogued_metric_has_an_interval_unless_it_is_an_oracle():
    assert {name for name, info in METRICS.items() if not info.oracle} == set(INTERVAL_METRICS)


def test_a_sample_keeps_the_number_of_videos_of_each_label():
    labels = np.array([0] * 7 + [1] * 5)

    counts = resample(labels, 50, seed=1)

    assert (counts[:, :7].sum(axis=1) == 7).all()
    assert (counts[:, 7:].sum(axis=1) == 5).all()
    assert counts.std(axis=0).min() > 0


def test_intervals_depend_on_the_seed_alone():
    scores = random_set(1)

    assert intervals(scores, samples=60, seed=4) == intervals(scores, samples=60, seed=4)
    assert intervals(scores, samples=60, seed=4) != intervals(scores, samples=60, seed=5)


def test_an_interval_lies_around_its_metric():
    scores = random_set(1, normal=20, abnormal=20)
    found, values = intervals(scores, samples=200), metrics(scores)

    for name, interval in found.items():
        assert interval is not None
        assert interval[0] <= values[name] <= interval[1], name
        assert interval[0] < interval[1], name


def test_more_videos_make_a_narrower_interval():
    def width(videos: int) -> float:
        scores = random_set(2, normal=videos, abnormal=videos)
        low, high = intervals(scores, samples=300, names=("auc",))["auc"]
        return high - low

    assert width(200) < 0.5 * width(12)


def test_intervals_cover_the_auc_of_the_population():
    population = random_set(0, normal=3000, abnormal=3000)
    truth = metrics(population)["auc"]
    trials = 150

    def covers(seed: int) -> bool:
        scores = random_set(1000 + seed, normal=30, abnormal=30)
        low, high = intervals(scores, samples=200, seed=seed, names=("auc",))["auc"]
        return low <= truth <= high

    covered = sum(covers(seed) for seed in range(trials))

    # 95 % is meant; percentile intervals of 30 + 30 videos reach a little less
    assert 0.88 * trials <= covered <= 0.995 * trials


def test_too_few_videos_of_a_label_have_no_interval():
    assert set(intervals(random_set(1, normal=4, abnormal=9), samples=20).values()) == {None}


def test_no_samples_means_no_intervals():
    assert set(intervals(random_set(1), samples=0).values()) == {None}


def test_a_metric_that_is_not_defined_has_no_interval():
    found = intervals(random_set(1, normal=8, abnormal=0), samples=30)

    assert found["auc"] is None
    assert found["far_normal"] is not None


def test_a_class_of_few_videos_has_no_interval_of_its_own():
    scores = random_set(1, normal=8, abnormal=16, classes=("A", "A", "A", "B"))

    found = class_intervals(scores, samples=50)

    assert found["B"] == {"auc": None, "auc_with_normal": None}
    assert found["A"]["auc"][0] < found["A"]["auc"][1]


def shifted(scores: ScoreSet, by: float, only_positive: bool = True) -> ScoreSet:
    moved = scores.scores + by * (scores.positives > 0 if only_positive else 1)
    return replace(scores, scores=moved.astype(np.float32))


def test_a_paired_test_is_symmetric():
    a = random_set(1, normal=10, abnormal=10)
    b = shifted(a, 0.1)

    there, back = paired(a, b, samples=150), paired(b, a, samples=150)

    for name in INTERVAL_METRICS:
        one, other = there[name], back[name]
        assert one.difference == -other.difference
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.p == other.p


def test_a_run_does_not_differ_from_itself():
    a = random_set(1)

    found = paired(a, a, samples=50)["auc"]

    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.significant


def test_a_clear_improvement_is_significant_although_the_intervals_overlap():
    a = random_set(3, normal=25, abnormal=25)
    b = shifted(a, 0.08)

    found = paired(a, b, samples=300)["auc"]

    alone_a, alone_b = (intervals(s, samples=300, names=("auc",))["auc"] for s in (a, b))
    assert alone_b[0] < alone_a[1]
    assert found.significant
    assert found.low > 0
    assert found.p < 0.01


def test_runs_that_differ_by_chance_are_rarely_significant():
    def significant(seed: int) -> bool:
        a = random_set(seed, normal=20, abnormal=20)
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 0.1, (2, len(a.scores))).astype(np.float32)
        b, c = (replace(a, scores=a.scores + n) for n in noise)
        return paired(b, c, samples=150, seed=seed, names=("auc",))["auc"].significant

    assert sum(significant(seed) for seed in range(60)) <= 8


def test_videos_are_matched_by_name_not_by_place():
    a = random_set(1)
    b = shifted(a, 0.1)

    shuffled = b.select(np.arange(len(b))[::-1])

    assert paired(a, shuffled, samples=30) == paired(a, b, samples=30)


def test_runs_on_other_frames_are_not_compared_and_all_differences_are_named():
    snippets = [(0.2, 16, 0), (0.4, 16, 0)]
    a = make_set([(0, (), snippets), (1, (), [(0.9, 16, 16)]), (0, (), snippets)])
    b = make_set([(0, (), snippets), (1, (), [(0.9, 16, 12)]), (0, (), snippets[:1])])

    with pytest.raises(VadError) as caught:
        paired(a, b, samples=5)

    assert caught.value.code == "evaluation-impossible"
    assert len(caught.value.problems) == 2
    assert "video-002: frames 32 in the first run, 16" in caught.value.problems[0]
    assert "video-001: positive frames 16" in caught.value.problems[1]


def test_runs_on_other_videos_are_not_compared():
    a = random_set(1)

    with pytest.raises(VadError, match="video-011: only in the first run"):
        paired(a, a.select(np.arange(11)), samples=5)


def test_runs_may_cut_the_same_frames_into_other_snippets():
    a = make_set([(v % 2, (), [(0.1 * v, 32, 16 * (v % 2))]) for v in range(10)])
    b = make_set(
        [(v % 2, (), [(0.1 * v, 16, 16 * (v % 2)), (0.0, 16, 0)]) for v in range(10)]
    )  # fmt: skip

    found = paired(a, b, samples=20, names=("auc",))["auc"]

    assert found.second > found.first


def test_bands_hold_the_curve_and_end_where_curves_end():
    scores = random_set(1, normal=15, abnormal=15)

    found = bands(scores, samples=200, points=41)

    for band in found.values():
        assert (band.low <= band.high).all()
        assert np.mean((band.low <= band.y) & (band.y <= band.high)) > 0.95
    assert found["roc"].y[-1] == found["roc"].low[-1] == 1.0


def test_the_middle_of_a_band_is_the_curve_itself():
    scores = random_set(6, normal=10, abnormal=10, levels=12)
    roc, pr = roc_curve(scores), pr_curve(scores)

    found = bands(scores, samples=5)

    for x, y in zip(found["roc"].x, found["roc"].y, strict=True):
        at = np.searchsorted(roc.fpr, x, side="right") - 1
        right = min(at + 1, len(roc.fpr) - 1)
        width = roc.fpr[right] - roc.fpr[at]
        share = (x - roc.fpr[at]) / width if width else 0.0
        assert y == pytest.approx(roc.tpr[at] + share * (roc.tpr[right] - roc.tpr[at]))
    for x, y in zip(found["pr"].x[1:], found["pr"].y[1:], strict=True):
        assert y == pytest.approx(pr.precision[np.argmax(pr.tpr >= x - 1e-9)])


def test_a_set_too_small_for_intervals_has_no_bands():
    assert bands(random_set(1, normal=3, abnormal=3)) is None


@given(scores=score_sets(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_resampled_curve_is_the_curve_of_the_resampled_videos(scores, data):
    counts = np.array(
        data.draw(
            st.lists(st.integers(0, 2), min_size=len(scores), max_size=len(scores)).filter(any)
        )
    )
    truth, values = expanded(repeated(scores, counts))
    if len(set(truth.tolist())) < 2:
        return
    recall = np.array([0.0, 0.2, 0.5, 1.0])
    fpr = np.array([0.0, 0.1, 0.5, 1.0])

    rungs = Ladder(scores).rungs(counts.astype(np.float64))

    x, y, _ = sk.roc_curve(truth, values, drop_intermediate=False)
    on_roc = [np.interp(f, x, y) if f not in x else y[x == f].max() for f in fpr]
    assert rungs.tpr_at(fpr) == pytest.approx(on_roc)
    found, reached, _ = sk.precision_recall_curve(truth, values)
    for r, precision in zip(recall, rungs.precision_at(recall), strict=True):
        enough = (reached >= r - 1e-9) & (reached > 0)
        assert precision == pytest.approx(found[np.flatnonzero(enough)[-1]])


def test_seeds_are_summarised_with_their_number():
    assert over_seeds([0.8, 0.9, 0.7]) == {"n": 3, "mean": pytest.approx(0.8),
                                           "deviation": pytest.approx(0.1)}  # fmt: skip
    assert over_seeds([0.8])["deviation"] is None
    assert over_seeds([]) == {"n": 0, "mean": None, "deviation": None}
