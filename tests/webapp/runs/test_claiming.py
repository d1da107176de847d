"""Which run a free slot is given, and that no two slots are given the same."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from run_lives import CPU, GPU, SUCCEEDED, claim, events, running

from webapp.runs.lifecycle import claiming, ending
from webapp.runs.models import RunEvent, State

pytestmark = pytest.mark.usefixtures("no_outcomes")


def test_nothing_queued_is_no_claim(worker):
    assert claiming.claim_best(worker=worker, slot=CPU) is None


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED}))
def test_only_a_queued_run_is_claimed(make_run, worker, state):
    make_run(state=state)

    assert claiming.claim_best(worker=worker, slot=CPU) is None


def test_a_claim_takes_the_run_and_says_who_has_it(make_run, worker):
    run = make_run()

    found = claim(worker)

    run.refresh_from_db()
    assert (found.run_id, found.attempt, found.id) == (run.pk, 1, run.claim)
    assert (run.state, run.worker, run.slot) == (State.STARTING, worker, "cpu:0")
    assert run.beat_at is not None
    assert run.started_at is not None
    assert claiming.claim_best(worker=worker, slot=CPU) is None
    assert events(run) == ["claimed"]


def test_highest_priority_first_then_longest_queued(make_run, worker):
    now = timezone.now()
    late = make_run(queued_at=now)
    early = make_run(queued_at=now - timedelta(hours=1))
    urgent = make_run(queued_at=now + timedelta(hours=1), priority=5)
    idle = make_run(queued_at=now - timedelta(hours=5), priority=-1)

    order = []
    for _ in range(4):
        found = running(worker)
        ending.finish(found, SUCCEEDED)
        order.append(found.run_id)

    assert order == [urgent.pk, early.pk, late.pk, idle.pk]


def test_who_runs_least_goes_before_who_queued_first(make_run, make_user, project, worker):
    busy, idle = make_user(project=project), make_user(project=project)
    make_run(owner=busy, state=State.RUNNING, slot="cpu:1")
    make_run(owner=busy, queued_at=timezone.now() - timedelta(hours=1))
    theirs = make_run(owner=idle)

    assert claim(worker).run_id == theirs.pk


def test_runs_that_need_a_gpu_stay_off_cpu_slots(make_run, worker):
    run = make_run(device="cuda")

    assert claiming.claim_best(worker=worker, slot=CPU) is None
    assert claim(worker, GPU).run_id == run.pk


def test_runs_that_take_anything_wait_for_the_gpu_while_one_lives(make_run, gpu_worker):
    auto = make_run(device="auto")

    assert claiming.claim_best(worker=gpu_worker, slot=CPU) is None

    gpu_worker.seen_at = timezone.now() - timedelta(hours=1)
    gpu_worker.save()
    assert claim(gpu_worker, CPU).run_id == auto.pk


def test_cpu_runs_never_take_a_gpu_slot(make_run, gpu_worker):
    make_run(device="cpu")

    assert claiming.claim_best(worker=gpu_worker, slot=GPU) is None
    assert claim(gpu_worker, CPU)


@pytest.mark.django_db(transaction=True)
def test_fifty_runs_and_four_claimers_each_run_claimed_once(make_run, worker):
    runs = {make_run().pk for _ in range(50)}
    claimed: list[uuid.UUID] = []
    faults: list[BaseException] = []
    start = threading.Barrier(4)

    def work() -> None:
        try:
            start.wait()
            while found := claiming.claim_best(worker=worker, slot=CPU):
                claimed.append(found.run_id)
        except BaseException as exc:
            faults.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert faults == []
    assert Counter(claimed) == Counter(runs)
    assert RunEvent.objects.filter(kind="claimed").count() == 50
