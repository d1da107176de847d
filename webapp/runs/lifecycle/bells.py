"""Whose bell to ring when a run is queued."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from webapp.core import doorbell
from webapp.runs import backlog
from webapp.runs.models import Run


def ring_for(run: Run) -> None:
    """Ring for a queued run once the transaction is done."""
    transaction.on_commit(partial(doorbell.ring, queue_of(run.device, run.gpus)))


def queue_of(device: str, gpus: int) -> str:
    """The Celery queue whose bell to ring: that of the slots which `backlog.fits` lets take it.

    A bell that a worker without such a slot answers is spent, and the run waits for the sweep.
    """
    if device == "auto" and gpus == 1:
        return "gpu" if backlog.gpu_is_alive() else "cpu"
    return "cpu" if device == "cpu" else "gpu"
