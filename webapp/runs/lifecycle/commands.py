"""What people say, and rules on their behalf: each step is taken at once or refused."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from vad.errors import VadError
from webapp.accounts.models import User
from webapp.runs import recovery
from webapp.runs.lifecycle import bells, events, external, moves, parents, stopping
from webapp.runs.models import CLAIMED, Run, State, Stop


@transaction.atomic
def enter(run: Run, *, by: User) -> None:
    """Give a run that was just created its first state: waiting for parents, or queued.

    In the transaction that creates the row, so that nobody sees the run without its parents.
    """
    to = parents.first_state(run)
    entered = Run.objects.filter(pk=run.pk, queued_at=None, state=State.QUEUED).update(
        state=to, queued_at=Now(), changed_at=Now()
    )
    if not entered:
        raise moves.not_movable(run, "entered again")
    events.note(run.pk, "created", "", by=by)
    if to == State.QUEUED:
        bells.ring_for(run)
    run.refresh_from_db()


@transaction.atomic
def cancel(run: Run, *, by: User | None, cause: str = "") -> None:
    """Stop a run for good: at once when it waits, after a checkpoint when it runs.

    An external run ends at once; its script learns of it with the next thing that it logs.

    Args:
        by: None when no person says so, but a rule.
        cause: why, for the run's events.
    """
    row = moves.locked(run)
    if row.is_external:
        if not external.end_locked(row, State.CANCELLED, by=by, cause=cause):
            raise moves.not_movable(run, "cancelled")
    elif row.state in CLAIMED:
        stopping.ask(run, Stop.CANCEL, by=by, cause=cause)
    else:
        _step(run, "cancelled", State.CANCELLED, only=(State.WAITING, State.QUEUED, State.HELD),
              by=by, cause=cause, ended_at=Now())  # fmt: skip


@transaction.atomic
def hold(run: Run, *, by: User) -> None:
    """Pause a run: it keeps its checkpoints and gives its slot away.

    Not one that was asked to stop for good: holding all trials of a sweep would keep those that
    its stop rule has just given up.
    """
    row = _queued_here(run, "held")
    if row.state in CLAIMED:
        if row.stop == Stop.CANCEL:
            raise VadError(
                "run-not-movable",
                f"{run.name} is being cancelled and cannot be held.",
                "Retry it when it has left: it goes on from its last checkpoint.",
            )
        stopping.ask(run, Stop.HOLD, by=by)
    else:
        _step(run, "held", State.HELD, only=(State.WAITING, State.QUEUED), by=by)


@transaction.atomic
def release(run: Run, *, by: User) -> None:
    """Let a held run go on; one that was asked to hold and has not left yet need not leave."""
    row = _queued_here(run, "released")
    if row.state in CLAIMED and row.stop == Stop.HOLD:
        Run.objects.filter(pk=run.pk).update(stop=Stop.NONE, changed_at=Now())
        events.note(run.pk, "released", "before it had left", by=by)
        return
    _step(run, "released", parents.first_state(run), only=(State.HELD,), by=by, queued_at=Now())


@transaction.atomic
def retry(run: Run, *, by: User) -> None:
    """Queue a failed or cancelled run again, with fresh attempts, from its last checkpoint.

    Raises:
        VadError: `run-not-movable`; `time-limit` when its time is up and would be at once.
    """
    row = _queued_here(run, "retried")
    if row.time_limit_s is not None and row.spent_s >= row.time_limit_s:
        raise recovery.out_of_time(row.time_limit_s, row.spent_s)
    _step(run, "retried", parents.first_state(run), only=(State.FAILED, State.CANCELLED), by=by,
          queued_at=Now(), attempt=1, error=None, ended_at=None, setbacks={},
          not_before=None)  # fmt: skip


@transaction.atomic
def prioritize(run: Run, *, priority: int, by: User) -> None:
    """Move a run that has not started up or down the queue; the highest priority goes first."""
    before = _queued_here(run, "moved in the queue")
    if before.state not in (State.WAITING, State.QUEUED, State.HELD):
        raise moves.not_movable(run, "moved in the queue")
    Run.objects.filter(pk=run.pk).update(priority=priority, by_hand=None, changed_at=Now())
    events.note(run.pk, "prioritized", f"from {before.priority} to {priority}", by=by)


def _queued_here(run: Run, step: str) -> Run:
    """The row, locked, of a run that workers run: the others know no queue."""
    row = moves.locked(run)
    if row.is_external:
        raise external.refused(run, step)
    return row


def _step(
    run: Run, kind: str, to: State, *, only: tuple[State, ...], by: User | None, cause: str = "",
    **fields: Any,
) -> None:  # fmt: skip
    if not moves.move(run.pk, to=to, only=only, **fields):
        raise moves.not_movable(run, kind)
    events.note(run.pk, kind, cause, by=by)
    if to == State.QUEUED:
        bells.ring_for(run)
