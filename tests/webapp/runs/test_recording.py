"""What a child says is stored once, in order, and only under the claim that holds."""

from __future__ import annotations

import uuid
from datetime import timedelta

import numpy as np
import pytest

from vad.results import CheckpointWritten, Log, Metrics, Progress, Result, Started
from webapp.runs import metrics, recording
from webapp.runs.claims import Claim, ClaimLost, Outcome, Slot
from webapp.runs.lifecycle import claiming, commands, ending
from webapp.runs.models import Checkpoint, MetricSummary, State


def start(total=100, resumed=0) -> Started:
    return Started(
        pid=1, device="cpu", total=total, unit="steps", resumed_step=resumed,
        environment={"torch": "2"},
    )  # fmt: skip


def point(step, value=0.0) -> Metrics:
    return Metrics(step=step, values={"loss/total": value, "loss/kl": -value})


def saved(step, best=False) -> CheckpointWritten:
    return CheckpointWritten(
        step=step, path=f"checkpoints/step-{step:06}.safetensors", sha256="a" * 64,
        size_bytes=10, best=best, metrics={"validation/video_auc": 0.5},
    )  # fmt: skip


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def claim(run, worker) -> Claim:
    found = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    assert found is not None
    return found


def test_a_batch_starts_the_run_and_stores_what_it_said(run, claim, user):
    stop = recording.record_batch(
        claim,
        [
            start(),
            Log(level="info", message="hello"),
            *(point(s, float(s)) for s in range(1, 31)),
            Progress(done=29, total=100, unit="steps", note="epoch 1"),
            Progress(done=30, total=100, unit="steps", note="epoch 2"),
            saved(30, best=True),
            Result(kind="train-urdmu", data={}),
        ],
        rate=12.5,
    )

    run.refresh_from_db()
    assert stop == ""
    assert (run.state, run.done, run.progress_note) == (State.RUNNING, 30, "epoch 2")
    assert run.rate == 12.5
    assert run.environment == {"device": "cpu", "pid": 1, "torch": "2"}
    assert metrics.read_raw(run, "loss/total").values.tolist() == list(range(1, 31))
    assert Checkpoint.objects.get(run=run).best


def test_a_batch_brings_back_the_stop_that_was_asked_for(run, claim, user):
    recording.record_batch(claim, [start()])
    commands.cancel(run, by=user)

    assert recording.record_batch(claim, [point(1)]) == "cancel"


def test_an_old_claim_stores_nothing(run, claim):
    recording.record_batch(claim, [start(), point(1, 1.0)])
    old = Claim(id=uuid.uuid4(), run_id=run.pk, attempt=1)

    with pytest.raises(ClaimLost):
        recording.record_batch(old, [start(resumed=0), point(1, 2.0), saved(1), point(2, 2.0)])

    run.refresh_from_db()
    assert metrics.read_raw(run, "loss/total").values.tolist() == [1.0]
    assert not Checkpoint.objects.exists()


def test_a_batch_is_stored_as_a_whole_or_not_at_all(run, claim, monkeypatch):
    def broken(*args):
        raise RuntimeError("disk")

    monkeypatch.setattr(recording, "keep_checkpoint", broken)
    with pytest.raises(RuntimeError):
        recording.record_batch(claim, [start(), point(1), saved(1)])

    run.refresh_from_db()
    assert run.state == State.STARTING
    assert not MetricSummary.objects.exists()


def test_kills_at_any_step_leave_every_step_once_with_its_last_value(run, worker, settings):
    """Three processes; each resumes from the newest checkpoint of the one before."""
    settings.RUN_RETRY_S = 0
    rng = np.random.default_rng(3)
    reached, resumed = 0, 0
    for attempt, end in enumerate([37, 64, 100], start=1):
        held = claiming.claim_best(worker=worker, slot=Slot("cpu"))
        assert held is not None
        said = [start(resumed=resumed)]
        for step in range(resumed + 1, end + 1):
            said.append(point(step, attempt * 1000.0 + step))
            if step % 10 == 0:
                said.append(saved(step))
        while said:
            size = int(rng.integers(1, 9))
            recording.record_batch(held, said[:size])
            said = said[size:]
        reached, resumed = end, end - end % 10
        if end < 100:
            ending.finish(held, Outcome(kind="lost", reason="killed"))

    raw = metrics.read_raw(run, "loss/total")
    assert reached == 100
    assert raw.steps.tolist() == list(range(1, 101))
    by_attempt = [1] * 30 + [2] * 30 + [3] * 40
    assert (raw.values // 1000).astype(int).tolist() == by_attempt
    assert list(run.checkpoints.values_list("step", flat=True)) == list(range(10, 101, 10))
    summary = MetricSummary.objects.get(run=run, key="loss/total")
    assert (summary.count, summary.last_step, summary.last) == (100, 100, 3100.0)


def test_best_moves_to_the_newest_best_and_back_when_that_is_forgotten(run, worker, claim):
    recording.record_batch(claim, [start(), saved(10, best=True), saved(20, best=True), saved(30)])
    best = Checkpoint.objects.filter(run=run, best=True)
    assert best.get().step == 20
    assert recording.checkpoint_for(run.pk, "best").step == 20
    assert recording.checkpoint_for(run.pk, "last").step == 30

    ending.finish(claim, Outcome(kind="lost"))
    again = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    recording.record_batch(again, [start(resumed=10)])

    assert best.get().step == 10
    recording.record_batch(again, [saved(20)])
    assert best.get().step == 10


def test_a_checkpoint_written_twice_is_one(run, claim):
    recording.record_batch(claim, [start(), saved(10), saved(10, best=True)])

    assert Checkpoint.objects.get(run=run).best


def test_a_diverged_loss_is_kept(run, claim):
    recording.record_batch(claim, [start(), point(1, 1.0), point(2, float("nan"))])

    row = MetricSummary.objects.get(run=run, key="loss/total")
    assert (row.count, row.last, row.greatest) == (2, None, 1.0)


def sample(run, second: float, **values: float) -> recording.SystemSample:
    run.refresh_from_db()
    at = run.started_at + timedelta(seconds=second)
    return recording.SystemSample(at=at, values={f"sys/{k}": v for k, v in values.items()})


def test_what_the_worker_measured_stays_when_a_resume_takes_steps_back(run, worker, claim):
    said = [
        start(),
        *(point(s) for s in range(1, 21)),
        saved(10),
        sample(run, 55.2, cpu_percent=90),
    ]
    recording.record_batch(claim, said)
    ending.finish(claim, Outcome(kind="lost"))
    again = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    recording.record_batch(again, [start(resumed=10), point(11), sample(run, 300, cpu_percent=50)])

    assert metrics.read_raw(run, "loss/total").steps.tolist() == list(range(1, 12))
    found = metrics.read_raw(run, "sys/cpu_percent")
    assert found.steps.tolist() == [55, 300]  # seconds since the first start, not steps
    assert found.values.tolist() == [90, 50]
    assert metrics.last_step(run) == 11


def test_a_sample_that_is_told_twice_is_stored_once(run, claim):
    one = sample(run, 5, memory_mb=100)
    recording.record_batch(claim, [start(), one])
    recording.record_batch(claim, [one])

    assert metrics.read_raw(run, "sys/memory_mb").steps.tolist() == [5]
