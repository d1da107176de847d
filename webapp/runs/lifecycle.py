"""The only module that changes a run's state.

The database decides, Celery delivers: a queued run is a row, the message is a doorbell. Every step
is one guarded update, so two processes cannot both win. A claim is a fencing token: what an
executor writes carries it, and a write under an old claim is refused with `ClaimLost`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now

from vad.errors import VadError
from webapp.accounts.models import User
from webapp.core import doorbell
from webapp.fleet.models import Worker
from webapp.runs import accounting, backlog, recovery, scheduling
from webapp.runs.claims import Claim, ClaimLost, Outcome, Slot
from webapp.runs.models import CLAIMED, ENDED, EXTERNAL, Run, RunEvent, State, Stop

log = structlog.get_logger(__name__)

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


# --- claiming -------------------------------------------------------------------------------


def claim_best(*, worker: Worker, slot: Slot, spare: Sequence[Slot] = ()) -> Claim | None:
    """Claim the run that should be next on this worker: None when nothing fits.

    Args:
        slot: a free slot of the worker, held by the caller.
        spare: more free slots of the same kind that it holds; a run of several GPUs takes them.

    Returns:
        With the slots that the run takes; the others are still free.
    """
    with transaction.atomic():
        room = backlog.room(worker, [slot, *spare])
        heads = backlog.heads(slot.kind) if room else []
        if room is None or not heads:
            return None
        standings, now = backlog.standings(slot.kind), time.time()
        while head := scheduling.choose(heads, standings, room, now, backlog.rules()):
            run = backlog.lock_first(head, slot.kind)
            places = room.places(head)
            if run is None or places is None:  # others are claiming them all
                heads.remove(head)
                continue
            taken = Slot(slot.kind, places[0], places[1:])
            claim = Claim(id=uuid.uuid4(), run_id=run.pk, attempt=run.attempt, slot=taken)
            moved = _move(
                run.pk, to=State.STARTING, claim=claim.id, worker=worker, slot=str(taken),
                stop=Stop.NONE, not_before=None, beat_at=Now(), claimed_at=Now(),
                started_at=Coalesce(F("started_at"), Now()),
            )  # fmt: skip
            if not moved:
                return None
            accounting.begin(
                run, claim=claim.id, worker=worker.name, slot=str(taken), kind=slot.kind,
                devices=len(places),
            )  # fmt: skip
            _note(claim.run_id, "claimed", f"by {worker.name} on {taken}", attempt=claim.attempt)
            return claim
    return None


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
    return Stop.LIMIT if is_up and _ask_politely(claim.run_id, Stop.LIMIT) else stop


def finish(claim: Claim, outcome: Outcome) -> State:
    """End a claim. Returns the state that the run is in now.

    succeeded: its result is recorded and its children are let go in the same transaction.
    failed: a `VadError`; recovery.py says whether trying again may help. stopped: somebody asked
    for it (cancel, hold), its time is up, or the worker or the run makes room (back to the queue,
    no attempt lost). lost: the child died without a word; back while attempts are left.
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
                log.exception("run.result-not-recorded", run_id=run.pk)
                return _fail(run, _unexpected(exc))
            _leave(run, State.SUCCEEDED, "succeeded", "", done=F("total"), result=kept)
            _release_children(run)
            return State.SUCCEEDED
        if outcome.error is not None:
            return _failed(run, outcome.error)
        if outcome.kind == "stopped" and run.stop == Stop.NONE:
            return _leave(
                run, State.QUEUED, "given-back", outcome.reason or "the worker is leaving"
            )
        return _lost(run, outcome.reason or "stopped on request", crashed=outcome.kind == "lost")


def _unexpected(exc: Exception) -> VadError:
    return VadError(
        "unexpected",
        f"The run ended well, but its result could not be recorded ({type(exc).__name__}).",
        "Its files are kept. Tell whoever runs the server; the server's log has the trace.",
    )


def _fail(run: Run, error: VadError) -> State:
    return _leave(run, State.FAILED, "failed", error.message, error=error.to_dict())


