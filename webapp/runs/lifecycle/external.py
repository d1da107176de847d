"""Runs that are trained elsewhere: their script says when they run and how they end."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from vad.errors import VadError
from webapp.accounts.models import User
from webapp.runs import recovery
from webapp.runs.lifecycle import events, moves
from webapp.runs.models import ENDED, EXTERNAL, Run, State


def enter(run: Run, *, by: User, started_at: datetime) -> None:
    """Let a run that was just created run at once; its claim belongs to no worker."""
    entered = Run.objects.filter(pk=run.pk, queued_at=None, state=State.QUEUED, kind=EXTERNAL)
    if not entered.update(
        state=State.RUNNING, claim=uuid.uuid4(), queued_at=Now(), changed_at=Now(), beat_at=Now(),
        started_at=started_at, claimed_at=started_at,
    ):  # fmt: skip
        raise moves.not_movable(run, "entered again")
    events.note(run.pk, "created", "trained elsewhere", by=by)
    run.refresh_from_db()


@transaction.atomic
def end(
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
    end_locked(moves.locked(run), to, by=by, ended_at=ended_at, error=error)


def end_locked(
    row: Run,
    to: State,
    *,
    by: User | None,
    ended_at: datetime | None = None,
    error: VadError | None = None,
    cause: str = "",
) -> bool:
    """`end` for whoever has locked the row. False: it has ended already."""
    running = Run.objects.filter(pk=row.pk, kind=EXTERNAL, state=State.RUNNING)
    ended = running.update(
        state=to, claim=None, claimed_at=None, changed_at=Now(), ended_at=ended_at or Now(),
        error=error.to_dict() if error else None,
    )  # fmt: skip
    if ended:
        events.note(row.pk, str(to), error.message if error else cause, by=by)
    return bool(ended)


@transaction.atomic
def resume(run: Run, *, by: User | None, why: str = "") -> None:
    """Let an external run that has ended go on; one that runs is left alone."""
    row = moves.locked(run)
    ended = Run.objects.filter(pk=row.pk, kind=EXTERNAL, state__in=ENDED)
    if ended.update(
        state=State.RUNNING, claim=uuid.uuid4(), claimed_at=Now(), changed_at=Now(), beat_at=Now(),
        ended_at=None, error=None,
    ):  # fmt: skip
        events.note(row.pk, "resumed", why, by=by)


def refused(run: Run, step: str) -> VadError:
    """The error of a step that makes no sense for a run that no worker has."""
    return VadError(
        "run-not-movable",
        f"{run.name} is trained elsewhere and cannot be {step}.",
        "The script that logs it decides when it runs; here it can be stopped, that is, ended.",
    )


def fail_silent() -> None:
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
                end_locked(row, State.FAILED, by=None, error=error)
