"""One claimed run, from its child to its rows."""

from __future__ import annotations

import os
import signal
import uuid

import pytest
from django.db import OperationalError
from structlog.contextvars import get_contextvars

from vad import results
from vad.errors import VadError
from webapp.runs import recording
from webapp.runs.claims import Slot
from webapp.runs.lifecycle import claiming, commands, executing
from webapp.runs.models import Run, RunEvent, State
from workers import leaving, slots, supervisor

CPU = Slot("cpu", 0)


@pytest.fixture
def through(background):
    """See a claim through in a thread, as a worker does."""
    return lambda claim: background(lambda: supervisor.see_through(claim, CPU))


def run_of(claim) -> Run:
    return Run.objects.get(pk=claim.run_id)


def test_a_run_succeeds_with_its_progress_and_every_metric(claim, child, through, metric_steps):
    child("succeed")

    assert through(claim).result() == State.SUCCEEDED
    run = run_of(claim)
    assert (run.state, run.done, run.total, run.unit) == (State.SUCCEEDED, 5, 5, "steps")
    assert run.result == {"answer": 42}
    assert metric_steps(run, "loss/total") == [1, 2, 3, 4, 5]


def test_a_failed_run_shows_the_words_of_the_child(claim, child, through):
    child("fail")

    assert through(claim).result() == State.FAILED
    assert run_of(claim).error["message"] == "Three videos have no features."


def test_a_killed_child_puts_its_run_back_with_one_attempt_less(claim, child, through):
    child("die", int(signal.SIGKILL))

    assert through(claim).result() == State.QUEUED
    run = run_of(claim)
    assert run.attempt == 2
    event = RunEvent.objects.get(run=run, kind="lost")
    assert "out of memory" in event.message


@pytest.mark.parametrize(
    ("ask", "state"), [(commands.cancel, State.CANCELLED), (commands.hold, State.HELD)]
)
def test_a_running_run_that_somebody_stops_leaves(claim, child, through, until, ask, state):
    child("stop")
    running = through(claim)
    until(lambda: run_of(claim).state == State.RUNNING, "the run")

    ask(run_of(claim), by=run_of(claim).owner)

    assert running.result() == state
    assert run_of(claim).attempt == 1


def test_a_worker_that_leaves_gives_its_run_back_without_losing_an_attempt(
    claim, child, through, until
):
    child("stop")
    running = through(claim)
    until(lambda: run_of(claim).state == State.RUNNING, "the run")

    leaving.leave()

    assert running.result() == State.QUEUED
    assert run_of(claim).attempt == 1


def test_a_run_that_was_given_to_somebody_else_is_let_go_of(claim, child, through, until):
    child("stubborn")
    running = through(claim)
    until(lambda: run_of(claim).state == State.RUNNING, "the run")

    Run.objects.filter(pk=claim.run_id).update(claim=uuid.uuid4())

    assert running.result() is None
    assert run_of(claim).state == State.RUNNING


def test_a_database_that_goes_away_for_a_while_costs_nothing(
    claim, child, through, until, metric_steps, monkeypatch, tmp_path
):
    away = []

    def record(claim, records, *, real=recording.record_batch, **rest):
        if away:
            away.append("missed")
            raise OperationalError("server closed the connection unexpectedly")
        return real(claim, records, **rest)

    def beat(claim, *, real=executing.beat):
        if away:
            away.append("missed")
            raise OperationalError("server closed the connection unexpectedly")
        return real(claim)

    monkeypatch.setattr(recording, "record_batch", record)
    monkeypatch.setattr(executing, "beat", beat)
    child("wait_for", tmp_path / "go")
    running = through(claim)
    until(lambda: metric_steps(run_of(claim), "loss/total") == [1, 2, 3], "the first metrics")
    away.append("now")
    (tmp_path / "go").touch()
    until(lambda: len(away) > 3, "some missed beats")
    assert run_of(claim).state == State.RUNNING
    away.clear()

    assert running.result() == State.SUCCEEDED
    assert metric_steps(run_of(claim), "loss/total") == [1, 2, 3, 4, 5]


def test_no_child_writes_on_when_others_may_take_its_run(
    claim, child, through, until, monkeypatch, settings
):
    child("stubborn")  # SIGTERM does not end it
    running = through(claim)
    until(lambda: run_of(claim).state == State.RUNNING, "the run")
    pid = run_of(claim).environment["pid"]

    with monkeypatch.context() as patch:
        patch.setattr(recording, "record_batch", away)
        patch.setattr(executing, "beat", away)
        settings.RUN_LOST_AFTER_S = 0.5
        until(lambda: not alive(pid), "the end of the child")

    assert running.result() == State.QUEUED
    events = run_of(claim).events.order_by("id").values_list("kind", "message")
    assert events.last() == ("given-back", "the database was out of reach for too long")
    assert run_of(claim).attempt == 1


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_claim_that_was_lost_at_once_starts_no_child(claim, child, through):
    child("succeed")
    Run.objects.filter(pk=claim.run_id).update(claim=uuid.uuid4())

    assert through(claim).result() is None
    assert not (run_of(claim).folder / "config.json").exists()


