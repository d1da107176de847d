"""The pair matrix: a count of pairs, checked pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_sets import make_set, random_set, score_sets
from hypothesis import given, settings

from vad.evaluation import pairs as pairs_module
from vad.evaluation.pairs import PairMatrix, video_pairs
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep


def count_pairs(scores: ScoreSet) -> np.ndarray:
    """Every pair of snippets, one by one."""
    wins = np.zeros((len(scores), len(scores)))
    for i, v in enumerate(scores.video_of):
        for j, w in enumerate(scores.video_of):
            a, b = scores.scores[i], scores.scores[j]
            pairs = scores.positives[i] * scores.negatives[j]
            wins[v, w] += pairs * (1.0 if a > b else 0.5 if a == b else 0.0)
    return wins


@given(scores=score_sets())
@settings(max_examples=80, deadline=None)
def test_wins_are_the_pairs_in_the_right_order(scores):
    assert np.array_equal(PairMatrix.of(scores).wins, count_pairs(scores))


@given(scores=score_sets())
@settings(max_examples=80, deadline=None)
def test_the_auc_of_the_matrix_is_that_of_the_sorted_scores(scores):
    direct, found = Sweep.of(scores).auc(), PairMatrix.of(scores).auc()

    assert (direct is None) == (found is None)
    if direct is not None:
        assert found == pytest.approx(direct, abs=1e-12)


def test_blocks_of_videos_change_nothing(monkeypatch):
    scores = random_set(4, normal=9, abnormal=9, length=30, levels=20)
    whole = PairMatrix.of(scores).wins

    monkeypatch.setattr(pairs_module, "_BLOCK", 50)

    assert np.array_equal(PairMatrix.of(scores).wins, whole)


def test_a_part_of_the_matrix_is_the_matrix_of_those_videos():
    scores = random_set(4)
    chosen = np.array([1, 7, 8, 11])

    part = PairMatrix.of(scores).select(chosen)

    assert np.array_equal(part.wins, PairMatrix.of(scores.select(chosen)).wins)


def test_video_pairs_take_the_highest_score_of_each_video():
    scores = make_set(
        [
            (1, (), [(0.2, 9, 9), (0.6, 1, 0)]),
            (0, (), [(0.6, 5, 0)]),
            (0, (), [(0.1, 5, 0), (0.3, 1, 0)]),
        ]
    )

    assert video_pairs(scores).auc() == pytest.approx((0.5 + 1) / 2)
