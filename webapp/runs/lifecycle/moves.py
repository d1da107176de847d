"""The legal steps of a run's state, and the one guarded update that takes them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models.functions import Now

from vad.errors import VadError
from webapp.runs.claims import Claim
from webapp.runs.models import Run, State

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


def move(
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


def locked(run: Run) -> Run:
    """The row as it is now, locked until the transaction ends: nobody moves it in between."""
    row = Run.objects.select_for_update().filter(pk=run.pk).first()
    if row is None:
        raise not_movable(run, "changed")
    return row


def not_movable(run: Run, step: str) -> VadError:
    """The error of a step that the run's present state does not allow."""
    state = Run.objects.filter(pk=run.pk).values_list("state", flat=True).first()
    return VadError(
        "run-not-movable",
        f"{run.name} is {state or 'deleted'} and cannot be {step}.",
        "Reload the page to see its present state.",
    )