def _failed(run: Run, error: VadError) -> State:
    """Again after a pause where the cause may pass, else failed. A stop asked for comes first."""
    pause_s = recovery.pause_after_error(error, run.setbacks)
    if pause_s is None:
        return _fail(run, error)
    if run.stop in (Stop.CANCEL, Stop.HOLD, Stop.LIMIT):
        return _lost(run, error.message)
    setbacks = {**run.setbacks, error.code: run.setbacks.get(error.code, 0) + 1}
    return _again(run, "set-back", error.message, pause_s, setbacks=setbacks)


def _lost(run: Run, reason: str, *, crashed: bool = False) -> State:
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
        _ring_if_queued(run, to)
    elif to in ENDED:
        fields["ended_at"] = Now()
    spent_s = accounting.end(run.claim, kind)
    moved = _move(
        run.pk, to=to, worker=None, slot="", stop=Stop.NONE, rate=None, yields_to=None,
        claimed_at=None, spent_s=F("spent_s") + spent_s, **fields,
    )  # fmt: skip
    if not moved:  # the row is locked and claimed, so only SOURCES can be wrong
        raise RuntimeError(f"no step from {run.state} to {to}")
    _note(run.pk, kind, message, attempt=run.attempt)
    return to


def _spent_s(run: Run) -> float:
    """Of all attempts, the present one up to its last beat included."""
    now_s = (run.beat_at - run.claimed_at).total_seconds() if run.beat_at and run.claimed_at else 0
    return run.spent_s + max(0.0, now_s)


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
def cancel(run: Run, *, by: User | None, cause: str = "") -> None:
    """Stop a run for good: at once when it waits, after a checkpoint when it runs.

    An external run ends at once; its script learns of it with the next thing that it logs.

    Args:
        by: None when no person says so, but a rule.
        cause: why, for the run's events.
    """
    row = _locked(run)
    if row.is_external:
        if not _end_external(row, State.CANCELLED, by=by):
            raise not_movable(run, "cancelled")
    elif row.state in CLAIMED:
        _ask_to_stop(run, Stop.CANCEL, by=by, cause=cause)
    else:
        _step(run, "cancelled", State.CANCELLED, only=(State.WAITING, State.QUEUED, State.HELD),
              by=by, cause=cause, ended_at=Now())  # fmt: skip


@transaction.atomic
def hold(run: Run, *, by: User) -> None:
    """Pause a run: it keeps its checkpoints and gives its slot away."""
    row = _queued_here(run, "held")
    if row.state in CLAIMED:
        _ask_to_stop(run, Stop.HOLD, by=by)
    else:
        _step(run, "held", State.HELD, only=(State.WAITING, State.QUEUED), by=by)


@transaction.atomic
def release(run: Run, *, by: User) -> None:
    """Let a held run go on; one that was asked to hold and has not left yet need not leave."""
    _queued_here(run, "released")
    row = _locked(run)
    if row.state in CLAIMED and row.stop == Stop.HOLD:
        Run.objects.filter(pk=run.pk).update(stop=Stop.NONE, changed_at=Now())
        _note(run.pk, "released", "before it had left", by=by)
        return
    _step(run, "released", _first_state(run), only=(State.HELD,), by=by, queued_at=Now())


@transaction.atomic
def retry(run: Run, *, by: User) -> None:
    """Queue a failed or cancelled run again, with fresh attempts, from its last checkpoint.

    Raises:
        VadError: `run-not-movable`; `time-limit` when its time is up and would be at once.
    """
    row = _queued_here(run, "retried")
    if row.time_limit_s is not None and row.spent_s >= row.time_limit_s:
        raise recovery.out_of_time(row.time_limit_s, row.spent_s)
    _step(run, "retried", _first_state(run), only=(State.FAILED, State.CANCELLED), by=by,
          queued_at=Now(), attempt=1, error=None, ended_at=None, setbacks={},
          not_before=None)  # fmt: skip


@transaction.atomic
def prioritize(run: Run, *, priority: int, by: User) -> None:
    """Move a run that has not started up or down the queue; the highest priority goes first."""
    before = _queued_here(run, "moved in the queue")
    if before.state not in (State.WAITING, State.QUEUED, State.HELD):
        raise not_movable(run, "moved in the queue")
    Run.objects.filter(pk=run.pk).update(priority=priority, by_hand=None, changed_at=Now())
    _note(run.pk, "prioritized", f"from {before.priority} to {priority}", by=by)


