"""Giving a free slot the run that should be next."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from webapp.fleet.models import Worker
from webapp.runs import accounting, backlog, scheduling
from webapp.runs.claims import Claim, Slot
from webapp.runs.lifecycle import events, moves
from webapp.runs.models import State, Stop


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
            moved = moves.move(
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
            events.note(
                claim.run_id, "claimed", f"by {worker.name} on {taken}", attempt=claim.attempt
            )
            return claim
    return None
