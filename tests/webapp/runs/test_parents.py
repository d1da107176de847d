"""A run waits for its parents, and for nothing else."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from run_lives import FAILED, LOST, STOPPED, SUCCEEDED, events, running

from webapp.runs.lifecycle import commands, ending, sweeping
from webapp.runs.models import State

pytestmark = pytest.mark.usefixtures("no_outcomes")


def test_a_child_waits_for_all_its_parents(make_run, worker, user):
    first, second = make_run(), make_run()
    child = make_run(queued_at=None, parents=[first, second])
    commands.enter(child, by=user)
    assert child.state == State.WAITING

    ending.finish(running(worker), SUCCEEDED)
    child.refresh_from_db()
    assert child.state == State.WAITING

    ending.finish(running(worker), SUCCEEDED)
    child.refresh_from_db()
    assert child.state == State.QUEUED


@pytest.mark.parametrize("outcome", [FAILED, STOPPED, LOST])
def test_a_parent_that_did_not_succeed_releases_nobody(make_run, worker, outcome):
    parent = make_run()
    child = make_run(state=State.WAITING, parents=[parent])

    ending.finish(running(worker), outcome)
    sweeping.sweep()

    child.refresh_from_db()
    assert child.state == State.WAITING


def test_the_sweep_queues_a_child_that_was_forgotten(make_run, bells):
    child = make_run(state=State.WAITING, parents=[make_run(state=State.SUCCEEDED)])

    sweeping.sweep()

    child.refresh_from_db()
    assert child.state == State.QUEUED
    assert bells == ["cpu"]


@pytest.mark.parametrize("step", ["release", "retry"])
def test_a_run_goes_back_to_waiting_while_a_parent_is_not_done(make_run, user, step):
    state = {"release": State.HELD, "retry": State.FAILED}[step]
    run = make_run(state=state, parents=[make_run(state=State.FAILED)])

    getattr(commands, step)(run, by=user)

    run.refresh_from_db()
    assert run.state == State.WAITING


@pytest.mark.django_db(transaction=True)
def test_two_parents_that_end_at_once_release_their_child(make_run, worker, bells):
    parents = [make_run(), make_run()]
    child = make_run(state=State.WAITING, parents=parents)
    claims = [running(worker) for _ in parents]
    start = threading.Barrier(2)

    def finish(held):
        start.wait()
        ending.finish(held, SUCCEEDED)
        connection.close()

    threads = [threading.Thread(target=finish, args=(c,)) for c in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    child.refresh_from_db()
    assert child.state == State.QUEUED
    assert events(child) == ["queued"]
    assert bells == ["cpu"]
