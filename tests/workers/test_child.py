"""The child process from outside: what it says, how it ends, how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vad import results
from webapp.runs.claims import Outcome
from workers.child import Child, Wish, environment, oom_kills
from workers.commands import Command
from workers.runlog import RunLog


class Watched:
    """Runs one fake child to its end and keeps what it said."""

    def __init__(self, folder: Path) -> None:
        self.records: list[results.Record] = []
        self.started = threading.Event()
        self.wish = Wish.GO_ON
        self.log = RunLog(folder)
        self.folder = folder
        self.child: Child | None = None

    def __call__(self, argv: list[str]) -> Outcome:
        command = Command(argv=argv, output=self.folder)
        with Child.start(command, cuda_devices="", runlog=self.log) as self.child:
            return self.child.watch(on_record=self._note, wish=lambda: self.wish)

    def _note(self, record: results.Record) -> None:
        self.records.append(record)
        if isinstance(record, results.Started):
            self.started.set()

    @property
    def text(self) -> str:
        return self.log.path.read_text(encoding="utf-8")

    def of(self, kind: type) -> list[Any]:
        return [r for r in self.records if isinstance(r, kind)]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.fixture
def stopped(watched: Watched, background: Callable[..., Any]) -> Callable[..., Outcome]:
    """Let a child start, then wish something of it."""

    def run(argv: list[str], wish: Wish) -> Outcome:
        running = background(lambda: watched(argv))
        assert watched.started.wait(20)
        watched.wish = wish
        return running.result()

    return run


def test_a_child_that_ends_with_a_result_has_succeeded(watched, child):
    outcome = watched(child("succeed"))

    assert outcome == Outcome(kind="succeeded", result={"answer": 42})
    assert [m.step for m in watched.of(results.Metrics)] == [1, 2, 3, 4, 5]


def test_a_failure_keeps_the_words_of_the_child(watched, child):
    outcome = watched(child("fail"))

    assert outcome.kind == "failed"
    assert outcome.error.code == "features-missing"
    assert outcome.error.hint == "Extract them."


def test_a_killed_child_is_lost_with_a_reason_and_its_last_words(watched, child):
    outcome = watched(child("die", int(signal.SIGKILL)))

    assert outcome.kind == "lost"
    assert "SIGKILL, most likely out of memory" in outcome.reason
    assert "about to die" in outcome.reason


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_nobody_here_sent_is_named(watched, child, number):
    outcome = watched(child("die", int(number)))

    assert outcome.kind == "lost"
    assert number.name in outcome.reason


@pytest.mark.parametrize("code", [0, 1, 3])
def test_an_exit_without_result_or_error_is_a_loss(watched, child, code):
    outcome = watched(child("leave", code))

    assert outcome.kind == "lost"
    assert f"exit code {code}" in outcome.reason


def test_a_child_that_is_asked_to_stop_may_leave_a_checkpoint(stopped, watched, child):
    outcome = stopped(child("stop"), Wish.STOP)

    assert outcome.kind == "stopped"
    assert watched.of(results.Stopped)[0].step == 3


def test_a_child_without_a_handler_that_we_ended_is_stopped_not_lost(stopped, child):
    assert stopped(child("unprepared"), Wish.STOP).kind == "stopped"


def test_a_child_that_does_not_listen_is_killed_after_the_grace_period(
    stopped, watched, child, settings
):
    settings.RUN_GRACE_S = 0.2

    assert stopped(child("stubborn"), Wish.STOP).kind == "stopped"
    assert "did not stop within 0.2 s" in watched.text


def test_a_child_whose_run_is_gone_is_killed_without_grace(stopped, watched, child):
    stopped(child("stubborn"), Wish.KILL)

    assert watched.child._process.returncode == -signal.SIGKILL


def test_what_is_no_record_is_log_text_and_harms_nothing(watched, child):
    outcome = watched(child("garbage"))

    assert outcome.kind == "succeeded"
    assert watched.of(results.Metrics) == []
    for words in ("not text", "unheard-of", "[1, 2]", "plain words", "no newline at the end"):
        assert words in watched.text


def test_records_survive_however_the_pipe_cuts_them(watched, child):
    outcome = watched(child("split", 0.05))

    assert outcome.kind == "succeeded"
    assert [m.step for m in watched.of(results.Metrics)] == [1, 2, 3]


def test_a_line_that_is_too_long_is_dropped_and_the_next_one_is_read(watched, child):
    outcome = watched(child("huge"))

    assert len(watched.of(results.Metrics)) == 1
    assert len(outcome.result["text"]) == 1 << 20
    assert f"(a line of {20 << 20} bytes was dropped)" in watched.text


def test_a_flood_of_output_ends_in_a_log_of_bounded_size(watched, child, tmp_path):
    watched.log = RunLog(tmp_path, limit_bytes=100_000)

    outcome = watched(child("flood", 20_000))

    assert outcome.kind == "succeeded"
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("log*")}
    assert set(sizes) == {"log.txt", "log-earlier.txt"}
    assert max(sizes.values()) <= 100_000
    assert "19999" in watched.text


def test_nothing_that_a_child_started_outlives_it(watched, child, tmp_path, until):
    outcome = watched(child("orphan", tmp_path / "pid"))

    assert outcome.kind == "succeeded"
    until(lambda: _gone(int((tmp_path / "pid").read_text())), "the orphan's end")


def test_a_child_ends_by_itself_when_its_supervisor_is_killed(tmp_path, until):
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    fake = str(Path(__file__).with_name("fake_child.py"))
    argv = [sys.executable, "-c", script, sys.executable, fake, "parent", str(tmp_path / "pid")]
    supervisor = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        pid = until(lambda: _text(tmp_path / "pid"), "the child's start")
    finally:
        supervisor.kill()
        supervisor.wait()

    until(lambda: _gone(int(pid)), "the child's end")


def test_a_child_has_to_wait_while_nobody_can_take_its_records(watched, child, background, until):
    room = threading.Event()
    command = Command(argv=child("many", 5000), output=watched.folder)

    def run() -> Outcome:
        with Child.start(command, cuda_devices="", runlog=watched.log) as started:
            return started.watch(
                on_record=watched._note, wish=lambda: Wish.GO_ON, may_read=room.is_set
            )

    running = background(run)
    assert not watched.started.wait(0.3)
    room.set()

    assert running.result().kind == "succeeded"
    assert len(watched.of(results.Metrics)) == 5000


def test_a_child_gets_no_secrets_and_only_the_devices_of_its_slot(watched, child, tmp_path):
    ours = {
        "PATH": "/bin", "DATABASE_URL": "postgres://u:secret@h/d", "VADLAB_SECRET_KEY": "s",
        "CELERY_BROKER_URL": "redis://", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0,1",
    }  # fmt: skip

    env = environment(ours, cuda_devices="GPU-7")

    assert env["PATH"] == "/bin"
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert not {"DATABASE_URL", "VADLAB_SECRET_KEY", "CELERY_BROKER_URL"} & set(env)


def test_a_full_disk_costs_log_lines_not_the_run(watched, child, monkeypatch):
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workers.runlog.os.write", full)

    assert watched(child("flood", 10)).kind == "succeeded"


def test_a_log_says_how_many_lines_are_missing_once_there_is_room_again(tmp_path, monkeypatch):
    log = RunLog(tmp_path)
    log.write("before")
    with monkeypatch.context() as patch:
        patch.setattr("workers.runlog.os.write", lambda fd, data: 0)
        log.write("lost")
        log.write("lost too")
    log.write("after")
    log.close()

    text = log.path.read_text()
    assert "before" in text
    assert "(2 lines are missing: no room)" in text
    assert text.rstrip().endswith("after")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _gone(pid: int) -> bool:
    """No such process any more, or only its remains that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return not _alive(pid)
    return state == "Z"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_the_kernel_killed_for_memory_says_so(watched, child, monkeypatch):
    kills = iter([0, 1])
    monkeypatch.setattr("workers.child.oom_kills", lambda: next(kills))

    outcome = watched(child("die", int(signal.SIGKILL)))

    assert (outcome.kind, outcome.error.code) == ("lost", "memory-exhausted")
    assert "about to die" in outcome.error.message


def test_a_kill_that_the_kernel_did_not_count_is_a_loss(watched, child, monkeypatch):
    monkeypatch.setattr("workers.child.oom_kills", lambda: 3)

    outcome = watched(child("die", int(signal.SIGKILL)))

    assert (outcome.kind, outcome.error) == ("lost", None)


def test_the_kernels_count_is_read_and_is_nothing_where_there_is_none(tmp_path):
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 4\noom 2\noom_kill 7\n")

    assert oom_kills(events) == 7
    assert oom_kills(tmp_path / "missing") == 0
