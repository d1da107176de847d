"""Brokers deliver, die and come back; the rows decide."""

from __future__ import annotations

from webapp.core import doorbell
from webapp.runs.models import State


def test_a_run_goes_through_a_real_redis_and_a_real_worker(make_host, redis, queue_run, watch):
    host = make_host(redis.url)
    host.start_ready()  # no clock: only the bell can start it
    seen = watch(queue_run(steps=100))

    run = seen.until(State.SUCCEEDED, State.FAILED)

    assert run.state == State.SUCCEEDED
    assert seen.steps() == list(range(1, 101))
    assert (run.done, run.total) == (100, 100)


def test_a_redis_that_dies_costs_time_but_no_run(make_host, redis, queue_run, watch):
    host = make_host(redis.url)
    host.start_ready("-B")
    running = watch(queue_run(steps=500))
    running.until_recorded(20)

    redis.stop()
    waiting = watch(queue_run(steps=50))  # its bell is lost
    assert not doorbell.ring("gpu")
    assert running.until(State.SUCCEEDED).attempt == 1
    waiting.until(State.SUCCEEDED)  # the one slot looks for more by itself
    late = watch(queue_run(steps=50))
    redis.start()

    late.until(State.SUCCEEDED)  # the clock and the worker have found Redis again
    assert late.steps() == list(range(1, 51))
