"""What runs cost: a row for every claim, and what each person used lately.

The rows are exact: a claim begins and ends by the database's clock, in the transactions that take
and end it. What a person used decays by half in `settings.QUEUE_HALF_LIFE_S`, so that last week's
big job does not count for ever; kept as one number and the time at which it was right.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from webapp.runs.models import Attempt, Run, Usage


def begin(run: Run, *, claim: UUID, worker: str, slot: str, kind: str, devices: int) -> None:
    """Note that a claim took `devices` devices; in the transaction of the claim."""
    Attempt.objects.create(
        id=claim, run=run, owner_id=run.owner_id, number=run.attempt, worker=worker, slot=slot,
        kind=kind, devices=devices, started_at=Now(),
    )  # fmt: skip
    usage = Usage.objects.filter(owner_id=run.owner_id, kind=kind)
    if not usage.update(last_start_at=Now()):
        Usage.objects.get_or_create(
            owner_id=run.owner_id, kind=kind, defaults={"as_of": Now(), "last_start_at": Now()}
        )


def end(claim: UUID | None, how: str) -> float:
    """Close the row of a claim and charge its owner; in the transaction that ends the claim.

    Returns:
        Seconds that the claim lasted; 0 for one from before there were such rows.
    """
    if claim is None:
        return 0.0
    open_rows = Attempt.objects.filter(pk=claim, ended_at=None)
    if not open_rows.update(ended_at=Now(), end=how):
        return 0.0
    row = Attempt.objects.get(pk=claim)
    assert row.ended_at is not None
    seconds = max(0.0, (row.ended_at - row.started_at).total_seconds())
    usage = Usage.objects.select_for_update().filter(owner_id=row.owner_id, kind=row.kind).first()
    if usage is not None:
        usage.used_s = decayed(usage, row.ended_at) + seconds * row.devices
        usage.as_of = row.ended_at
        usage.save(update_fields=["used_s", "as_of"])
    return seconds


def decayed(usage: Usage, at: datetime) -> float:
    """Device-seconds that count at a time."""
    passed_s = max(0.0, (at - usage.as_of).total_seconds())
    return usage.used_s * 0.5 ** (passed_s / settings.QUEUE_HALF_LIFE_S)


def device_hours(runs: Iterable[UUID]) -> dict[UUID, dict[str, float]]:
    """For each run and kind of device the hours that its ended claims cost."""
    found: dict[UUID, dict[str, float]] = {}
    rows = Attempt.objects.filter(run__in=list(runs), ended_at__isnull=False)
    for row in rows:
        assert row.ended_at is not None
        hours = (row.ended_at - row.started_at).total_seconds() * row.devices / 3600
        of_run = found.setdefault(row.run_id, {})
        of_run[row.kind] = of_run.get(row.kind, 0.0) + hours
    return found


def gpu_hours(run: Run) -> float:
    """Hours of GPUs that the run has cost so far, what runs now included; 0 without a GPU."""
    hours = device_hours([run.pk]).get(run.pk, {}).get("gpu", 0.0)
    for row in run.attempts.filter(ended_at=None, kind="gpu").annotate(now=Now()):
        hours += (row.now - row.started_at).total_seconds() * row.devices / 3600
    return hours
