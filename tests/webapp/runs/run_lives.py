"""Steps of a run's life that many tests begin with."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from vad.errors import VadError
from webapp.runs.claims import Claim, Outcome, Slot
from webapp.runs.lifecycle import claiming, executing
from webapp.runs.models import Run, RunEvent

CPU, GPU = Slot("cpu"), Slot("gpu")
SUCCEEDED = Outcome(kind="succeeded")
LOST = Outcome(kind="lost", reason="killed by signal 9")
STOPPED = Outcome(kind="stopped")
FAILED = Outcome(kind="failed", error=VadError("video-no-track", "a.mp4 has no video track."))


def claim(worker, slot=CPU) -> Claim:
    found = claiming.claim_best(worker=worker, slot=slot)
    assert found is not None
    return found


def running(worker, slot=CPU) -> Claim:
    found = claim(worker, slot)
    executing.started(found, total=100, unit="steps", done=0, environment={"host": "h"})
    return found


def events(run) -> list[str]:
    return list(RunEvent.objects.filter(run=run).values_list("kind", flat=True))


def age(run, seconds: float) -> None:
    Run.objects.filter(pk=run.pk).update(beat_at=timezone.now() - timedelta(seconds=seconds))
