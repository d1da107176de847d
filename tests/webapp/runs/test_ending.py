"""How a claim ends: well, with an error, without a word, or because somebody asked for it."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from run_lives import FAILED, LOST, STOPPED, SUCCEEDED, age, claim, running

from vad.errors import VadError
from webapp.runs import outcomes
from webapp.runs.claims import ClaimLost, Outcome
from webapp.runs.lifecycle import commands, ending, executing, sweeping
from webapp.runs.models import Run, RunEvent, State, Stop

pytestmark = pytest.mark.usefixtures("no_outcomes")


@pytest.mark.parametrize("begun", [True, False])
def test_success_gives_the_slot_back_and_keeps_the_result(make_run, worker, begun):
    run = make_run()
    found = running(worker) if begun else claim(worker)

    ended = ending.finish(found, Outcome(kind="succeeded", result={"metrics": {"auc": 0.9}}))

    run.refresh_from_db()
    assert ended == run.state == State.SUCCEEDED
    assert (run.claim, run.worker, run.slot, run.percent) == (None, None, "", 100)
    assert run.result == {"metrics": {"auc": 0.9}}
    assert run.ended_at is not None


def test_an_error_fails_the_run_at_once_with_its_words(make_run, worker):
    run = make_run()

    ending.finish(running(worker), FAILED)

    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.FAILED, 1)
    assert run.error["code"] == "video-no-track"


def test_a_lost_child_is_tried_again_until_its_attempts_are_spent(make_run, worker, settings):
    settings.RUN_RETRY_S = 0
    run = make_run(max_attempts=3)
    states = []
    for _ in range(3):
        states.append(ending.finish(running(worker), LOST))

    run.refresh_from_db()
    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    assert run.error["code"] == "worker-lost"
    assert "lost 3 times" in run.error["message"]
    assert "signal 9" in run.error["message"]
    attempts = RunEvent.objects.filter(run=run, kind="claimed").values_list("attempt", flat=True)
    assert list(attempts) == [1, 2, 3]


def test_a_leaving_worker_costs_no_attempt(make_run, worker, django_capture_on_commit_callbacks):
    run = make_run(max_attempts=1)
    found = running(worker)

    with django_capture_on_commit_callbacks(execute=True):
        assert ending.finish(found, STOPPED) == State.QUEUED

    run.refresh_from_db()
    assert run.attempt == 1


@pytest.mark.parametrize("outcome", [STOPPED, LOST])
@pytest.mark.parametrize(("ask", "end"), [("cancel", State.CANCELLED), ("hold", State.HELD)])
def test_a_stop_that_was_asked_for_is_kept_however_the_child_ends(
    make_run, worker, user, ask, end, outcome
):
    run = make_run(max_attempts=1)
    found = running(worker)
    getattr(commands, ask)(run, by=user)

    assert executing.beat(found) == ask
    assert ending.finish(found, outcome) == end
    run.refresh_from_db()
    assert run.stop == Stop.NONE


@pytest.mark.parametrize(("ask", "end"), [("cancel", State.CANCELLED), ("hold", State.HELD)])
def test_a_stop_is_kept_when_the_worker_dies_too(make_run, worker, user, ask, end):
    run = make_run()
    running(worker)
    getattr(commands, ask)(run, by=user)
    age(run, 1000)

    sweeping.sweep()

    run.refresh_from_db()
    assert run.state == end


def test_a_result_that_cannot_be_recorded_fails_the_run_and_leaves_no_half(
    make_run, worker, monkeypatch
):
    run, other = make_run(), make_run(state=State.HELD)

    def half(run, result):
        Run.objects.filter(pk=other.pk).update(notes="half done")
        raise KeyError("fingerprint")

    monkeypatch.setattr(outcomes, "record", half)

    assert ending.finish(running(worker), SUCCEEDED) == State.FAILED
    run.refresh_from_db()
    other.refresh_from_db()
    assert run.error["code"] == "unexpected"
    assert other.notes == ""


def test_a_result_that_is_refused_fails_the_run_with_that_reason(make_run, worker, monkeypatch):
    def refuse(run, result):
        raise VadError("already-registered", "The set is there already.")

    monkeypatch.setattr(outcomes, "record", refuse)
    run = make_run()

    ending.finish(running(worker), SUCCEEDED)

    run.refresh_from_db()
    assert (run.state, run.error["code"]) == (State.FAILED, "already-registered")


@pytest.mark.django_db(transaction=True)
def test_finish_and_sweep_at_once_leave_one_winner(make_run, worker):
    run = make_run()
    found = running(worker)
    age(run, 1000)
    start, results = threading.Barrier(2), []

    def do(name, action):
        start.wait()
        try:
            results.append((name, bool(action())))
        except ClaimLost:
            results.append((name, False))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=do, args=("finish", lambda: ending.finish(found, SUCCEEDED))),
        threading.Thread(target=do, args=("sweep", sweeping.sweep)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    run.refresh_from_db()
    assert sorted(won for _, won in results) == [False, True]
    winner = next(name for name, won in results if won)
    assert run.state == (State.SUCCEEDED if winner == "finish" else State.QUEUED)
