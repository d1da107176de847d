"""Seeing one claimed run through: its child on one side, the database on the other.

Two threads a run. The one that serves reads the child and never waits for the database. The
heartbeat stores what was read, says that the run lives, and hears that somebody wants it stopped;
when the database is away it keeps what it has and tries again. Once others may soon take the run,
the child checkpoints and leaves: two children must never write to one folder.
"""

from __future__ import annotations

import math
import threading
import time
from contextvars import copy_context
from dataclasses import replace
from typing import Self

import structlog
from django.conf import settings
from django.db import connections
from structlog.contextvars import bound_contextvars

from vad import results
from vad.errors import VadError
from webapp.runs import recording
from webapp.runs.claims import Claim, ClaimLost, Outcome, Slot
from webapp.runs.lifecycle import ending, executing
from webapp.runs.models import Run, State
from workers import commands, database, leaving, slots
from workers.child import Child, Wish
from workers.commands import Command
from workers.runlog import RunLog
from workers.usage import Sampler

STORE_EVERY_S = 1.0
STORE_SOONER_AT = 500  # records
STORE_AT_ONCE = 2000  # records in one transaction
KEEP_AT_MOST = 200_000  # records; a child that has more to say waits for the database
SMOOTHED_OVER_S = 30.0
LEAST_SPAN_S = 0.05  # between two measurements of the rate
# Shares of the time after which a silent run is given to others: by then nobody may write there.
STOP_AFTER, KILL_AFTER = 0.65, 0.9

log = structlog.get_logger(__name__)


def see_through(claim: Claim, slot: Slot) -> State | None:
    """Run the claimed run and end its claim. None: the claim was lost, the run is not ours.

    What is logged on the way, by the threads of the heartbeat and the sampler as well, names it.
    """
    with bound_contextvars(run_id=str(claim.run_id), attempt=claim.attempt):
        try:
            with Heartbeat(claim) as beat:
                outcome = _outcome(claim, slot, beat)
                if outcome.kind == "stopped" and beat.was_alone:
                    outcome = replace(outcome, reason="the database was out of reach for too long")
                return _finish(claim, outcome, beat)
        except ClaimLost:
            log.warning("run.claim_lost")
            return None


def _outcome(claim: Claim, slot: Slot, beat: Heartbeat) -> Outcome:
    try:
        command = database.patiently(lambda: _command(claim, slot), give_up=beat.hopeless)
        connections.close_all()  # this thread needs none while the child lives
        runlog = RunLog(command.output)
        runlog.write(f"attempt {claim.attempt} on {slot}")
        try:
            cuda_devices = slots.table().cuda_devices(slot)
            with Child.start(command, cuda_devices=cuda_devices, runlog=runlog) as child:
                log.info("run.started", pid=child.pid, slot=slot)
                with Sampler(
                    child.pid, cuda_devices=cuda_devices, on_sample=beat.note, step=beat.step
                ):
                    return child.watch(on_record=beat.note, wish=beat.wish, may_read=beat.has_room)
        finally:
            runlog.close()
    except VadError as exc:
        return Outcome(kind="failed", error=exc)
    except OSError as exc:
        return Outcome(kind="lost", reason=f"its process could not be started: {exc}.")
    except (ClaimLost, *database.DOWN):
        raise
    except Exception as exc:
        log.exception("run.crashed")
        return Outcome(kind="failed", error=_unexpected(exc))


def _command(claim: Claim, slot: Slot) -> Command:
    runs = Run.objects.select_related("version", "feature_set", "of_run")
    run = runs.filter(pk=claim.run_id, claim=claim.id).first()
    if run is None:
        raise ClaimLost(str(claim.run_id))
    return commands.prepare(run, processes=len(slot.indices))


def _finish(claim: Claim, outcome: Outcome, beat: Heartbeat) -> State:
    """Store the last records, then end the claim, however long the database is away."""
    beat.drain()
    if beat.crash is not None:
        outcome = Outcome(kind="failed", error=_unexpected(beat.crash))
    try:
        state = database.patiently(lambda: ending.finish(claim, outcome), give_up=beat.hopeless)
    except (ClaimLost, *database.DOWN):
        raise
    except Exception as exc:
        log.exception("run.not_finished")
        error = _unexpected(exc)
        state = ending.finish(claim, Outcome(kind="failed", error=error))
    log.info("run.ended", outcome=outcome.kind, state=state)
    return state


def _unexpected(exc: Exception) -> VadError:
    return VadError(
        "unexpected",
        f"The worker met a fault of the program: {type(exc).__name__}: {exc}",
        "The worker's log has the trace; report it with the run's id.",
    )


