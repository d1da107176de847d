"""The only module that changes a run's state.

The database decides, Celery delivers: a queued run is a row, the message is a doorbell. Every step
is one guarded update, so two processes cannot both win. A claim is a fencing token: what an
executor writes carries it, and a write under an old claim is refused with `ClaimLost`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from vad.errors import VadError
from webapp.accounts.models import User
from webapp.core import doorbell
from webapp.fleet.models import Worker
from webapp.runs.models import CLAIMED, ENDED, Run, RunEvent, State, Stop

log = logging.getLogger(__name__)

# to -> from. A step that is not here is not legal.
SOURCES: dict[State, tuple[State, ...]] = {
    State.WAITING: (State.HELD, State.FAILED, State.CANCELLED),
    State.QUEUED: (
        State.WAITING, State.HELD, State.STARTING, State.RUNNING, State.FAILED, State.CANCELLED,
    ),
    State.HELD: (State.WAITING, State.QUEUED, State.STARTING, State.RUNNING),
    State.STARTING: (State.QUEUED,),
    State.RUNNING: (State.STARTING,),
    State.SUCCEEDED: (State.STARTING, State.RUNNING),
    State.FAILED: (State.STARTING, State.RUNNING),
    State.CANCELLED: (State.WAITING, State.QUEUED, State.HELD, State.STARTING, State.RUNNING),
}  # fmt: skip


class ClaimLost(Exception):
    """The run was given to somebody else; whoever holds the old claim must stop."""


@dataclass(frozen=True)
class Slot:
    """A place on a worker where one run can run."""

    kind: str  # "gpu" or "cpu"
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class Claim:
    """The right to run one run, once."""

    id: uuid.UUID
    run_id: uuid.UUID
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the child process ended, as its supervisor saw it."""

    kind: str  # succeeded, failed, stopped, lost
    result: dict[str, Any] = field(default_factory=dict)
    error: VadError | None = None
    reason: str = ""  # of a loss: signal, exit code, last words; of a stop that nobody asked for


# --- claiming -------------------------------------------------------------------------------


def claim_best(*, worker: Worker, slot: Slot) -> Claim | None:
    """Claim the run that should be next on this slot: None when nothing fits.

    Highest priority first, then the owner who now runs least, then the longest queued.
    """
    running = (
        Run.objects.filter(owner=OuterRef("owner"), state__in=CLAIMED)
        .order_by()
        .values("owner")
        .annotate(n=Count("pk"))
        .values("n")
    )
    with transaction.atomic():
        runs = (
            Run.objects.filter(_fits(slot), state=State.QUEUED)
            .annotate(owner_runs=Coalesce(Subquery(running), 0))
            .order_by("-priority", "owner_runs", "queued_at", "id")
        )
        if connection.features.has_select_for_update_skip_locked:
            runs = runs.select_for_update(skip_locked=True, of=("self",))
        run = runs.first()
        if run is None:
            return None
        claim = Claim(id=uuid.uuid4(), run_id=run.pk, attempt=run.attempt)
        moved = _move(
            run.pk,
            to=State.STARTING,
            claim=claim.id,
            worker=worker,
            slot=str(slot),
            stop=Stop.NONE,
            beat_at=Now(),
            started_at=Coalesce(F("started_at"), Now()),
        )
        if not moved:
            return None
        _note(claim.run_id, "claimed", f"by {worker.name} on {slot}", attempt=claim.attempt)
    return claim


def _fits(slot: Slot) -> Q:
    """Runs that may use the slot. A CPU slot takes 'auto' runs only while no GPU is alive."""
    if slot.kind == "gpu":
        return Q(device__in=("auto", "cuda"))
    return Q(device="cpu") if _gpu_is_alive() else Q(device__in=("cpu", "auto"))


def _gpu_is_alive() -> bool:
    return Worker.objects.alive().filter(gpu_slots__gt=0).exists()


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


# --- what the executor says -----------------------------------------------------------------


