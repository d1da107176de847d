"""Sweeps on the database: what is made, when it stops, and who may say so."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from sweep_helpers import evaluated, go

from vad.configs import ExtractConfig, UrdmuConfig
from vad.errors import ConfigError, VadError
from webapp.runs.claims import Outcome, Slot
from webapp.runs.lifecycle import claiming, commands, ending, executing
from webapp.runs.models import Run, State, Stop
from webapp.runs.services import run_delete
from webapp.sweeps import driver, results, services
from webapp.sweeps.models import Sweep, SweepState, Trial
from webapp.sweeps.trials import Status


def trainings(sweep: Sweep) -> list[Run]:
    return [trial.run for trial in sweep.trials.select_related("run") if trial.run]


# --- making ---------------------------------------------------------------------------------


def test_a_sweep_makes_its_trials_as_room_is_free_and_ends_when_all_have_ended(make_sweep):
    sweep = make_sweep()
    for _ in range(2):
        assert Trial.objects.filter(sweep=sweep, run__state="queued").count() == 2
        for trial in sweep.trials.filter(run__state="queued"):
            go(trial.run, 0.6, 0.7)
            assert driver.advance_of(trial.run.pk) == 0  # its evaluation goes on
            evaluated(Run.objects.get(pk=trial.evaluation_id), 0.8)
            driver.advance_of(trial.evaluation_id)

    sweep.refresh_from_db()
    assert sweep.state == SweepState.DONE
    tried = [(t.run.config["lr"], t.run.config["dropout"], t.run.config["seed"])
             for t in sweep.trials.all()]  # fmt: skip
    assert tried == [(1e-4, 0.3, 1), (1e-4, 0.5, 1), (1e-3, 0.3, 1), (1e-3, 0.5, 1)]
    assert driver.advance(sweep.pk) == 0


def test_a_trial_is_an_ordinary_run_with_its_evaluation(make_sweep, user):
    sweep = make_sweep(tags=["paper"], priority=3)
    first = sweep.trials.first()

    assert first.run.name == "rates, trial 1"
    assert (first.run.owner, first.run.tags, first.run.priority) == (user, ["paper"], 3)
    assert first.evaluation.of_run == first.run and first.evaluation.state == State.WAITING
    assert "lr" in first.params and "seed" not in first.params


def test_features_are_made_once_for_all_trials(make_sweep, version):
    sweep = make_sweep(feature_set=None, extract=ExtractConfig(), version=version)

    assert Run.objects.filter(kind="extract").count() == 1
    assert {run.state for run in trainings(sweep)} == {State.WAITING}
    assert sweep.feature_set.produced_by.name == "rates: features"


def test_a_deleted_run_is_not_made_again(make_sweep, user):
    sweep = make_sweep(parallel=1, evaluate=False)
    run = trainings(sweep)[0]
    go(run, 0.5)
    run_delete(run=run, by=user)
    driver.advance(sweep.pk)

    assert [(r.trial.number, r.state) for r in results.rows_of(sweep)] == [
        (0, "deleted"), (1, "queued"),
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_two_drivers_at_once_make_no_trial_twice(make_sweep):
    sweep = make_sweep(parallel=4)
    Trial.objects.all().delete()
    Run.objects.all().delete()
    made, start = [], threading.Barrier(4)

    def drive() -> None:
        try:
            start.wait()
            made.append(driver.advance(sweep.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(made) == [0, 0, 0, 4]
    assert list(sweep.trials.values_list("number", flat=True)) == [0, 1, 2, 3]
    assert Run.objects.filter(kind="train-urdmu").count() == 4


def test_a_search_goes_on_from_what_came_of_the_trials(make_sweep):
    sweep = make_sweep(
        {"lr": "1e-5 to 1e-2 log"}, strategy="tpe", settings=13, parallel=1, evaluate=False
    )
    for _ in range(13):
        run = trainings(sweep)[-1]
        go(run, 0.5 + run.config["lr"])
        driver.advance(sweep.pk)

    sweep.refresh_from_db()
    assert sweep.state == SweepState.DONE
    assert len({run.config["lr"] for run in trainings(sweep)}) == 13


# --- what goes wrong ------------------------------------------------------------------------


def test_a_sweep_whose_first_trials_all_fail_holds_itself_and_says_why(make_sweep, user):
    sweep = make_sweep({"lr": "1e-5 to 1e-2 log"}, strategy="random", settings=50, parallel=5,
                       evaluate=False)  # fmt: skip
    for run in trainings(sweep):
        Run.objects.filter(pk=run.pk).update(error={"message": "Out of memory."})
        go(run, state=State.FAILED)
    driver.advance(sweep.pk)

    sweep.refresh_from_db()
    assert sweep.state == SweepState.HELD
    assert "Out of memory." in sweep.problem["message"]
    assert sweep.trials.count() == 5
    services.sweep_release(sweep=sweep, by=user)
    driver.advance(sweep.pk)
    assert sweep.trials.count() == 10  # a person said to go on


def test_a_sweep_whose_owner_left_holds_itself(make_sweep, user, project):
    sweep = make_sweep(evaluate=False)
    user.membership_set.all().delete()
    go(trainings(sweep)[0], 0.5)
    driver.advance(sweep.pk)

    sweep.refresh_from_db()
    assert (sweep.state, sweep.problem["code"]) == (SweepState.HELD, "not-allowed")
    assert sweep.trials.count() == 2


def test_a_fault_in_one_sweep_stops_no_other(make_sweep, monkeypatch):
    first, second = make_sweep(evaluate=False), make_sweep(evaluate=False)
    go(trainings(second)[0], 0.5)
    plan = Sweep.plan
    monkeypatch.setattr(Sweep, "plan", lambda own: 1 / 0 if own.pk == first.pk else plan(own))

    assert driver.advance_all() == 1


# --- early stopping -------------------------------------------------------------------------


def test_a_hopeless_trial_is_stopped_with_its_evaluation_and_the_reason(make_sweep):
    sweep = make_sweep({"lr": "1e-5 to 1e-2 log"}, strategy="random", settings=6, parallel=5,
                       stop_rule="median", stop_after=100, stop_least=3)  # fmt: skip
    *good, bad = trainings(sweep)
    for run in good:
        go(run, 0.7, 0.8, state=State.RUNNING)
    go(bad, 0.5, 0.51, state=State.RUNNING)

    driver.advance(sweep.pk)

    bad.refresh_from_db()
    assert bad.stop == Stop.CANCEL
    event = bad.events.last()
    assert event.by is None and "stopped early by the sweep rates: At step 100" in event.message
    trial = sweep.trials.get(run=bad)
    assert trial.pruned_step == 100 and "median 0.8" in trial.pruned_why
    assert trial.evaluation.state == State.CANCELLED
    go(bad, state=State.CANCELLED)
    assert results.rows_of(sweep)[4].state == "pruned"
    driver.advance(sweep.pk)
    assert sweep.trials.count() == 6  # its room is free


def test_a_stopped_trial_that_a_person_queues_again_is_let_be(make_sweep, user):
    sweep = make_sweep({"lr": "1e-5 to 1e-2 log"}, strategy="random", settings=5, parallel=5,
                       stop_rule="median", stop_after=50, stop_least=1, evaluate=False)  # fmt: skip
    runs = trainings(sweep)
    for run in runs[1:]:
        go(run, 0.9, state=State.RUNNING)
    Trial.objects.filter(run=runs[0]).update(pruned_step=50, pruned_why="bad")
    go(runs[0], 0.1, state=State.CANCELLED)
    commands.retry(runs[0], by=user)
    go(runs[0], 0.1, state=State.RUNNING)

    driver.advance(sweep.pk)

    runs[0].refresh_from_db()
    assert runs[0].stop == Stop.NONE
    assert results.rows_of(sweep)[0].status == Status.ACTIVE


# --- objective ------------------------------------------------------------------------------


def test_the_objective_is_the_best_or_the_last_value_or_that_of_the_evaluation(make_sweep):
    for fields, value in (
        ({}, 0.9),
        ({"take": "last"}, 0.6),
        ({"objective": "loss/total"}, None),
        ({"objective": "evaluation/auc"}, 0.75),
    ):
        sweep = make_sweep(**fields)
        trial = sweep.trials.first()
        go(trial.run, 0.5, 0.9, 0.6)
        evaluated(trial.evaluation, 0.75)
        row = results.rows_of(sweep)[0]
        assert (row.value, row.auc) == (value, 0.75)


def test_what_chooses_is_labelled(make_sweep):
    assert make_sweep().chosen_on == "validation"
    assert make_sweep(objective="test/frame_auc").chosen_on == "test"
    assert make_sweep(objective="evaluation/auc").chosen_on == "test"
    assert make_sweep(objective="loss/total").chosen_on == "training"


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"name": " "}, "name"), ({"name": "x" * 81}, "name"), ({"strategy": "luck"}, "strategy"),
        ({"parallel": 0}, "parallel"), ({"parallel": 101}, "parallel"),
        ({"seeds": [1, 1]}, "seeds"), ({"seeds": [-1]}, "seeds"), ({"seeds": [2**31]}, "seeds"),
        ({"strategy": "random"}, "settings"),
        ({"strategy": "random", "settings": 1001}, "settings"),
        ({"texts": {}}, "space"), ({"strategy": "seeds"}, "space"),
        ({"texts": {"lr": "1e-5 to 1e-2"}}, "lr"),
        ({"texts": {"lr": "1e-5 to 1e-2 in 60", "dropout": "0 to 0.9 in 60"}}, "space"),
        ({"texts": {"lr_schedule": "0:1; nonsense"}}, "lr_schedule"),
        ({"objective": "mine/metric"}, "direction"), ({"objective": ""}, "objective"),
        ({"objective": "x" * 121, "direction": "max"}, "objective"),
        ({"objective": "evaluation/secret"}, "objective"),
        ({"objective": "validation/fused_video_auc"}, "objective"),
        ({"objective": "evaluation/auc", "evaluate": False}, "evaluate"),
        ({"objective": "evaluation/auc", "stop_rule": "median", "stop_after": 9}, "stop_rule"),
        ({"stop_after": 10**30}, "stop_after"), ({"stop_least": 10**30}, "stop_least"),
        ({"entropy": -1}, "entropy"), ({"priority": 10**9}, "priority"),
        ({"tags": ["x" * 41]}, "tags"), ({"parallel": 10**30}, "parallel"),
        ({"stop_rule": "median"}, "stop_after"), ({"take": "middle"}, "take"),
        ({"stop_rule": "median", "stop_after": 50, "stop_least": 0}, "stop_least"),
        ({"config": {"selection": "last", "validation_share": 0.0}}, "objective"),
    ],
)  # fmt: skip
def test_a_sweep_that_makes_no_sense_is_refused_whole(make_sweep, fields, at):
    with pytest.raises(ConfigError) as error:
        make_sweep(**fields)

    assert at in error.value.fields
    assert not Sweep.objects.exists() and not Run.objects.exists()


def test_features_of_another_project_are_refused(make_sweep, stranger, feature_set):
    theirs = stranger.membership_set.get().project
    with pytest.raises(VadError, match="another project"):
        make_sweep(project=theirs, by=stranger, feature_set=feature_set)


# --- steps ----------------------------------------------------------------------------------


def test_a_sweep_is_held_and_released_whole(make_sweep, user, worker):
    sweep = make_sweep()
    claim = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    services.sweep_hold(sweep=sweep, by=user)
    sweep.refresh_from_db()

    running, queued = trainings(sweep)
    assert (sweep.state, running.stop, queued.state) == ("held", "hold", "held")
    assert driver.advance(sweep.pk) == 0
    assert ending.finish(claim, Outcome(kind="stopped")) == State.HELD
    services.sweep_release(sweep=sweep, by=user)
    assert {run.state for run in trainings(sweep)} == {State.QUEUED}
    assert {t.evaluation.state for t in sweep.trials.all()} == {State.WAITING}


def test_a_run_released_before_it_left_goes_on_or_comes_back(make_sweep, user, worker):
    sweep = make_sweep()
    claim = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    services.sweep_hold(sweep=sweep, by=user)
    services.sweep_release(sweep=sweep, by=user)

    assert executing.beat(claim) == Stop.NONE
    assert ending.finish(claim, Outcome(kind="stopped")) == State.QUEUED  # it was leaving already


def test_a_sweep_is_stopped_whole(make_sweep, user, worker):
    sweep = make_sweep()
    claiming.claim_best(worker=worker, slot=Slot("cpu"))
    services.sweep_stop(sweep=sweep, by=user)
    sweep.refresh_from_db()

    running, queued = trainings(sweep)
    assert (sweep.state, running.stop, queued.state) == ("stopped", "cancel", "cancelled")
    assert queued.events.last().message == "the sweep rates was stopped"
    assert {t.evaluation.state for t in sweep.trials.all()} == {State.CANCELLED}
    assert driver.advance(sweep.pk) == 0
    with pytest.raises(VadError, match="is stopped"):
        services.sweep_release(sweep=sweep, by=user)


def test_only_a_sweep_that_has_ended_is_forgotten_and_its_runs_stay(make_sweep, user):
    sweep = make_sweep()
    with pytest.raises(VadError, match="active"):
        services.sweep_delete(sweep=sweep, by=user)
    services.sweep_stop(sweep=sweep, by=user)
    services.sweep_delete(sweep=sweep, by=user)

    assert not Trial.objects.exists()
    assert Run.objects.filter(kind="train-urdmu").count() == 2


def test_who_may_only_look_changes_nothing(make_sweep, viewer):
    sweep = make_sweep()
    for step in (*services.STEPS.values(), services.sweep_delete):
        with pytest.raises(VadError, match="may look"):
            step(sweep=sweep, by=viewer)
    with pytest.raises(VadError, match="may look"):
        make_sweep(by=viewer)


def test_the_configuration_keeps_what_is_not_swept(make_sweep):
    sweep = make_sweep(config={"num_epochs": 77})

    assert {run.config["num_epochs"] for run in trainings(sweep)} == {77}
    assert isinstance(sweep.config_of({"lr": 0.5}, 3), UrdmuConfig)
