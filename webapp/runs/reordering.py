"""An order made by hand: exchanging the places of a project's queued runs of one priority."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.runs import waiting
from webapp.runs.lifecycle import bells, events, moves
from webapp.runs.models import Run, State

WORDS = {"up": "up", "down": "down", "top": "to the top"}


@transaction.atomic
def run_move(*, run: Run, to: str, by: User) -> None:
    """Move a queued run up, down or to the top among its project's runs of its priority.

    Raises:
        VadError: `not-allowed`; `run-not-movable` when it is not queued; `request-invalid` for
            another direction.
    """
    require_editor(by, run.project)
    if to not in WORDS:
        raise VadError("request-invalid", f"{to[:20]!r} is not one of {', '.join(WORDS)}.")
    Project.objects.select_for_update().get(pk=run.project_id)  # one order at a time
    # The runs are not locked, as a claim would pass them over; one that starts is left alone.
    peers = Run.objects.filter(project=run.project_id, priority=run.priority, state=State.QUEUED)
    rank = waiting.line().rank
    rows = sorted(
        peers.order_by("queued_at", "id").values_list("pk", "by_hand"),
        key=lambda row: rank.get(row[0], len(rank)),
    )
    before = [pk for pk, _ in rows]
    if run.pk not in before:
        raise moves.not_movable(run, "moved in the queue")
    at = before.index(run.pk)
    after = {"up": max(0, at - 1), "down": min(len(before) - 1, at + 1), "top": 0}[to]
    moved = [pk for pk in before if pk != run.pk]
    moved.insert(after, run.pk)
    by_hand = dict(rows)
    # As few as will do are given a place: who is behind follows by the ordinary rules.
    above = after if to == "down" else after + 1
    fixed = max([above, *(n + 1 for n, pk in enumerate(moved) if by_hand[pk] is not None)])
    for place, pk in enumerate(moved[:fixed]):
        if by_hand[pk] != place:
            row = Run.objects.filter(pk=pk, state=State.QUEUED)
            row.update(by_hand=place, changed_at=Now())
    events.note(run.pk, "moved", WORDS[to], by=by)
    bells.ring_for(run)  # whoever looked while the rows were written saw less
