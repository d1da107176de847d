"""The sweep, which finds what nobody would otherwise hear of."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from webapp.core import doorbell
from webapp.runs import backlog
from webapp.runs.lifecycle import bells, ending, external, parents
from webapp.runs.models import CLAIMED, EXTERNAL, Run, State


def sweep() -> list[uuid.UUID]:
    """Take back what is lost and ring for what waits. Harmless at any time, any number of times.

    Returns:
        The runs that were taken back.
    """
    limit = Now() - timedelta(seconds=settings.RUN_LOST_AFTER_S)
    taken = []
    lost = Run.objects.filter(state__in=CLAIMED, beat_at__lt=limit).exclude(kind=EXTERNAL)
    for run in lost.select_related("worker"):
        with transaction.atomic():
            row = (
                Run.objects.select_for_update()
                .filter(pk=run.pk, claim=run.claim, state__in=CLAIMED, beat_at__lt=limit)
                .first()
            )
            if row is not None:
                worker = run.worker.name if run.worker else "its worker"
                ending.lost(row, f"{worker} was not heard of for {settings.RUN_LOST_AFTER_S:g} s")
                taken.append(row.pk)
    external.fail_silent()
    for run in parents.ready_to_queue():
        with transaction.atomic():
            parents.queue_waiting(run)
    queued = Run.objects.filter(backlog.may_start(), state=State.QUEUED).order_by()
    needs = queued.values_list("device", "gpus").distinct()
    for queue in {bells.queue_of(device, gpus) for device, gpus in needs}:
        doorbell.ring(queue)
    return taken
