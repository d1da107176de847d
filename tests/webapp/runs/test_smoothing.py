"""Smoothing is one thing, whichever way it is computed; steps and times lead to each other."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from webapp.charts.metrics import smooth as pointwise
from webapp.runs import chunks, times
from webapp.runs.models import State
from webapp.runs.smoothing import smooth


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 3, 700, 20_000])
def test_blocks_give_what_point_by_point_gives(weight: float, n: int) -> None:
    values = np.random.default_rng(1).normal(0, 3, n) + 50

    found = smooth(values, weight)

    assert found == pytest.approx(np.array(pointwise(values.tolist(), weight)), rel=1e-10)


def test_the_start_is_not_pulled_to_zero() -> None:
    assert smooth(np.full(1000, 5.0), 0.99) == pytest.approx(np.full(1000, 5.0), rel=1e-12)


def test_gaps_stay_gaps_and_weigh_nothing() -> None:
    values = np.array([1.0, np.nan, 3.0, np.inf, 5.0])

    found = smooth(values, 0.5)

    assert np.isnan(found[1])
    assert np.isinf(found[3])
    assert found[[0, 2, 4]].tolist() == pytest.approx(smooth(np.array([1.0, 3, 5]), 0.5).tolist())


def test_a_weight_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1"):
        smooth(np.ones(3), 1.0)


def test_half_a_million_points_take_no_time() -> None:
    values = np.random.default_rng(1).normal(0, 1, 500_000)
    begun = time.perf_counter()

    smooth(values, 0.9)

    assert time.perf_counter() - begun < 1.0


def noted(run: Any, *pairs: tuple[int, float]) -> None:
    chunks.append(run, chunks.columns((second, {times.STEP: step}) for second, step in pairs))


def test_a_step_is_placed_between_the_notes_around_it(make_run: Any) -> None:
    now = timezone.now()
    run = make_run(
        state=State.SUCCEEDED, started_at=now - timedelta(seconds=30), ended_at=now, done=100
    )
    noted(run, (10, 0), (20, 50), (30, 100))

    clock = times.clock(run)

    assert clock.at(np.array([0, 25, 75])).tolist() == pytest.approx([10, 15, 25])
    assert clock.steps_between(15, 25) == (25, 75)
    assert clock.steps_between(None, 20) == (None, 50)


def test_steps_that_a_resume_took_back_are_placed_where_they_were_done_last(make_run: Any) -> None:
    run = make_run(state=State.RUNNING, started_at=timezone.now() - timedelta(seconds=130))
    noted(run, (10, 40), (20, 80), (100, 60), (110, 70), (120, 100))

    found = times.clock(run).at(np.array([40, 60, 70, 100]))

    assert found.tolist() == pytest.approx([10, 100, 110, 120])


def test_a_step_at_which_a_run_rests_was_done_when_it_was_reached(make_run: Any) -> None:
    run = make_run(state=State.RUNNING)
    noted(run, (0, 0), (10, 50), (60, 50), (70, 100))
    clock = times.clock(run)

    assert clock.at(np.array([50, 75])).tolist() == pytest.approx([10, 65], abs=0.01)
    assert clock.steps_between(30, 65) == (50, 75)


def test_without_notes_no_times_are_known(make_run: Any) -> None:
    assert times.clock(make_run()) is None


def test_the_unit_follows_the_length() -> None:
    assert [times.unit(s) for s in (5, 200, 50_000)] == [("s", 1.0), ("min", 60.0), ("h", 3600.0)]
