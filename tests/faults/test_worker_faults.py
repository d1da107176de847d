"""Workers and their children are killed and stopped; runs go on, every step exactly once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from django.db import OperationalError, transaction
from trainer import undisturbed

from webapp.accounts.models import User
from webapp.core import doorbell
from webapp.runs.lifecycle import commands
from webapp.runs.models import State


def test_a_child_that_is_killed_three_times_at_random_still_succeeds(host, queue_run, watch):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    host.start_ready("-B")
    seen = watch(queue_run(steps=400, checkpoint_every=25))

    for attempt in (1, 2, 3):
        run = seen.until_recorded(chance.randint(1, 60) + 80 * (attempt - 1), attempt=attempt)
        os.kill(run.environment["pid"], signal.SIGKILL)

    run = seen.until(State.SUCCEEDED, State.FAILED)
    assert run.state == State.SUCCEEDED, f"seed {seed}: {run.error}"
    assert run.attempt == 4
    assert seen.steps() == list(range(1, 401)), f"seed {seed}"
    assert all("SIGKILL" in message for message in seen.events("lost"))


def test_a_killed_worker_takes_its_child_and_its_clock_along_and_another_one_goes_on(
    host, queue_run, watch, until, gone
):
    worker = host.start_ready("-B", name="doomed")
    seen = watch(queue_run(steps=300))
    child = seen.until_recorded(60).environment["pid"]
    clocks = [pid for pid in children(worker.pid) if pid != child]
    assert clocks

    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()

    until(lambda: gone(child) and all(map(gone, clocks)), "the child's and the clock's end")
    host.start_ready("-B", name="heir")
    run = seen.until(State.SUCCEEDED, State.FAILED)
    assert run.state == State.SUCCEEDED
    assert (run.attempt, run.worker) == (2, None)
    assert "doomed was not heard of" in seen.events("lost")[0]
    assert seen.steps() == list(range(1, 301))
    assert len(seen.events("started")) == 2


def test_a_worker_that_slept_through_its_claim_changes_nothing_when_it_wakes(
    host, queue_run, watch, until, gone
):
    sleeper = host.start_ready("-B", name="sleeper")
    seen = watch(queue_run(steps=400))
    seen.until_recorded(60)
    host.gate.touch()
    host.start_ready("-B", name="heir")
    child = seen.run.environment["pid"]
    asleep = [child, sleeper.pid, *(pid for pid in children(sleeper.pid) if pid != child)]
    put_to_sleep(asleep)
    host.gate.unlink()

    seen.until_recorded(120, attempt=2)
    for pid in reversed(asleep):
        with contextlib.suppress(ProcessLookupError):  # the worker, awake, may have ended its child
            os.kill(pid, signal.SIGCONT)
    until(lambda: gone(child), "the end of the child whose claim was given away")

    run = seen.until(State.SUCCEEDED, State.FAILED)
    assert (run.state, run.attempt) == (State.SUCCEEDED, 2)
    assert (run.folder / "overlapped").exists(), "the two were never there at the same time"
    assert seen.steps() == list(range(1, 401))
    assert [seen.events(kind) for kind in ("claimed", "succeeded")] == [
        ["by sleeper on cpu:0", "by heir on cpu:0"],
        [""],
    ]
    assert [row.end for row in run.attempts.all()] == ["lost", "succeeded"]
    last = run.checkpoints.order_by("step").last()
    assert last.sha256 == hashlib.sha256((run.folder / last.path).read_bytes()).hexdigest()
    assert last.sha256 == undisturbed(run.config["seed"], 400)
    assert sleeper.poll() is None  # awake, it takes other runs
    again = watch(queue_run(steps=20))
    again.until(State.SUCCEEDED)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
        pytest.param(signal.SIGQUIT, marks=pytest.mark.long),
    ],
)
def test_a_worker_that_is_told_to_leave_gives_its_run_back(host, queue_run, watch, gone, number):
    worker = host.start_ready()
    seen = watch(queue_run(steps=100_000))
    child = seen.until_recorded(30).environment["pid"]

    os.kill(worker.pid, number)
    worker.wait(30)

    assert gone(child)
    run = seen.run
    assert (run.state, run.attempt, run.claim) == (State.QUEUED, 1, None)
    assert seen.steps() == list(range(1, len(seen.steps()) + 1))
    if number == signal.SIGTERM:
        last = run.checkpoints.order_by("step").last()
        assert last.step == seen.steps()[-1]  # it could save what it had done


def test_a_run_is_held_released_and_cancelled_while_it_runs(host, queue_run, watch, gone):
    host.start_ready("-B")
    seen = watch(queue_run(steps=100_000))

    run = seen.until_recorded(30)
    commands.hold(run, by=run.owner)
    held = seen.until(State.HELD)
    at_step = held.checkpoints.order_by("step").last().step
    assert gone(run.environment["pid"])

    commands.release(held, by=run.owner)
    run = seen.until_recorded(at_step + 30)
    commands.cancel(run, by=run.owner)
    cancelled = seen.until(State.CANCELLED)

    assert cancelled.attempt == 1
    assert cancelled.checkpoints.filter(step=at_step).exists()
    assert seen.steps() == list(range(1, seen.steps()[-1] + 1))


def test_a_bell_that_rings_many_times_starts_a_run_once(host, queue_run, watch):
    run = queue_run(steps=100)
    for _ in range(5):
        assert doorbell.ring("gpu")
    host.start_ready()
    host.start_ready()

    seen = watch(run)
    seen.until(State.SUCCEEDED)

    assert len(seen.events("claimed")) == 1
    assert seen.steps() == list(range(1, 101))


def test_runs_wait_for_the_one_slot_and_follow_without_another_bell(host, queue_run, watch):
    host.start_ready()  # no clock, so no sweep
    first, second = (watch(queue_run(steps=60)) for _ in range(2))

    first.until(State.SUCCEEDED)
    second.until(State.SUCCEEDED)

    assert first.run.ended_at < second.run.started_at


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def put_to_sleep(pids: list[int]) -> None:
    """Stop processes, but not within a write: SQLite would wait for them for ever."""
    while True:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with transaction.atomic():
                User.objects.update(last_name="")
            return
        except OperationalError:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.1)
