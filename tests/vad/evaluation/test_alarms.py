"""False alarms and misses: the rule, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad.errors import ShapeError
from vad.evaluation.alarms import Alarm, video_alarms

FOUR = np.full(4, 16)


def found(scores: list[float], truth: list[tuple[int, int]], threshold: float = 0.5):
    return video_alarms(np.array(scores, dtype=np.float32), FOUR, truth, threshold)


def test_a_stretch_outside_the_truth_is_one_false_alarm() -> None:
    alarms = found([0.1, 0.75, 0.5, 0.2], [])

    assert alarms.false_alarms == (Alarm(start=16, end=48, peak=0.75),)
    assert (alarms.misses, alarms.wrong_frames) == ((), 32)


def test_an_interval_that_no_frame_reaches_is_a_miss() -> None:
    alarms = found([0.1, 0.25, 0.4, 0.2], [(20, 40), (50, 60)], 0.4)

    assert [(m.start, m.end, round(m.peak, 3)) for m in alarms.misses] == [(50, 60, 0.2)]
    assert alarms.intervals == 2


def test_what_rises_early_and_falls_late_is_beside_the_truth() -> None:
    alarms = found([0.9, 0.9, 0.9, 0.0], [(20, 40)])

    assert [(a.start, a.end, a.beside) for a in alarms.false_alarms] == [
        (0, 20, True),
        (40, 48, True),
    ]
    assert alarms.misses == ()


def test_a_score_that_equals_the_threshold_reaches_it() -> None:
    assert found([0.5, 0, 0, 0], []).count == 1
    assert found([0.49999, 0, 0, 0], []).count == 0


def test_truth_behind_the_last_scored_frame_is_left_out() -> None:
    alarms = found([0, 0, 0, 0], [(60, 90), (70, 80)])

    assert [(m.start, m.end) for m in alarms.misses] == [(60, 64)]


def test_scores_and_frames_must_fit() -> None:
    with pytest.raises(ShapeError):
        video_alarms(np.zeros(3), FOUR, [], 0.5)


@given(
    scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=12),
    lengths=st.lists(st.integers(0, 7), min_size=12, max_size=12),
    truth=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=4),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_each_frame_is_in_what_the_rule_says(scores, lengths, truth, threshold) -> None:
    frames = np.array(lengths[: len(scores)])
    intervals = [(start, start + length) for start, length in truth]
    held = np.repeat(scores, frames)
    inside = [any(a <= f < b for a, b in intervals) for f in range(len(held))]

    alarms = video_alarms(np.array(scores), frames, intervals, threshold)

    alarmed = {f for a in alarms.false_alarms for f in range(a.start, a.end)}
    assert alarmed == {f for f, s in enumerate(held) if s >= threshold and not inside[f]}
    for one, two in zip(alarms.false_alarms, alarms.false_alarms[1:], strict=False):
        assert one.end < two.start  # maximal
    for miss in alarms.misses:
        assert all(held[f] < threshold and inside[f] for f in range(miss.start, miss.end))
    assert alarms.wrong_frames == sum(
        (s >= threshold) != i for s, i in zip(held, inside, strict=True)
    )