def _locked(run: Run) -> Run:
    """The row as it is now, locked until the transaction ends: nobody moves it in between."""
    row = Run.objects.select_for_update().filter(pk=run.pk).first()
    if row is None:
        raise not_movable(run, "changed")
    return row


def _queued_here(run: Run, step: str) -> Run:
    """The row, locked, of a run that workers run: the others know no queue."""
    row = _locked(run)
    if row.is_external:
        raise external_refused(run, step)
    return row


def _first_state(run: Run) -> State:
    """Queued, unless a parent is not done. A parent that ends meanwhile is seen by the sweep."""
    waits = run.parents.exclude(state=State.SUCCEEDED).exists()
    return State.WAITING if waits else State.QUEUED


def _step(
    run: Run, kind: str, to: State, *, only: tuple[State, ...], by: User | None, cause: str = "",
    **fields: Any,
) -> None:  # fmt: skip
    if not _move(run.pk, to=to, only=only, **fields):
        raise not_movable(run, kind)
    _note(run.pk, kind, cause, by=by)
    _ring_if_queued(run, to)


def _ask_to_stop(run: Run, stop: Stop, *, by: User | None, cause: str = "") -> None:
    Run.objects.filter(pk=run.pk).update(stop=stop, changed_at=Now())
    _note(run.pk, "stop-asked", cause or stop.label, by=by)


@transaction.atomic
def make_room(run: Run, *, waiting: Run) -> bool:
    """Ask a running run to checkpoint and leave for a waiting one; False: it is leaving already."""
    return _ask_politely(run.pk, Stop.YIELD, yields_to=waiting)


def _ask_politely(run_id: uuid.UUID, stop: Stop, **fields: Any) -> bool:
    """Ask a run to stop unless somebody did already."""
    runs = Run.objects.filter(pk=run_id, state__in=CLAIMED, stop=Stop.NONE)
    asked = runs.update(stop=stop, changed_at=Now(), **fields) == 1
    if asked:
        _note(run_id, "stop-asked", stop.label)
    return asked


def _ring_if_queued(run: Run, state: State) -> None:
    if state == State.QUEUED:
        transaction.on_commit(partial(doorbell.ring, _queue_of(run.device, run.gpus)))


def ring_for(run: Run) -> None:
    """Ring for a queued run once the transaction is done."""
    _ring_if_queued(run, State.QUEUED)


def not_movable(run: Run, step: str) -> VadError:
    """The error of a step that the run's present state does not allow."""
    state = Run.objects.filter(pk=run.pk).values_list("state", flat=True).first()
    return VadError(
        "run-not-movable",
        f"{run.name} is {state or 'deleted'} and cannot be {step}.",
        "Reload the page to see its present state.",
    )


# --- runs that are trained elsewhere --------------------------------------------------------


def enter_external(run: Run, *, by: User, started_at: datetime) -> None:
    """Let a run that was just created run at once; its claim belongs to no worker."""
    entered = Run.objects.filter(pk=run.pk, queued_at=None, state=State.QUEUED, kind=EXTERNAL)
    if not entered.update(
        state=State.RUNNING, claim=uuid.uuid4(), queued_at=Now(), changed_at=Now(), beat_at=Now(),
        started_at=started_at, claimed_at=started_at,
    ):  # fmt: skip
        raise not_movable(run, "entered again")
    _note(run.pk, "created", "trained elsewhere", by=by)
    run.refresh_from_db()


@transaction.atomic
def end_external(
    run: Run,
    to: State,
    *,
    by: User,
    ended_at: datetime | None = None,
    error: VadError | None = None,
) -> None:
    """Its script says how it ended. One that has ended stays as it is: saying so twice is harmless.

    Args:
        to: succeeded, failed or cancelled.
        error: why it failed.
    """
    _end_external(_locked(run), to, by=by, ended_at=ended_at, error=error)


