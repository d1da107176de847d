"""What an executor says while its claim holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from webapp.runs.claims import Claim, ClaimLost
from webapp.runs.lifecycle import events, moves, stopping
from webapp.runs.models import Run, State, Stop


@contextmanager
def guarded(claim: Claim) -> Iterator[Run]:
    """One transaction in which the claim holds; the row is locked until it commits.

    Raises:
        ClaimLost: the claim is no longer the run's.
    """
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=claim.run_id, claim=claim.id).first()
        if run is None:
            raise ClaimLost(str(claim.run_id))
        yield run


def started(claim: Claim, *, total: int, unit: str, done: int, environment: dict[str, Any]) -> None:
    """The child is at work: starting -> running."""
    with guarded(claim) as run:
        if run.state == State.STARTING:
            moves.move(
                run.pk, to=State.RUNNING, held_by=claim, claim=claim.id, beat_at=Now(),
                total=total, unit=unit, done=done, environment=environment,
            )  # fmt: skip
            again = f"resumed after {done} {unit}" if done else f"{total} {unit}"
            events.note(run.pk, "started", again, attempt=claim.attempt)


def beat(claim: Claim, **progress: Any) -> str:
    """Say that the executor lives, with its progress if any (done, total, rate, progress_note).

    A run whose time is up is asked to stop here.

    Returns:
        The stop that was asked for ("" for none).

    Raises:
        ClaimLost: stop at once, the run is somebody else's.
    """
    rows = Run.objects.filter(pk=claim.run_id, claim=claim.id)
    if not rows.update(beat_at=Now(), **progress):
        raise ClaimLost(str(claim.run_id))
    now = rows.values_list("stop", "time_limit_s", "spent_s", "claimed_at", "beat_at").first()
    if now is None:
        return Stop.NONE
    stop, limit_s, spent_s, claimed_at, beat_at = now
    if stop != Stop.NONE or limit_s is None or not claimed_at or not beat_at:
        return stop
    is_up = spent_s + (beat_at - claimed_at).total_seconds() >= limit_s
    return Stop.LIMIT if is_up and stopping.ask_unless_asked(claim.run_id, Stop.LIMIT) else stop