def test_records_that_cannot_be_stored_fail_the_run_instead_of_vanishing(
    claim, child, through, monkeypatch
):
    def refuse(claim, records, **rest):
        raise ValueError("a fault of the program")

    monkeypatch.setattr(recording, "record_batch", refuse)
    child("stubborn")

    assert through(claim).result() == State.FAILED
    assert run_of(claim).error["code"] == "unexpected"


def test_many_records_arrive_in_order_and_in_batches(
    claim, child, through, metric_steps, monkeypatch
):
    sizes = []

    def record(claim, records, *, real=recording.record_batch, **rest):
        sizes.append(len(records))
        return real(claim, records, **rest)

    monkeypatch.setattr(recording, "record_batch", record)
    child("many", 3000)

    assert through(claim).result() == State.SUCCEEDED
    assert metric_steps(run_of(claim), "loss/total") == list(range(1, 3001))
    assert len(sizes) < 30


def test_a_run_without_its_inputs_fails_with_what_to_do(make_run, worker, child, through):
    run = make_run(feature_set=None)
    claim = claiming.claim_best(worker=worker, slot=CPU)
    child("succeed")

    assert through(claim).result() == State.FAILED
    run.refresh_from_db()
    assert run.error["code"] == "run-inputs-missing"
    assert run.error["hint"]


def test_a_command_that_cannot_be_started_costs_an_attempt_not_the_worker(claim, through, settings):
    settings.CHILD_COMMAND = ["/nowhere/python"]

    assert through(claim).result() == State.QUEUED
    assert run_of(claim).attempt == 2


def test_a_run_on_a_gpu_slot_sees_that_gpu_alone(make_run, worker, child, background, monkeypatch,
                                                 tmp_path):  # fmt: skip
    table = slots.Table(cpu_slots=0, gpus=[slots.Device("GPU-a", "A"), slots.Device("GPU-b", "B")])
    monkeypatch.setattr(slots, "table", lambda: table)
    make_run()
    gpu = Slot("gpu", 1)
    claim = claiming.claim_best(worker=worker, slot=gpu)
    child("environment", tmp_path / "env")

    background(lambda: supervisor.see_through(claim, gpu)).result()

    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    assert "DATABASE_URL" not in seen


def test_the_rate_is_smoothed_and_survives_a_resume():
    rate = supervisor.Rate()
    rate.note(100, 0.0)
    assert rate.value is None
    for second in range(1, 60):
        rate.note(100 + 10 * second, float(second))
    assert rate.value == pytest.approx(10)

    rate.note(100 + 10 * 59 + 100, 60.0)
    jumped = rate.value
    assert 10 < jumped < 20

    rate.note(0, 61.0)
    assert rate.value == jumped


def test_a_result_that_the_server_refuses_fails_the_run_with_its_reason(
    claim, child, through, monkeypatch
):
    def refuse(run, result):
        raise VadError("scores-invalid", "The scores are damaged.", "Evaluate again.")

    monkeypatch.setattr("webapp.runs.outcomes.record", refuse)
    child("succeed")

    assert through(claim).result() == State.FAILED
    assert run_of(claim).error["code"] == "scores-invalid"


def test_progress_is_kept_while_the_database_is_away(claim):
    beat = supervisor.Heartbeat(claim)
    beat.note(results.Progress(done=3, total=9, unit="steps"))
    beat.note(results.Progress(done=4, total=9, unit="steps"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "record_batch", away)
        with pytest.raises(OperationalError):
            beat._store()

    beat._store()

    assert (run_of(claim).done, run_of(claim).total) == (4, 9)


def away(claim, *records, **rest):
    raise OperationalError("connection refused")


@pytest.mark.slow
def test_several_gpus_are_trained_on_by_one_process_each_and_stopped_together(
    make_run, worker, child, background, monkeypatch, tmp_path, until
):
    devices = [slots.Device("GPU-a", "A"), slots.Device("GPU-b", "B")]
    table = slots.Table(cpu_slots=0, gpus=devices)
    monkeypatch.setattr(slots, "table", lambda: table)
    run = make_run("train-two-stage", gpus=2)
    Run.objects.filter(pk=run.pk).update(device="cuda")
    held = table.take("gpu")
    claim = claiming.claim_best(worker=worker, slot=held[0], spare=held[1:])
    child("together", tmp_path)

    seen = background(lambda: supervisor.see_through(claim, claim.slot))
    until(lambda: len(list(tmp_path.glob("rank-*"))) == 2, "both processes", 60)
    until(lambda: Run.objects.get(pk=run.pk).state == State.RUNNING, "the first one's word", 60)
    commands.hold(run, by=run.owner)

    seen.join(60)
    assert Run.objects.get(pk=run.pk).state == State.HELD
    said = [path.read_text() for path in sorted(tmp_path.glob("rank-*"))]
    assert said == ["0 of 2 sees GPU-a,GPU-b", "1 of 2 sees GPU-a,GPU-b"]


def test_what_is_logged_about_a_run_names_it_in_every_thread(claim, child, through, monkeypatch):
    child("succeed")
    bound = []

    def record_batch(*args, real=recording.record_batch, **kwargs):
        bound.append(get_contextvars().get("run_id"))  # in the thread of the heartbeat
        return real(*args, **kwargs)

    monkeypatch.setattr(recording, "record_batch", record_batch)

    assert through(claim).result() == State.SUCCEEDED
    assert set(bound) == {str(claim.run_id)}