def started(claim: Claim, *, total: int, unit: str, done: int, environment: dict[str, Any]) -> None:
    """The child is at work: starting -> running."""
    with guarded(claim) as run:
        if run.state == State.STARTING:
            _move(
                run.pk, to=State.RUNNING, held_by=claim, claim=claim.id, beat_at=Now(),
                total=total, unit=unit, done=done, environment=environment,
            )  # fmt: skip
            again = f"resumed after {done} {unit}" if done else f"{total} {unit}"
            _note(run.pk, "started", again, attempt=claim.attempt)


def beat(claim: Claim, **progress: Any) -> str:
    """Say that the executor lives, with its progress if any (done, total, rate, progress_note).

    Returns:
        The stop that was asked for ("" for none): `Stop.CANCEL` or `Stop.HOLD`.

    Raises:
        ClaimLost: stop at once, the run is somebody else's.
    """
    rows = Run.objects.filter(pk=claim.run_id, claim=claim.id)
    if not rows.update(beat_at=Now(), **progress):
        raise ClaimLost(str(claim.run_id))
    return rows.values_list("stop", flat=True).first() or Stop.NONE


def finish(claim: Claim, outcome: Outcome) -> State:
    """End a claim. Returns the state that the run is in now.

    succeeded: its result is recorded and its children are let go in the same transaction.
    failed: a `VadError`; trying again would not help. stopped: somebody asked for it (cancel,
    hold), or the worker is leaving (back to the queue, no attempt lost). lost: the child died
    without a word; back to the queue while attempts are left.
    """
    from webapp.runs import outcomes  # it uses models of apps that use this module

    with guarded(claim) as run:
        if outcome.kind == "succeeded":
            try:
                with transaction.atomic():
                    kept = outcomes.record(run, outcome.result)
            except OperationalError:
                raise  # the database is in trouble, not the run
            except VadError as exc:
                return _fail(run, exc)
            except Exception as exc:  # a fault of ours must end the run, not repeat it for ever
                log.exception("run.result-not-recorded run_id=%s", run.pk)
                return _fail(run, _unexpected(exc))
            _leave(run, State.SUCCEEDED, "succeeded", "", done=F("total"), result=kept)
            _release_children(run)
            return State.SUCCEEDED
        if outcome.kind == "failed" and outcome.error is not None:
            return _fail(run, outcome.error)
        if outcome.kind == "stopped" and run.stop == Stop.NONE:
            return _leave(
                run, State.QUEUED, "given-back", outcome.reason or "the worker is leaving"
            )
        return _lost(run, outcome.reason or "stopped on request")


def _unexpected(exc: Exception) -> VadError:
    return VadError(
        "unexpected",
        f"The run ended well, but its result could not be recorded ({type(exc).__name__}).",
        "Its files are kept. Tell whoever runs the server; the server's log has the trace.",
    )


def _fail(run: Run, error: VadError) -> State:
    return _leave(run, State.FAILED, "failed", error.message, error=error.to_dict())


def _lost(run: Run, reason: str) -> State:
    """Again while attempts are left, else failed with a reason that a person understands.

    A stop that somebody asked for comes first: a dead child has stopped as well.
    """
    if run.stop == Stop.CANCEL:
        return _leave(run, State.CANCELLED, "cancelled", reason)
    if run.stop == Stop.HOLD:
        return _leave(run, State.HELD, "held", reason)
    if run.attempt < run.max_attempts:
        return _leave(run, State.QUEUED, "lost", reason, attempt=F("attempt") + 1)
    error = VadError(
        "worker-lost",
        f"The run was lost {run.attempt} times; the last time: {reason}",
        "Look at the last lines of the log. If memory ran out, choose a smaller batch; then retry.",
    )
    return _fail(run, error)


