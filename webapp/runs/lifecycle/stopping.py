"""Asking a run that has a slot to write a checkpoint and leave."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from webapp.accounts.models import User
from webapp.runs.lifecycle import events
from webapp.runs.models import CLAIMED, Run, Stop


def ask(run: Run, stop: Stop, *, by: User | None, cause: str = "") -> None:
    """Ask a run to stop, whatever it was asked before.

    Args:
        cause: why, for the run's events.
    """
    Run.objects.filter(pk=run.pk).update(stop=stop, changed_at=Now())
    events.note(run.pk, "stop-asked", cause or stop.label, by=by)


def ask_unless_asked(run_id: uuid.UUID, stop: Stop, **fields: Any) -> bool:
    """Ask a run to stop unless somebody did already."""
    runs = Run.objects.filter(pk=run_id, state__in=CLAIMED, stop=Stop.NONE)
    asked = runs.update(stop=stop, changed_at=Now(), **fields) == 1
    if asked:
        events.note(run_id, "stop-asked", stop.label)
    return asked


@transaction.atomic
def make_room(run: Run, *, waiting: Run) -> bool:
    """Ask a running run to checkpoint and leave for a waiting one; False: it is leaving already."""
    return ask_unless_asked(run.pk, Stop.YIELD, yields_to=waiting)
