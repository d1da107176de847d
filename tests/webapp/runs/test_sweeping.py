"""The sweep takes back what is silent and rings for what waits."""

from __future__ import annotations

from django.utils import timezone
from run_lives import CPU, age, running

from webapp.fleet.models import Worker
from webapp.runs.lifecycle import claiming, executing, sweeping
from webapp.runs.models import RunEvent, State


def test_the_sweep_takes_back_only_what_is_silent(make_run, worker, settings):
    quiet, alive = make_run(), make_run()
    for _ in (quiet, alive):
        running(worker)
    age(quiet, settings.RUN_LOST_AFTER_S + 1)
    age(alive, settings.RUN_LOST_AFTER_S - 5)

    assert sweeping.sweep() == [quiet.pk]
    assert sweeping.sweep() == []

    quiet.refresh_from_db()
    alive.refresh_from_db()
    assert (quiet.state, quiet.attempt, quiet.claim) == (State.QUEUED, 2, None)
    assert alive.state == State.RUNNING
    note = RunEvent.objects.get(run=quiet, kind="lost")
    assert worker.name in note.message


def test_a_beat_keeps_a_run_from_the_sweep(make_run, worker):
    run = make_run()
    found = running(worker)
    age(run, 1000)
    executing.beat(found, done=10, total=100)

    assert sweeping.sweep() == []
    run.refresh_from_db()
    assert run.done == 10


def test_a_silent_run_fails_when_its_attempts_are_spent(make_run, worker):
    run = make_run(attempt=5, max_attempts=5)
    running(worker)
    age(run, 1000)

    sweeping.sweep()

    run.refresh_from_db()
    assert run.state == State.FAILED
    assert "not heard of" in run.error["message"]


def test_the_sweep_rings_for_what_is_queued(make_run, bells):
    make_run(device="cpu")
    make_run(device="cuda")
    make_run(device="cuda", state=State.HELD)

    sweeping.sweep()

    assert sorted(bells) == ["cpu", "gpu"]


def test_a_run_for_any_device_rings_where_a_slot_may_take_it(make_run, bells, gpu_worker):
    run = make_run(device="auto")

    sweeping.sweep()
    assert bells == ["gpu"]

    Worker.objects.update(stopped_at=timezone.now())
    sweeping.sweep()
    assert bells == ["gpu", "cpu"]
    assert claiming.claim_best(worker=gpu_worker, slot=CPU).run_id == run.pk