def _leave(run: Run, to: State, kind: str, message: str, **fields: Any) -> State:
    """Move a claimed run out of its slot and note it."""
    if to == State.QUEUED:
        fields["queued_at"] = Now()
        _ring_if_queued(run, to)
    elif to in ENDED:
        fields["ended_at"] = Now()
    moved = _move(run.pk, to=to, worker=None, slot="", stop=Stop.NONE, rate=None, **fields)
    if not moved:  # the row is locked and claimed, so only SOURCES can be wrong
        raise RuntimeError(f"no step from {run.state} to {to}")
    _note(run.pk, kind, message, attempt=run.attempt)
    return to


# --- what people say ------------------------------------------------------------------------


@transaction.atomic
def enter(run: Run, *, by: User) -> None:
    """Give a run that was just created its first state: waiting for parents, or queued.

    In the transaction that creates the row, so that nobody sees the run without its parents.
    """
    to = _first_state(run)
    entered = Run.objects.filter(pk=run.pk, queued_at=None, state=State.QUEUED).update(
        state=to, queued_at=Now(), changed_at=Now()
    )
    if not entered:
        raise not_movable(run, "entered again")
    _note(run.pk, "created", "", by=by)
    _ring_if_queued(run, to)
    run.refresh_from_db()


@transaction.atomic
def cancel(run: Run, *, by: User) -> None:
    """Stop a run for good: at once when it waits, after a checkpoint when it runs."""
    if _locked(run).state in CLAIMED:
        _ask_to_stop(run, Stop.CANCEL, by=by)
    else:
        _step(run, "cancelled", State.CANCELLED, only=(State.WAITING, State.QUEUED, State.HELD),
              by=by, ended_at=Now())  # fmt: skip


@transaction.atomic
def hold(run: Run, *, by: User) -> None:
    """Pause a run: it keeps its checkpoints and gives its slot away."""
    if _locked(run).state in CLAIMED:
        _ask_to_stop(run, Stop.HOLD, by=by)
    else:
        _step(run, "held", State.HELD, only=(State.WAITING, State.QUEUED), by=by)


@transaction.atomic
def release(run: Run, *, by: User) -> None:
    """Let a held run go on."""
    _locked(run)
    _step(run, "released", _first_state(run), only=(State.HELD,), by=by, queued_at=Now())


@transaction.atomic
def retry(run: Run, *, by: User) -> None:
    """Queue a failed or cancelled run again, with fresh attempts, from its last checkpoint."""
    _locked(run)
    _step(run, "retried", _first_state(run), only=(State.FAILED, State.CANCELLED), by=by,
          queued_at=Now(), attempt=1, error=None, ended_at=None)  # fmt: skip


@transaction.atomic
def prioritize(run: Run, *, priority: int, by: User) -> None:
    """Move a run that has not started up or down the queue; the highest priority goes first."""
    before = _locked(run)
    if before.state not in (State.WAITING, State.QUEUED, State.HELD):
        raise not_movable(run, "moved in the queue")
    Run.objects.filter(pk=run.pk).update(priority=priority, changed_at=Now())
    _note(run.pk, "prioritized", f"from {before.priority} to {priority}", by=by)


def _locked(run: Run) -> Run:
    """The row as it is now, locked until the transaction ends: nobody moves it in between."""
    row = Run.objects.select_for_update().filter(pk=run.pk).first()
    if row is None:
        raise not_movable(run, "changed")
    return row


def _first_state(run: Run) -> State:
    """Queued, unless a parent is not done. A parent that ends meanwhile is seen by the sweep."""
    waits = run.parents.exclude(state=State.SUCCEEDED).exists()
    return State.WAITING if waits else State.QUEUED


def _step(
    run: Run, kind: str, to: State, *, only: tuple[State, ...], by: User, **fields: Any
) -> None:
    if not _move(run.pk, to=to, only=only, **fields):
        raise not_movable(run, kind)
    _note(run.pk, kind, "", by=by)
    _ring_if_queued(run, to)


def _ask_to_stop(run: Run, stop: Stop, *, by: User) -> None:
    Run.objects.filter(pk=run.pk).update(stop=stop, changed_at=Now())
    _note(run.pk, "stop-asked", stop.label, by=by)


def _ring_if_queued(run: Run, state: State) -> None:
    if state == State.QUEUED:
        transaction.on_commit(partial(doorbell.ring, _queue_of(run.device)))


