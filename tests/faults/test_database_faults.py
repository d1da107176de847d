"""The database goes away while a run runs, and comes back."""

from __future__ import annotations

import pytest


@pytest.fixture
def host(own_database):
    return own_database()


def test_a_database_that_is_restarted_while_a_run_runs_costs_no_attempt(
    host, console, postgres, ask, until
):
    console("queue", "1000", "1")
    host.start("-B")
    until(
        lambda: ask("select 1 from runs_metricsummary where key = 'loss/total' and last_step > 20"),
        "20 steps",
    )

    postgres.stop()
    postgres.start()

    until(
        lambda: ask("select 1 from runs_run where state in ('succeeded', 'failed')"),
        "the run's end",
    )
    [shown] = console("show")
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1), shown
    assert shown["steps"] == list(range(1, 1001))
    assert "database_down" in host.log("worker1")
