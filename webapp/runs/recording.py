"""What an executor writes while its run goes on. Everything here carries the claim."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from vad import results
from webapp.runs import chunks
from webapp.runs.claims import Claim
from webapp.runs.lifecycle import executing
from webapp.runs.models import Checkpoint, Run
from webapp.storage import retention


@dataclass(frozen=True, kw_only=True)
class SystemSample:
    """What a run's processes use of the machine at one time, as its worker measured it.

    Args:
        at: UTC.
        values: by key, each beginning with `chunks.SYSTEM`.
    """

    at: datetime
    values: Mapping[str, float]


Said = results.Record | SystemSample


def record_batch(claim: Claim, records: Sequence[Said], *, rate: float | None = None) -> str:
    """Store what a child said, in its order, in one transaction: all of it or nothing.

    `Started`, `Metrics`, `Progress`, `CheckpointWritten` and samples are stored. Log lines belong
    into the run's log file, and what ends a run (`Result`, `Failed`, `Stopped`) to
    `ending.finish`. Counts as a beat.

    Args:
        rate: units a second as the supervisor measured it, if it did.

    Returns:
        The stop that was asked for, as `executing.beat` does.

    Raises:
        ClaimLost: nothing was stored; stop at once, the run is somebody else's.
    """
    with executing.guarded(claim) as run:
        pending: list[results.Metrics] = []
        samples: list[SystemSample] = []
        fields: dict[str, Any] = {"beat_at": Now()}
        if rate is not None:
            fields["rate"] = rate
        for record in records:
            if isinstance(record, results.Metrics):
                pending.append(record)
            elif isinstance(record, SystemSample):
                samples.append(record)
            elif isinstance(record, results.Started):
                _append(run, pending)
                pending = []
                _resume(claim, run, record)
            elif isinstance(record, results.Progress):
                fields.update(
                    done=record.done,
                    total=record.total,
                    unit=record.unit[:12],
                    progress_note=record.note[:200],
                )
            elif isinstance(record, results.CheckpointWritten):
                keep_checkpoint(run, record)
        _append(run, pending, samples)
        Run.objects.filter(pk=run.pk).update(**fields)
        return run.stop


def checkpoint_for(run_id: uuid.UUID, which: str) -> Checkpoint | None:
    """The checkpoint that 'best' or 'last' means now; 'best' is the last one without a rule."""
    checkpoints = Checkpoint.objects.filter(run_id=run_id, removed=None)
    best = checkpoints.filter(best=True).last() if which == "best" else None
    return best or checkpoints.order_by("step").last()


def _append(
    run: Run, records: Iterable[results.Metrics], samples: Iterable[SystemSample] = ()
) -> None:
    rows = [(r.step, r.values) for r in records]
    rows += [(_seconds(run, sample), sample.values) for sample in samples]
    chunks.append(run, chunks.columns(rows))


def _seconds(run: Run, sample: SystemSample) -> int:
    """Since the run's first start: told twice, a sample comes to the same place."""
    begun = run.started_at or sample.at
    return max(0, round((sample.at - begun).total_seconds()))


def _resume(claim: Claim, run: Run, record: results.Started) -> None:
    """Forget what an earlier process did after the step that this one goes on from."""
    executing.started(
        claim,
        total=record.total,
        unit=record.unit[:12],
        done=record.resumed_step,
        environment={"device": record.device, "pid": record.pid, **record.environment},
    )
    chunks.truncate_after(run, record.resumed_step)
    Checkpoint.objects.filter(run=run, step__gt=record.resumed_step).delete()
    _mark_best(run)


def keep_checkpoint(run: Run, record: results.CheckpointWritten) -> None:
    """Note a checkpoint whose file is complete; one of the same step is replaced."""
    row, _ = Checkpoint.objects.update_or_create(
        run=run,
        step=record.step,
        defaults={
            "path": record.path,
            "sha256": record.sha256,
            "size_bytes": record.size_bytes,
            "metrics": dict(record.metrics),
            "was_best": record.best,
        },
    )
    retention.taken_up(row)
    _mark_best(run)
    retention.apply_later(run.pk)


def _mark_best(run: Run) -> None:
    """The newest of those that were the best when they were written is the best now."""
    checkpoints = Checkpoint.objects.filter(run=run)
    newest = checkpoints.filter(was_best=True).order_by("step").last()
    old = checkpoints.filter(best=True)
    if newest is not None:
        old = old.exclude(pk=newest.pk)
    old.update(best=False)
    if newest is not None and not newest.best:
        checkpoints.filter(pk=newest.pk).update(best=True)
