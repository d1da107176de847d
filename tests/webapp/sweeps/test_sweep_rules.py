"""The pure parts of sweeps: the space, which trials are next, early stopping, importance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vad.errors import ConfigError, VadError
from webapp.sweeps import importance, planning, space, stopping
from webapp.sweeps.planning import Plan, Strategy
from webapp.sweeps.stopping import Curve, Rule
from webapp.sweeps.trials import Made, Status

TEXTS = {
    "lr": "1e-5 to 1e-2 log in 4", "dropout": "0.3, 0.5 0.7", "memory_slots": "32 to 64",
    "lr_schedule": "0:0 100:1; 0:1", "compile": "yes no",
}  # fmt: skip


def made(number, value=None, status=Status.DONE, setting=None, params=None) -> Made:
    return Made(
        number=number, setting=number if setting is None else setting, params=params or {},
        status=status, value=value, step=50,
    )  # fmt: skip


def plan(strategy=Strategy.RANDOM, **changes) -> Plan:
    values = {
        "space": space.from_texts("train-urdmu", {"lr": TEXTS["lr"], "dropout": "0.3 0.5"}),
        "strategy": strategy, "settings": 8, "seeds": [1], "parallel": 3, "entropy": 7,
        "falling": False, "fits": lambda params: True,
    }  # fmt: skip
    return Plan(**{**values, **changes})


# --- space ----------------------------------------------------------------------------------


def test_the_space_is_read_from_text_and_from_json_as_the_same():
    found = space.from_texts("train-urdmu", TEXTS)

    assert space.from_json("train-urdmu", {d.name: d.to_json() for d in found}) == found
    assert space.from_texts("train-urdmu", {d.name: d.words() for d in found}) == found
    assert found[0].grid() == [1e-5, 1e-4, 1e-3, 1e-2]
    assert found[1].values == (0.3, 0.5, 0.7)
    assert found[3].values == ("0:0 100:1", "0:1")
    assert found[4].values == (True, False)


def test_values_of_several_numbers_keep_together():
    (found,) = space.from_texts("train-two-stage", {"resize": "64 64; 128 128"})

    assert found.values == ((64, 64), (128, 128))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lr", "", "needs its values"),
        ("lr", "0 to 0.1 log", "above 0"),
        ("lr", "0.1 to 0.01", "the first must be less"),
        ("lr", "1e-5 to 5", "above the most allowed"),
        ("lr", "1e-5 nan", "not a finite number"),
        ("lr", "1e-5 inf", "not a finite number"),
        ("lr", "1e-5 1e-05", "twice"),
        ("lr", "1e-5 to 1e-2 in 900", "2 to 100 values"),
        ("batch_size", "4.5 to 8", "whole numbers"),
        ("precision", "float32 float8", "is not one of"),
        ("precision", "1 to 3", "is not one of"),
        ("seed", "1 2", "cannot be swept"),
        ("nothing", "1 2", "no such setting"),
        ("dropout", " ".join(f"0.{n:03}" for n in range(101)), "101 values"),
    ],
)
def test_a_space_that_makes_no_sense_names_the_setting(name, text, said):
    with pytest.raises(ConfigError) as error:
        space.from_texts("train-urdmu", {name: text})
    assert said in error.value.fields[name]


@pytest.mark.parametrize(
    "given",
    [7, {}, {"values": 3}, {"values": []}, {"low": 1, "high": True}, {"low": 0.1, "high": 0.2,
     "steps": 3}, {"values": [math.inf]}, {"low": 1e-5, "high": math.inf}, {"values": [[1]]},
     {"low": 1e-5, "high": 1e-2, "log": "yes"}],
)  # fmt: skip
def test_json_that_is_no_dimension_is_refused(given):
    with pytest.raises(ConfigError) as error:
        space.from_json("train-urdmu", {"lr": given})
    assert list(error.value.fields) == ["lr"]


def test_a_draw_depends_on_its_own_entropy_alone_and_stays_within():
    swept = space.from_texts("train-urdmu", TEXTS)
    draws = [space.draw(swept, (3, n)) for n in range(200)]

    assert draws[17] == space.draw(swept, (3, 17))
    assert all(1e-5 <= d["lr"] <= 1e-2 and 32 <= d["memory_slots"] <= 64 for d in draws)
    assert 0.3 < np.mean([d["lr"] < 10**-3.5 for d in draws]) < 0.7  # equal ratios


# --- planning -------------------------------------------------------------------------------


def test_a_grid_with_seeds_makes_every_combination_once_and_as_many_at_once_as_may_be():
    asked = plan(Strategy.GRID, seeds=[5, 6], parallel=4)
    trials: list[Made] = []
    seen = []
    while following := planning.next_trials(asked, trials):
        assert len(following) <= 4
        seen += [(t.params["lr"], t.params["dropout"], t.seed) for t in following]
        trials += [made(t.number, 0.5, setting=t.setting, params=t.params) for t in following]

    assert len(seen) == len(set(seen)) == 16
    assert [t.number for t in trials] == list(range(16))


def test_what_is_planned_does_not_depend_on_when_one_asks():
    one_by_one: list[Made] = []
    for _ in range(8):
        (following,) = planning.next_trials(plan(parallel=1), one_by_one)
        one_by_one.append(made(following.number, params=following.params))
    at_once = planning.next_trials(plan(parallel=8), [])

    assert [t.params for t in one_by_one] == [t.params for t in at_once]


def test_active_trials_take_room_and_a_gap_is_filled_first():
    following = planning.next_trials(plan(), [made(0, status=Status.ACTIVE), made(2, 0.1)])

    assert [t.number for t in following] == [1, 3]
    assert planning.next_trials(plan(), [made(n, status=Status.ACTIVE) for n in range(3)]) == []


def test_settings_that_the_configuration_refuses_are_drawn_again_or_named():
    found = planning.next_trials(plan(fits=lambda params: params["dropout"] == 0.3), [])
    assert {t.params["dropout"] for t in found} == {0.3}

    with pytest.raises(VadError, match="50 settings"):
        planning.next_trials(plan(fits=lambda params: False), [])


def test_a_setting_counts_with_the_mean_of_its_seeds_and_hopeless_once_is_hopeless():
    trials = [
        made(0, 0.8, setting=0), made(1, 0.6, setting=0),
        made(2, 0.9, setting=1), made(3, 0.2, Status.PRUNED, setting=1),
        made(4, 0.9, setting=2),
        made(6, None, Status.FAILED, setting=3), made(7, None, Status.FAILED, setting=3),
    ]  # fmt: skip
    found = planning.outcomes(trials, seeds=2)

    assert [(o.status, o.value) for o in found] == [
        (Status.DONE, pytest.approx(0.7)), (Status.PRUNED, 0.2), (Status.ACTIVE, None),
        (Status.FAILED, None),
    ]  # fmt: skip


def test_the_search_comes_to_better_settings_than_chance():
    def run(strategy):
        trials: list[Made] = []
        asked = plan(strategy, settings=40, parallel=2)
        while following := planning.next_trials(asked, trials):
            for t in following:
                value = -abs(math.log10(t.params["lr"]) + 3)  # best at 1e-3
                status = Status.PRUNED if value < -1.5 else Status.DONE
                trials.append(made(t.number, value, status, params=t.params))
        return np.mean([t.value for t in trials[-15:]])

    assert run(Strategy.TPE) > run(Strategy.RANDOM) + 0.2


# --- stopping -------------------------------------------------------------------------------


def curve(number, *values, active=False) -> Curve:
    steps = 50 * (1 + np.arange(len(values)))
    return Curve(number=number, steps=steps, values=np.array(values, float), active=active)


OTHERS = [curve(n, 0.7, 0.7 + n / 100, 0.8) for n in range(4)]


@pytest.mark.parametrize(
    ("values", "stopped"),
    [
        ([0.6, 0.65], True),
        ([0.6, math.nan], True),  # NaN counts as nothing
        ([0.75, 0.1], False),  # its best counts
        ([0.7, 0.715], False),  # the median itself
        ([0.1], False),  # not yet as far as `after`
        ([math.nan, math.nan], False),
    ],
)
def test_the_median_rule(values, stopped):
    found = stopping.hopeless(
        Rule.MEDIAN, [*OTHERS, curve(9, *values, active=True)], after=100, least=4, falling=False
    )
    assert [v.number for v in found] == ([9] if stopped else [])


def test_no_rule_judges_by_too_few_or_by_those_that_came_less_far():
    mine = curve(9, 0.1, 0.1, 0.1, active=True)
    short = [curve(n, 0.7, 0.7) for n in range(6)]

    for rule in (Rule.MEDIAN, Rule.HALVING):
        assert stopping.hopeless(rule, [*OTHERS[:3], mine], after=50, least=4, falling=False) == []
    assert stopping.hopeless(Rule.MEDIAN, [*short, mine], after=50, least=4, falling=False) == []
    assert stopping.hopeless(Rule.NONE, [*OTHERS, mine], after=50, least=1, falling=False) == []


def test_with_a_loss_less_is_better():
    found = stopping.hopeless(
        Rule.MEDIAN, [*OTHERS, curve(9, 0.9, 0.9, active=True)], after=50, least=4, falling=True
    )
    assert [v.number for v in found] == [9]
    assert "0.9" in found[0].why and "4 trials" in found[0].why


def test_halving_keeps_the_best_third_of_those_that_reached_a_rung():
    curves = [curve(n, 0.1 * n, 0.9, active=True) for n in range(9)]

    found = stopping.hopeless(Rule.HALVING, curves, after=50, least=2, falling=False)

    assert [v.number for v in found] == [0, 1, 2, 3, 4, 5]
    assert "number 9 of 9" in found[0].why


@pytest.mark.parametrize(("step", "rung"), [(50, 50), (149, 50), (150, 150), (1350, 1350)])
def test_rungs_are_three_times_as_far_each(step, rung):
    assert stopping._rung(step, 50) == rung


# --- importance -----------------------------------------------------------------------------


def test_a_setting_that_matters_is_told_from_one_that_does_not():
    rng = np.random.default_rng(1)
    rows = [{"lr": float(10 ** rng.uniform(-5, -2)), "drop": (0.3, 0.5)[n % 2]} for n in range(60)]
    values = [-abs(math.log10(r["lr"]) + 3) + 0.05 * rng.normal() for r in rows]

    first, second = importance.importances(["drop", "lr"], rows, values)

    assert (first.name, second.name) == ("lr", "drop")
    assert first.share > 0.7 and first.chance <= 0.002
    assert second.share < 0.1 and second.chance > 0.05
    assert 0 < first.error < 0.2


def test_chance_alone_has_no_share_on_average():
    rng = np.random.default_rng(2)
    members = np.eye(4)[np.arange(24) % 4]
    shares = importance._omega(members[None], rng.normal(size=(4000, 24)))

    assert abs(shares.mean()) < 0.01


def test_few_trials_or_equal_values_say_nothing():
    rows = [{"a": n % 2} for n in range(30)]
    assert importance.importances(["a"], rows[:9], list(range(9))) == []
    assert importance.importances(["a"], rows, [0.5] * 30) == []
