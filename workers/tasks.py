"""The tasks: answer a doorbell, sweep, notify, tidy the disk, and clear away what was abandoned."""

from __future__ import annotations

import structlog

from vad.errors import VadError
from webapp.accounts import invitations, passwords
from webapp.accounts.sessions import SessionStore
from webapp.core import doorbell
from webapp.external import uploads
from webapp.idempotency.services import keys_forget
from webapp.notify import delivering, matching
from webapp.runs import preempting
from webapp.runs.claims import Slot
from webapp.runs.lifecycle import claiming, sweeping
from webapp.storage import moving, projects, retention, survey
from webapp.sweeps import driver as sweeps
from workers import database, fleet, leaving, slots, supervisor
from workers.celery import NOTIFY_TASK, REAP_TASK, SWEEP_TASK, TIDY_TASK, app

log = structlog.get_logger(__name__)


@app.task(name=doorbell.SERVE_TASK, ignore_result=True)
def serve(queue: str) -> None:
    """Take the best waiting run, see it through, then the next, until nothing waits.

    Ringing twice is harmless, and so is a bell that finds no slot: whoever holds one looks for
    more work before it is given back for good.
    """
    table = slots.table()
    with database.closing():
        while not leaving.asked():
            held = table.take(queue)
            if not held:
                return
            claim = None
            try:
                claim = claiming.claim_best(worker=fleet.worker(), slot=held[0], spare=held[1:])
                if claim is not None:
                    held = _give_the_rest_back(held, claim.slot)
                    if table.has_free():  # one bell may stand for several runs
                        doorbell.ring(queue)
                    supervisor.see_through(claim, claim.slot)
                    sweeps.advance_of(claim.run_id)
            except database.DOWN as exc:
                log.warning("serve.database_down", cause=exc)  # the sweep rings again
                return
            finally:
                table.give_back(*held)
            if claim is None and not table.bell_missed():
                return


def _give_the_rest_back(held: list[Slot], used: Slot) -> list[Slot]:
    """Slots that the run left; returns those that it uses."""
    slots.table().give_back(*(s for s in held if s.index not in used.indices))
    return [s for s in held if s.index in used.indices]


@app.task(name=SWEEP_TASK, ignore_result=True)
def sweep() -> None:
    """Take back what is lost, ring for what waits, make room, and drive the sweeps."""
    with database.closing():
        try:
            for run_id in sweeping.sweep():
                log.warning("run.taken_back", run_id=run_id)
            for run in preempting.make_room_for_urgent():
                log.info("run.asked_to_make_room", run_id=run.pk, makes_room_for=run.yields_to_id)
            sweeps.advance_all()
        except database.DOWN as exc:
            log.warning("sweep.database_down", cause=exc)


@app.task(name=NOTIFY_TASK, ignore_result=True)
def notify() -> None:
    """Find what is to be told, and tell it; mail links to new passwords.

    A fault in one step does not keep the next from it.
    """
    with database.closing():
        for step in (
            matching.look,
            delivering.deliver_due,
            delivering.forget_old,
            passwords.mail_links,
        ):
            try:
                step()
            except database.DOWN as exc:
                log.warning("notify.database_down", cause=exc)
                return
            except Exception:
                log.exception("notify.failed_step", step=step.__name__)


@app.task(name=TIDY_TASK, ignore_result=True)
def tidy() -> None:
    """Remove what the rule lets go and what interrupted removals left; now and then, measure."""
    with database.closing():
        try:
            freed = retention.tidy()
            if gone := projects.go_on():
                log.info("projects.deleted", count=gone)
            moving.offload()
            if survey.is_due():
                survey.survey()
        except database.DOWN as exc:
            log.warning("tidy.database_down", cause=exc)
        except VadError as exc:  # the object storage is away; next time
            log.warning("tidy.not_finished", cause=exc)
        else:
            if freed:
                log.info("tidy.freed", size_bytes=freed)


@app.task(name=REAP_TASK, ignore_result=True)
def reap() -> None:
    """Delete uploads that nobody went on with, and what has expired: keys of requests, sessions,
    links to new passwords, invitations."""
    with database.closing():
        try:
            if gone := uploads.reap():
                log.info("uploads.reaped", count=gone)
            keys_forget()
            SessionStore.clear_expired()
            passwords.links_forget()
            invitations.forget()
        except database.DOWN as exc:
            log.warning("reap.database_down", cause=exc)
