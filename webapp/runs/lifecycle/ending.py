"""How a claim ends, and what becomes of its run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now

from vad.errors import VadError
from webapp.runs import accounting, recovery
from webapp.runs.claims import Claim, Outcome
from webapp.runs.lifecycle import bells, events, executing, moves, parents
from webapp.runs.models import ENDED, Run, State, Stop

log = structlog.get_logger(__name__)


def finish(claim: Claim, outcome: Outcome) -> State:
    """End a claim. Returns the state that the run is in now.

    succeeded: its result is recorded and its children are let go in the same transaction.
    failed: a `VadError`; recovery.py says whether trying again may help. stopped: somebody asked
    for it (cancel, hold), its time is up, or the worker or the run makes room (back to the queue,
    no attempt lost). lost: the child died without a word; back while attempts are left.
    """
    from webapp.runs import outcomes  # it uses models of apps that use this package

    with executing.guarded(claim) as run:
        if outcome.kind == "succeeded":
            try:
                with transaction.atomic():
                    kept = outcomes.record(run, outcome.result)
            except OperationalError:
                raise  # the database is in trouble, not the run
            except VadError as exc:
                return _fail(run, exc)
            except Exception as exc:  # a fault of ours must end the run, not repeat it for ever
                log.exception("run.result-not-recorded", run_id=run.pk)
                return _fail(run, _unexpected(exc))
            _leave(run, State.SUCCEEDED, "succeeded", "", done=F("total"), result=kept)
            parents.release_children(run)
            return State.SUCCEEDED
        if outcome.error is not None:
            return _failed(run, outcome.error)
        if outcome.kind == "stopped" and run.stop == Stop.NONE:
            return _leave(
                run, State.QUEUED, "given-back", outcome.reason or "the worker is leaving"
            )
        return lost(run, outcome.reason or "stopped on request", crashed=outcome.kind == "lost")


def _failed(run: Run, error: VadError) -> State:
    """Again after a pause where the cause may pass, else failed. A stop asked for comes first."""
    pause_s = recovery.pause_after_error(error, run.setbacks)
    if pause_s is None:
        return _fail(run, error)
    if run.stop in (Stop.CANCEL, Stop.HOLD, Stop.LIMIT):
        return lost(run, error.message)
    setbacks = {**run.setbacks, error.code: run.setbacks.get(error.code, 0) + 1}
    return _again(run, "set-back", error.message, pause_s, setbacks=setbacks)


def lost(run: Run, reason: str, *, crashed: bool = False) -> State:
    """Again while attempts are left, else failed with a reason that a person understands.

    A stop that somebody asked for comes first: a dead child has stopped as well.
    """
    if run.stop == Stop.CANCEL:
        return _leave(run, State.CANCELLED, "cancelled", reason)
    if run.stop == Stop.HOLD:
        return _leave(run, State.HELD, "held", reason)
    if run.stop == Stop.LIMIT:
        return _fail(run, recovery.out_of_time(run.time_limit_s or 0, _spent_s(run)))
    if run.stop == Stop.YIELD:
        to = run.yields_to
        return _leave(run, State.QUEUED, "preempted", f"made room for {to or 'another run'}")
    if run.attempt < run.max_attempts:
        first_s = settings.RUN_RETRY_S if crashed else 0.0
        pause_s = recovery.pause_after_loss(run.attempt, first_s=first_s)
        return _again(run, "lost", reason, pause_s, attempt=F("attempt") + 1)
    error = VadError(
        "worker-lost",
        f"The run was lost {run.attempt} times; the last time: {reason}",
        "Look at the last lines of the log. If memory ran out, choose a smaller batch; then retry.",
    )
    return _fail(run, error)


def _fail(run: Run, error: VadError) -> State:
    return _leave(run, State.FAILED, "failed", error.message, error=error.to_dict())


def _unexpected(exc: Exception) -> VadError:
    return VadError(
        "unexpected",
        f"The run ended well, but its result could not be recorded ({type(exc).__name__}).",
        "Its files are kept. Tell whoever runs the server; the server's log has the trace.",
    )


def _again(run: Run, kind: str, reason: str, pause_s: float, **fields: Any) -> State:
    """Back to the queue, for a pause at first."""
    if pause_s:
        fields["not_before"] = Now() + timedelta(seconds=pause_s)
        reason = f"{reason} Again in {recovery.words(pause_s)}."
    return _leave(run, State.QUEUED, kind, reason, **fields)


def _leave(run: Run, to: State, kind: str, message: str, **fields: Any) -> State:
    """Move a claimed run out of its slot, note it, and close its account.

    One that goes back to the queue keeps its age, and with it its place.
    """
    if to == State.QUEUED and not fields.get("not_before"):
        bells.ring_for(run)
    elif to in ENDED:
        fields["ended_at"] = Now()
    spent_s = accounting.end(run.claim, kind)
    moved = moves.move(
        run.pk, to=to, worker=None, slot="", stop=Stop.NONE, rate=None, yields_to=None,
        claimed_at=None, spent_s=F("spent_s") + spent_s, **fields,
    )  # fmt: skip
    if not moved:  # the row is locked and claimed, so only moves.SOURCES can be wrong
        raise RuntimeError(f"no step from {run.state} to {to}")
    events.note(run.pk, kind, message, attempt=run.attempt)
    return to


def _spent_s(run: Run) -> float:
    """Of all attempts, the present one up to its last beat included."""
    now_s = (run.beat_at - run.claimed_at).total_seconds() if run.beat_at and run.claimed_at else 0
    return run.spent_s + max(0.0, now_s)
