"""A run waits until all of its parents have succeeded."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Now

from webapp.runs.lifecycle import bells, events, moves
from webapp.runs.models import Run, State


def first_state(run: Run) -> State:
    """Queued, unless a parent is not done. A parent that ends meanwhile is seen by the sweep."""
    waits = run.parents.exclude(state=State.SUCCEEDED).exists()
    return State.WAITING if waits else State.QUEUED


def ready_to_queue() -> QuerySet[Run]:
    """Waiting runs whose parents have all succeeded."""
    undone = Run.objects.exclude(state=State.SUCCEEDED)
    return Run.objects.filter(state=State.WAITING).exclude(parents__in=undone)


def release_children(run: Run) -> None:
    """Queue the runs that waited for this one alone; in the transaction in which it succeeds."""
    # Locked first: when two parents end at once, the later one sees that the other is done.
    list(Run.objects.filter(parents=run).order_by("pk").select_for_update(of=("self",)))
    for child in ready_to_queue().filter(parents=run):
        queue_waiting(child)


def queue_waiting(run: Run) -> None:
    """Queue a run that waits, unless somebody was faster."""
    if moves.move(run.pk, to=State.QUEUED, only=(State.WAITING,), queued_at=Now()):
        events.note(run.pk, "queued", "what it waited for is done")
        bells.ring_for(run)
