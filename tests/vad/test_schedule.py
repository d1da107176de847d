from __future__ import annotations

import pytest

from vad.configs import UrdmuConfig
from vad.errors import ConfigError
from vad.schedule import Schedule


def test_no_points_leave_the_learning_rate_alone():
    assert [Schedule.parse("").factor(step) for step in (1, 500, 10**6)] == [1, 1, 1]


def test_between_points_the_factor_moves_in_a_straight_line():
    schedule = Schedule.parse("0:0 100:1 2000:1, 3000:0.1")

    found = [schedule.factor(step) for step in (1, 50, 100, 1500, 2000, 2500, 3000, 9000)]

    assert found == pytest.approx([0.01, 0.5, 1, 1, 1, 0.55, 0.1, 0.1])


def test_before_the_first_point_its_factor_holds():
    assert Schedule.parse("100:0.5 200:1").factor(1) == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2000", "'2000' is not STEP:FACTOR"),
        ("a:1", "'a:1' is not STEP:FACTOR"),
        ("0:1 0:2", "must rise"),
        ("-1:1", "0 or more"),
        ("5:nan", "factors from 0"),
        ("5:-1", "factors from 0"),
        ("0:0 10:0", "nothing would be learned"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_at_its_field(text: str, says: str):
    with pytest.raises(ConfigError) as caught:
        UrdmuConfig(lr_schedule=text)

    assert says in caught.value.fields["lr_schedule"]
