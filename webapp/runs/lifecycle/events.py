"""The events of a run: each step leaves one, and so does what people do beside."""

from __future__ import annotations

import uuid

from webapp.accounts.models import User
from webapp.runs.models import Run, RunEvent


def note(
    run_id: uuid.UUID,
    kind: str,
    message: str,
    *,
    by: User | None = None,
    attempt: int | None = None,
) -> None:
    """Note what was done with a run, and by whom; whoever asked to be told will be.

    Args:
        by: None when no person did it.
        attempt: by default the run's present one.
    """
    from webapp.notify import outbox  # its models refer to those of this app

    if attempt is None:
        attempt = Run.objects.values_list("attempt", flat=True).get(pk=run_id)
    event = RunEvent.objects.create(
        run_id=run_id, kind=kind, message=message[:400], by=by, attempt=attempt
    )
    outbox.note(event)
