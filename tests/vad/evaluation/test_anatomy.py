"""The parts of an AUC: they add up, and removing a video does what the anatomy says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_sets import make_set, random_set, score_sets
from hypothesis import given, settings

from vad.errors import VadError
from vad.evaluation.anatomy import anatomy, explain_difference
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep


def other_run(scores: ScoreSet, seed: int) -> ScoreSet:
    rng = np.random.default_rng(seed)
    return replace(scores, scores=rng.integers(0, 5, len(scores.scores)).astype(np.float32) / 4)


@given(scores=score_sets())
@settings(max_examples=80, deadline=None)
def test_the_parts_add_up(scores):
    auc = Sweep.of(scores).auc()
    if auc is None:
        return

    found = anatomy(scores)

    assert found["auc"] == pytest.approx(auc)
    for rows in (found["videos"], found["classes"]):
        assert sum(row["share"] for row in rows) == pytest.approx(auc, abs=1e-12)
        assert sum(row["lost"] for row in rows) == pytest.approx(1 - auc, abs=1e-12)
        for row in rows:
            assert row["missed"] + row["false_alarms"] == pytest.approx(row["lost"], abs=1e-12)
    assert np.sum(found["matrix"]["lost"]) == pytest.approx(1 - auc, abs=1e-12)


@given(scores=score_sets())
@settings(max_examples=60, deadline=None)
def test_leaving_a_video_out_gives_the_auc_of_the_others(scores):
    if Sweep.of(scores).auc() is None:
        return

    for v, row in enumerate(anatomy(scores)["videos"]):
        others = Sweep.of(scores.select(np.arange(len(scores)) != v)).auc()
        if others is None:
            assert row["auc_without"] is None
            assert row["change"] is None
        else:
            assert row["auc_without"] == pytest.approx(others, abs=1e-12)
            assert row["change"] == pytest.approx(Sweep.of(scores).auc() - others, abs=1e-12)


@given(scores=score_sets())
@settings(max_examples=60, deadline=None)
def test_contributions_add_up_to_the_difference_of_two_runs(scores):
    second = other_run(scores, 1)
    before, after = Sweep.of(scores).auc(), Sweep.of(second).auc()
    if before is None:
        return

    found = explain_difference(scores, second)

    assert found["difference"] == pytest.approx(after - before, abs=1e-12)
    for rows in (found["videos"], found["classes"]):
        assert sum(r["contribution"] for r in rows) == pytest.approx(after - before, abs=1e-12)
    sizes = [abs(row["contribution"]) for row in found["videos"]]
    assert sizes == sorted(sizes, reverse=True)


def test_the_video_that_changed_explains_the_difference():
    scores = random_set(1)
    part = slice(scores.offsets[8], scores.offsets[9])
    changed = scores.scores.copy()
    changed[part] = 1 - changed[part]
    second = replace(scores, scores=changed)

    rows = explain_difference(scores, second)["videos"]

    assert rows[0]["key"] == "video-008"
    others = sum(abs(row["contribution"]) for row in rows[1:])
    assert others <= abs(rows[0]["contribution"]) + 1e-12


def test_swapping_the_runs_turns_the_signs():
    a, b = random_set(1), other_run(random_set(1), 2)

    there, back = explain_difference(a, b), explain_difference(b, a)

    ours = {row["key"]: row["contribution"] for row in there["videos"]}
    theirs = {row["key"]: row["contribution"] for row in back["videos"]}
    assert ours == pytest.approx({key: -value for key, value in theirs.items()})


def test_blame_falls_on_the_false_alarm_and_on_the_missed_anomaly():
    # 10 positive frames at 0.4; normal video a is above them, normal video b below
    scores = make_set(
        [
            (1, ("Fall",), [(0.4, 10, 10)]),
            (0, (), [(0.9, 30, 0)]),
            (0, (), [(0.1, 10, 0)]),
        ]
    )

    found = anatomy(scores)

    assert found["auc"] == 0.25
    rows = {row["key"]: row for row in found["videos"]}
    assert rows["video-000"]["missed"] == pytest.approx(0.375)
    assert rows["video-001"]["false_alarms"] == pytest.approx(0.375)
    assert rows["video-002"]["lost"] == 0.0
    assert rows["video-001"]["auc_without"] == 1.0
    assert rows["video-000"]["auc_without"] is None
    matrix = found["matrix"]
    assert (matrix["rows"], matrix["columns"]) == (["Fall"], ["Fall", "Normal"])
    assert matrix["auc"] == [[None, 0.25]]


def test_the_matrix_tells_classes_apart():
    scores = make_set(
        [
            (1, ("Fall",), [(0.9, 4, 4), (0.1, 4, 0)]),
            (1, ("Fight",), [(0.2, 4, 4), (0.5, 4, 0)]),
            (0, (), [(0.3, 4, 0)]),
        ]
    )

    matrix = anatomy(scores)["matrix"]

    assert matrix["columns"] == ["Fall", "Fight", "Normal"]
    assert matrix["auc"] == [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]


def test_without_positive_frames_there_is_no_anatomy():
    with pytest.raises(VadError, match="no positive frame"):
        anatomy(make_set([(0, (), [(0.3, 4, 0)])]))
