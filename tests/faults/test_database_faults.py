"""The database goes away while a run runs, and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = Path(__file__).with_name("console.py")


@pytest.fixture
def host(make_host, postgres):
    """A machine whose rows are in a PostgreSQL of its own, not in the test's database."""
    host = make_host(database=postgres.url)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT, env=host.env, check=True,
    )  # fmt: skip
    return host


@pytest.fixture
def console(host) -> Callable[..., Any]:
    """See console.py."""

    def call(*args: str) -> Any:
        done = subprocess.run(
            [sys.executable, str(CONSOLE), *args], env=host.env, check=True, stdout=subprocess.PIPE
        )
        return json.loads(done.stdout)

    return call


@pytest.fixture
def ask(postgres) -> Callable[[str], Any]:
    """The one value that a query finds, None when it finds nothing."""

    def call(query: str) -> Any:
        with psycopg.connect(postgres.url) as connection:
            row = connection.execute(query).fetchone()
        return row and row[0]

    return call


def test_a_database_that_is_restarted_while_a_run_runs_costs_no_attempt(
    host, console, postgres, ask, until
):
    (run,) = console("queue", "1000")
    host.start("-B")
    until(
        lambda: (
            (ask("select max(last_step) from runs_metricsummary where key not like 'sys%'") or 0)
            > 20
        ),
        "20 steps",
    )

    postgres.stop()
    postgres.start()

    until(lambda: ask("select state from runs_run") in ("succeeded", "failed"), "the run's end")
    shown = console("show", run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1), shown
    assert shown["steps"] == list(range(1, 1001))
    assert "database_down" in host.log("worker1")