def not_movable(run: Run, step: str) -> VadError:
    """The error of a step that the run's present state does not allow."""
    state = Run.objects.filter(pk=run.pk).values_list("state", flat=True).first()
    return VadError(
        "run-not-movable",
        f"{run.name} is {state or 'deleted'} and cannot be {step}.",
        "Reload the page to see its present state.",
    )


# --- the sweep ------------------------------------------------------------------------------


def sweep() -> list[uuid.UUID]:
    """Take back what is lost and ring for what waits. Harmless at any time, any number of times.

    Returns:
        The runs that were taken back.
    """
    limit = Now() - timedelta(seconds=settings.RUN_LOST_AFTER_S)
    taken = []
    lost = Run.objects.filter(state__in=CLAIMED, beat_at__lt=limit).select_related("worker")
    for run in lost:
        with transaction.atomic():
            row = (
                Run.objects.select_for_update()
                .filter(pk=run.pk, claim=run.claim, state__in=CLAIMED, beat_at__lt=limit)
                .first()
            )
            if row is not None:
                worker = run.worker.name if run.worker else "its worker"
                _lost(row, f"{worker} was not heard of for {settings.RUN_LOST_AFTER_S:g} s")
                taken.append(row.pk)
    for run in ready_to_queue():
        with transaction.atomic():
            _queue_waiting(run)
    devices = Run.objects.filter(state=State.QUEUED).order_by().values_list("device", flat=True)
    for queue in {_queue_of(device) for device in devices.distinct()}:
        doorbell.ring(queue)
    return taken


def ready_to_queue() -> QuerySet[Run]:
    """Waiting runs whose parents have all succeeded."""
    undone = Run.objects.exclude(state=State.SUCCEEDED)
    return Run.objects.filter(state=State.WAITING).exclude(parents__in=undone)


def _release_children(run: Run) -> None:
    # Locked first: when two parents end at once, the later one sees that the other is done.
    list(Run.objects.filter(parents=run).order_by("pk").select_for_update(of=("self",)))
    for child in ready_to_queue().filter(parents=run):
        _queue_waiting(child)


def _queue_waiting(run: Run) -> None:
    if _move(run.pk, to=State.QUEUED, only=(State.WAITING,), queued_at=Now()):
        _note(run.pk, "queued", "what it waited for is done")
        _ring_if_queued(run, State.QUEUED)


# --- the one update -------------------------------------------------------------------------


def _queue_of(device: str) -> str:
    """The Celery queue whose bell to ring: that of the slots which `_fits` lets take the run.

    A bell that a worker without such a slot answers is spent, and the run waits for the sweep.
    """
    if device == "auto":
        return "gpu" if _gpu_is_alive() else "cpu"
    return "gpu" if device == "cuda" else "cpu"


def _move(
    run_id: uuid.UUID,
    *,
    to: State,
    only: tuple[State, ...] | None = None,
    held_by: Claim | None = None,
    claim: uuid.UUID | None = None,
    **fields: Any,
) -> bool:
    """One guarded update. False: someone was faster, the claim is old, or the step is not legal.

    Args:
        only: sources to allow, of those that are legal at all.
        held_by: the claim that must hold now.
        claim: the claim to set; leaving it out clears it.
    """
    legal = [s for s in SOURCES[to] if only is None or s in only]
    runs = Run.objects.filter(pk=run_id, state__in=legal)
    if held_by is not None:
        runs = runs.filter(claim=held_by.id)
    return runs.update(state=to, claim=claim, changed_at=Now(), **fields) == 1


def _note(
    run_id: uuid.UUID,
    kind: str,
    message: str,
    *,
    by: User | None = None,
    attempt: int | None = None,
) -> None:
    if attempt is None:
        attempt = Run.objects.values_list("attempt", flat=True).get(pk=run_id)
    RunEvent.objects.create(run_id=run_id, kind=kind, message=message[:400], by=by, attempt=attempt)
