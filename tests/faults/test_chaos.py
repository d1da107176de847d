"""Everything fails at random, many times, while many runs run: all of them end, none is touched."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time

import psycopg
import pytest
from trainer import undisturbed

from webapp.core import doorbell

RUNS = int(os.environ.get("VADLAB_CHAOS_RUNS", "50"))
STEPS = 40
WORKERS = ("one", "two", "three")
PATIENCE_S = 300.0
CALM_S = (0.3, 1.0)  # between two blows

RUNNING = "select (environment->>'pid')::int from runs_run where state = 'running'"
LEFT = "select count(*) from runs_run where state not in ('succeeded', 'failed', 'cancelled')"


@pytest.fixture
def host(own_database, redis):
    host = own_database(redis.url)
    host.env |= {"VADLAB_CPU_SLOTS": "2", "OPENBLAS_NUM_THREADS": "1"}
    return host


@pytest.fixture
def blows(host, redis, postgres, ask):
    """What may happen. Each leaves workers, Redis and PostgreSQL up, or on their way up."""
    workers = {}

    def start(name):
        workers[name] = host.start("-B", name=name)

    def kill_a_child(chance):
        if pids := ask(RUNNING):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)

    def kill_a_worker(chance):
        name = chance.choice(WORKERS)
        workers[name].kill()
        workers[name].wait()
        start(name)

    def lose_all_messages(chance):
        redis.stop()  # it keeps nothing on disk
        time.sleep(chance.random())
        redis.start()

    def double_the_messages(chance):
        for _ in range(20):
            doorbell.ring("gpu")

    def restart_the_database(chance):
        postgres.stop()
        postgres.start()

    for name in WORKERS:
        start(name)
    return {
        kill_a_child: 12,
        kill_a_worker: 2,
        lose_all_messages: 2,
        double_the_messages: 3,
        restart_the_database: 1,
    }


def test_all_runs_succeed_with_every_step_once_whatever_dies(blows, console, ask):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    console("queue", str(STEPS), str(RUNS))
    struck: dict[str, int] = {}
    until_s = time.monotonic() + PATIENCE_S

    while ask(LEFT) != [0]:
        assert time.monotonic() < until_s, f"seed {seed}: {ask(LEFT)} are left after {struck}"
        [blow] = chance.choices(list(blows), weights=list(blows.values()))
        with contextlib.suppress(psycopg.OperationalError):  # it is still coming up
            blow(chance)
            struck[blow.__name__] = struck.get(blow.__name__, 0) + 1
        time.sleep(chance.uniform(*CALM_S))

    shown = console("show")
    assert len(shown) == RUNS
    for run in shown:
        said = f"seed {seed}, after {struck}: {run}"
        assert run["state"] == "succeeded", said
        assert run["steps"] == list(range(1, STEPS + 1)), said
        assert run["weights"] == undisturbed(run["seed"], STEPS), said
        assert not run["overlapped"], said
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(run["claims"])), said
        begun, ended = run["events"][::2], run["events"][1::2]
        assert set(begun) == {"claimed"}, said
        assert ended[-1] == "succeeded", said
        assert set(ended[:-1]) <= {"lost", "given-back", "set-back"}, said
        assert run["attempt"] == 1 + ended.count("lost"), said
    assert sum(run["attempt"] for run in shown) > RUNS, f"nothing was disturbed: {struck}"
    print(f"{RUNS} runs, {sum(run['attempt'] for run in shown)} attempts, {struck}")