class Heartbeat:
    """Beats for a claim, and stores the child's records in batches, in a thread of its own."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._lock = threading.Lock()
        self._records: list[recording.Said] = []
        self._progress: results.Progress | None = None
        self._step: int | None = None  # of the run; None until it says so
        self._rate = Rate()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._empty = threading.Condition(self._lock)
        self._stop_asked = False
        self._lost = False
        self._alone_since_s: float | None = None  # the database has been away since
        self._heard_s = time.monotonic()  # when the last sign of life was taken
        self.was_alone = False  # for too long, so that the child was told to leave
        self.crash: Exception | None = None
        self._thread = threading.Thread(
            target=copy_context().run,
            args=[self._run],
            name=f"beat-{str(claim.run_id)[:8]}",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._wake.set()
        self._thread.join()

    # --- what the serving thread asks, without waiting for the database

    def note(self, record: recording.Said) -> None:
        """Take a record of the child, or a sample of what it uses."""
        with self._lock:
            if isinstance(record, results.Progress):
                self._step = record.done
                self._rate.note(record.done, time.monotonic())
                self._progress = record  # of two that nobody has seen, the newer one
                return
            if isinstance(record, results.Started):
                self._step = record.resumed_step
                self._rate.note(record.resumed_step, time.monotonic())
            elif isinstance(record, results.Metrics):
                self._step = record.step
            self._records.append(record)
            sooner = len(self._records) >= STORE_SOONER_AT
        if sooner or isinstance(record, results.Started):
            self._wake.set()

    def step(self) -> int | None:
        """How far the run is by its own words."""
        with self._lock:
            return self._step

    def has_room(self) -> bool:
        with self._lock:
            return len(self._records) < KEEP_AT_MOST

    def wish(self) -> Wish:
        """What is to become of the child."""
        silent = (time.monotonic() - self._heard_s) / settings.RUN_LOST_AFTER_S
        if silent > STOP_AFTER and not self.was_alone:
            self.was_alone = True
            log.warning("run.out_of_reach")
        if self._lost or self.crash is not None or leaving.asked_at_once() or silent > KILL_AFTER:
            return Wish.KILL
        if self._stop_asked or leaving.asked() or self.was_alone:
            return Wish.STOP
        return Wish.GO_ON

    def drain(self) -> None:
        """Wait until all records are stored.

        Raises:
            ClaimLost: they are refused, as the run is somebody else's; or the database is away
                and this worker cannot wait for it, so that it will soon be.
        """
        self._wake.set()
        with self._empty:
            while self._untold and not self._lost and self.crash is None:
                self._empty.wait(timeout=1.0)
                if self._hopeless():
                    raise ClaimLost(
                        f"{self._claim.run_id}: the database is away, the worker leaves"
                    )
        if self._lost:
            raise ClaimLost(str(self._claim.run_id))

    @property
    def _untold(self) -> bool:
        return bool(self._records) or self._progress is not None

    def hopeless(self) -> bool:
        """The worker leaves and the database is away; the sweep of others will find the run."""
        with self._lock:
            return self._hopeless()

    def _hopeless(self) -> bool:
        if not leaving.asked() or self._alone_since_s is None:
            return False
        patience_s = 0.0 if leaving.asked_at_once() else settings.RUN_GRACE_S
        return time.monotonic() - self._alone_since_s > patience_s

    # --- the thread

    def _run(self) -> None:
        next_beat_s = 0.0
        try:
            while not self._closing.is_set() and not self._lost and self.crash is None:
                try:
                    self._store()
                    if time.monotonic() >= next_beat_s:
                        self._hear(executing.beat(self._claim))
                        next_beat_s = time.monotonic() + settings.RUN_BEAT_S
                    self._alone_since_s = None
                except ClaimLost:
                    self._lost = True
                except database.DOWN as exc:
                    self._on_down(exc)
                except Exception as exc:
                    log.exception("run.not_recorded")
                    self.crash = exc
                self._wake.wait(min(STORE_EVERY_S, settings.RUN_BEAT_S))
                self._wake.clear()
        finally:
            connections.close_all()
            with self._empty:
                self._empty.notify_all()

    def _store(self) -> None:
        """Store what has been noted, in its order; what fails is kept for the next time."""
        while True:
            with self._lock:
                batch = self._records[:STORE_AT_ONCE]
                progress = self._progress if len(batch) == len(self._records) else None
                rate = self._rate.value
            if not batch and progress is None:
                return
            said = [*batch, progress] if progress is not None else batch
            self._hear(recording.record_batch(self._claim, said, rate=rate))
            with self._empty:
                del self._records[: len(batch)]
                if self._progress is progress:
                    self._progress = None
                self._empty.notify_all()

    def _hear(self, stop: str) -> None:
        self._heard_s = time.monotonic()
        self._stop_asked = self._stop_asked or bool(stop)

    def _on_down(self, exc: Exception) -> None:
        connections.close_all()
        if self._alone_since_s is None:
            self._alone_since_s = time.monotonic()
            log.warning("run.database_down", cause=exc)


class Rate:
    """Units a second, smoothed so that an estimate of the end does not jump."""

    def __init__(self) -> None:
        self.value: float | None = None  # None until there is one
        self._last: tuple[int, float] | None = None

    def note(self, done: int, at_s: float) -> None:
        """Take how much is done at a time of `time.monotonic`."""
        if self._last is None or done < self._last[0]:
            self._last = (done, at_s)
            return
        units, spent_s = done - self._last[0], at_s - self._last[1]
        if spent_s < LEAST_SPAN_S:
            return
        self._last = (done, at_s)
        now = units / spent_s
        weight = 1 - math.exp(-spent_s / SMOOTHED_OVER_S)
        self.value = now if self.value is None else self.value + weight * (now - self.value)