def _end_external(
    row: Run,
    to: State,
    *,
    by: User | None,
    ended_at: datetime | None = None,
    error: VadError | None = None,
) -> bool:
    running = Run.objects.filter(pk=row.pk, kind=EXTERNAL, state=State.RUNNING)
    ended = running.update(
        state=to, claim=None, claimed_at=None, changed_at=Now(), ended_at=ended_at or Now(),
        error=error.to_dict() if error else None,
    )  # fmt: skip
    if ended:
        _note(row.pk, str(to), error.message if error else "", by=by)
    return bool(ended)


@transaction.atomic
def resume_external(run: Run, *, by: User | None, why: str = "") -> None:
    """Let an external run that has ended go on; one that runs is left alone."""
    row = _locked(run)
    ended = Run.objects.filter(pk=row.pk, kind=EXTERNAL, state__in=ENDED)
    if ended.update(
        state=State.RUNNING, claim=uuid.uuid4(), claimed_at=Now(), changed_at=Now(), beat_at=Now(),
        ended_at=None, error=None,
    ):  # fmt: skip
        _note(row.pk, "resumed", why, by=by)


def external_refused(run: Run, step: str) -> VadError:
    """The error of a step that makes no sense for a run that no worker has."""
    return VadError(
        "run-not-movable",
        f"{run.name} is trained elsewhere and cannot be {step}.",
        "The script that logs it decides when it runs; here it can be stopped, that is, ended.",
    )


def _fail_silent() -> None:
    """Fail external runs that were not heard of for too long, if there is a limit at all."""
    if not settings.EXTERNAL_FAIL_S:
        return
    limit = Now() - timedelta(seconds=settings.EXTERNAL_FAIL_S)
    for run in Run.objects.filter(kind=EXTERNAL, state=State.RUNNING, beat_at__lt=limit):
        error = VadError(
            "external-silent",
            f"{run.name} was not heard of for {recovery.words(settings.EXTERNAL_FAIL_S)}.",
            "If it still trains, it goes on here with the next thing that it logs.",
        )
        with transaction.atomic():
            row = Run.objects.select_for_update().filter(pk=run.pk, beat_at__lt=limit).first()
            if row is not None:
                _end_external(row, State.FAILED, by=None, error=error)


# --- the sweep ------------------------------------------------------------------------------


def sweep() -> list[uuid.UUID]:
    """Take back what is lost and ring for what waits. Harmless at any time, any number of times.

    Returns:
        The runs that were taken back.
    """
    limit = Now() - timedelta(seconds=settings.RUN_LOST_AFTER_S)
    taken = []
    lost = Run.objects.filter(state__in=CLAIMED, beat_at__lt=limit).exclude(kind=EXTERNAL)
    for run in lost.select_related("worker"):
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
    _fail_silent()
    for run in ready_to_queue():
        with transaction.atomic():
            _queue_waiting(run)
    queued = Run.objects.filter(backlog.may_start(), state=State.QUEUED).order_by()
    for queue in {_queue_of(*needs) for needs in queued.values_list("device", "gpus").distinct()}:
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


def _queue_of(device: str, gpus: int) -> str:
    """The Celery queue whose bell to ring: that of the slots which `backlog.fits` lets take it.

    A bell that a worker without such a slot answers is spent, and the run waits for the sweep.
    """
    if device == "auto" and gpus == 1:
        return "gpu" if backlog.gpu_is_alive() else "cpu"
    return "cpu" if device == "cpu" else "gpu"


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


def note(run: Run, kind: str, message: str, *, by: User) -> None:
    """Note what a person did with a run that did not change its state."""
    _note(run.pk, kind, message, by=by)


def _note(
    run_id: uuid.UUID,
    kind: str,
    message: str,
    *,
    by: User | None = None,
    attempt: int | None = None,
) -> None:
    from webapp.notify import outbox  # its models refer to those of this app

    if attempt is None:
        attempt = Run.objects.values_list("attempt", flat=True).get(pk=run_id)
    event = RunEvent.objects.create(
        run_id=run_id, kind=kind, message=message[:400], by=by, attempt=attempt
    )
    outbox.note(event)
