"""Runs make room, reach their limits, leave drained workers; no step is lost."""

from __future__ import annotations

import os
import signal

import pytest

from webapp.accounts.models import User
from webapp.fleet import services
from webapp.fleet.models import Worker
from webapp.runs.lifecycle import commands
from webapp.runs.models import Attempt, Run, State


@pytest.fixture(params=["filesystem", "redis"])
def site(request, make_host):
    """A host on each broker."""
    if request.param == "filesystem":
        return make_host()
    return make_host(request.getfixturevalue("redis").url)


def test_a_run_makes_room_for_an_urgent_one_and_goes_on_where_it_was(site, queue_run, watch, until):
    site.env["VADLAB_PREEMPT"] = "1"
    site.start_ready("-B")
    low = watch(queue_run(steps=100))
    low.until_recorded(40)
    site.gate.touch()

    urgent = watch(queue_run(steps=40))
    Run.objects.filter(pk=urgent.pk).update(priority=5)
    until(lambda: low.events("preempted"), "the low run to leave")
    site.gate.unlink()

    urgent.until(State.SUCCEEDED)
    low.until(State.SUCCEEDED)
    assert low.run.attempt == 1
    assert len(low.events("preempted")) == 1
    assert low.steps() == list(range(1, 101))
    assert urgent.run.ended_at < low.run.ended_at
    assert [row.end for row in Attempt.objects.filter(run=low.pk)] == ["preempted", "succeeded"]


def test_a_run_stops_at_its_limit_with_a_checkpoint_and_goes_on_when_it_is_raised(
    host, queue_run, watch, gone
):
    host.start_ready("-B")
    run = queue_run(steps=100_000)
    Run.objects.filter(pk=run.pk).update(time_limit_s=3)
    seen = watch(run)

    failed = seen.until(State.FAILED)
    assert failed.error["code"] == "time-limit"
    assert gone(failed.environment["pid"])
    at = failed.checkpoints.order_by("step").last().step
    assert at == seen.steps()[-1]

    Run.objects.filter(pk=run.pk).update(time_limit_s=600)
    commands.retry(failed, by=failed.owner)
    run = seen.until_recorded(at + 20)
    commands.cancel(run, by=run.owner)
    seen.until(State.CANCELLED)
    assert seen.steps() == list(range(1, seen.steps()[-1] + 1))


def test_a_drained_worker_finishes_its_run_takes_no_other_and_ends_without_losing_anything(
    host, queue_run, watch, until
):
    drained = host.start_ready("-B", name="drained")
    first = watch(queue_run(steps=150))
    first.until_recorded(10)
    admin = User.objects.create_superuser("admin")
    services.worker_drain(worker=Worker.objects.get(name="drained"), by=admin)
    second = watch(queue_run(steps=30))

    first.until(State.SUCCEEDED)
    until(lambda: Worker.objects.get(name="drained").seen_at > first.run.ended_at, "a beat more")
    assert second.run.state == State.QUEUED

    host.start_ready("-B", name="other")
    second.until(State.SUCCEEDED)
    assert second.events("claimed") == ["by other on cpu:0"]
    os.kill(drained.pid, signal.SIGTERM)
    assert drained.wait(30) == 0
    assert first.run.attempt == second.run.attempt == 1


def test_a_killed_run_whose_worker_lives_is_accounted_for_each_attempt(host, queue_run, watch):
    host.start_ready("-B")
    seen = watch(queue_run(steps=200))
    os.kill(seen.until_recorded(30).environment["pid"], signal.SIGKILL)

    run = seen.until(State.SUCCEEDED)

    rows = list(Attempt.objects.filter(run=run.pk))
    assert [(row.number, row.end) for row in rows] == [(1, "lost"), (2, "succeeded")]
    lasted = sum((row.ended_at - row.started_at).total_seconds() for row in rows)
    assert run.spent_s == pytest.approx(lasted, abs=0.01)
