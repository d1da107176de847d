"""The tasks: answer a doorbell, sweep, and clear away what was abandoned."""

from __future__ import annotations

import logging

from webapp.core import doorbell
from webapp.external import uploads
from webapp.runs import lifecycle, preempting
from webapp.runs.lifecycle import Slot
from workers import database, fleet, leaving, slots, supervisor
from workers.celery import REAP_TASK, SWEEP_TASK, app

log = logging.getLogger(__name__)


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
                claim = lifecycle.claim_best(worker=fleet.worker(), slot=held[0], spare=held[1:])
                if claim is not None:
                    held = _give_the_rest_back(held, claim.slot)
                    if table.has_free():  # one bell may stand for several runs
                        doorbell.ring(queue)
                    supervisor.see_through(claim, claim.slot)
            except database.DOWN as exc:
                log.warning("serve.database_down cause=%s", exc)  # the sweep rings again
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
    """Take back what is lost, ring for what waits, and make room for what is urgent."""
    with database.closing():
        try:
            for run_id in lifecycle.sweep():
                log.warning("run.taken_back run_id=%s", run_id)
            for run in preempting.make_room_for_urgent():
                log.info("run.asked_to_make_room run_id=%s for=%s", run.pk, run.yields_to_id)
        except database.DOWN as exc:
            log.warning("sweep.database_down cause=%s", exc)


@app.task(name=REAP_TASK, ignore_result=True)
def reap() -> None:
    """Delete uploads that nobody went on with."""
    with database.closing():
        try:
            if gone := uploads.reap():
                log.info("uploads.reaped count=%d", gone)
        except database.DOWN as exc:
            log.warning("reap.database_down cause=%s", exc)
