"""Two hosts with names, slots and a mount point of their own, on PostgreSQL and Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = Path(__file__).with_name("console.py")
SHARED = ("server-id", "runs")  # what these runs use of the folder


@pytest.mark.long
def test_two_hosts_share_the_work_and_one_goes_on_when_the_other_is_stopped(
    make_host, postgres, redis, tmp_path, until
):
    """One has one slot, one has two; the second mounts the data at another path."""
    host = make_host(redis.url, database=postgres.url)
    elsewhere = tmp_path / "mnt" / "lab"
    elsewhere.mkdir(parents=True)
    python(host, "manage.py", "migrate", "--verbosity", "0")
    python(host, "-c", "import webapp.wsgi")  # who the server is, as gunicorn says when it starts
    for name in SHARED:
        (elsewhere / name).symlink_to(tmp_path / name)
    (tmp_path / "runs").mkdir()

    def rows(query: str) -> list[dict]:
        with psycopg.connect(postgres.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()

    host.start("-B", name="first")
    host.train_with(step_s=0.5)  # what runs on the second is not done before it is stopped
    host.env |= {"VADLAB_DATA_DIR": str(elsewhere), "VADLAB_CPU_SLOTS": "2"}
    second = host.start(name="second")
    until(lambda: len(rows("select 1 from fleet_worker")) == 2, "two workers to register")
    workers = {w["name"]: w for w in rows("select * from fleet_worker")}
    slots = [(workers[n]["cpu_slots"], workers[n]["refused"]) for n in ("first", "second")]
    assert slots == [(1, ""), (2, "")]
    assert workers["second"]["data_dir"] == str(elsewhere)

    runs = json.loads(python(host, str(CONSOLE), "queue", "200", "4"))
    of_second = (
        "select r.id, r.slot from runs_run r join fleet_worker w on w.id = r.worker_id "
        "where w.name = 'second' and r.state = 'running'"
    )
    until(lambda: len(rows(of_second)) == 2, "two runs on the second")
    held = rows(of_second)
    assert sorted(row["slot"] for row in held) == ["cpu:0", "cpu:1"]

    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(60) == 0
    given_back = rows("select run_id from runs_runevent where kind = 'given-back'")
    assert {row["run_id"] for row in given_back} == {row["id"] for row in held}

    until(
        lambda: all(row["state"] == "succeeded" for row in rows("select state from runs_run")),
        "the first to see all of them through",
    )
    assert {row["attempt"] for row in rows("select attempt from runs_run")} == {1}
    claims = rows("select message from runs_runevent where kind = 'claimed' order by message")
    assert [row["message"] for row in claims] == ["by first on cpu:0"] * 4 + [
        "by second on cpu:0", "by second on cpu:1",
    ]  # fmt: skip
    assert {path.name for path in (tmp_path / "runs").iterdir()} == set(runs)
    assert rows("select at from notify_look")  # the clock had the rules looked at


def python(host, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, *args], cwd=ROOT, env=host.env, check=True, stdout=subprocess.PIPE
    )
    return done.stdout.decode()
