"""What the queue page shows: workers, their slots, and what waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from webapp.accounts.models import Project, User
from webapp.fleet.models import Worker
from webapp.runs import waiting
from webapp.runs.models import CLAIMED, Run, State

FORGOTTEN = timedelta(days=2)  # a worker that was not heard of for so long is not shown


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    """A place on a worker; `busy` without a run: one that the person may not see."""

    name: str
    device: str
    run: Run | None
    busy: bool


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    worker: Worker
    alive: bool
    slots: list[SlotRow]


@dataclass(frozen=True, kw_only=True)
class WaitingRow:
    """A run that has not started; `place` in the queue, 0 when it is not queued."""

    run: Run
    why: str
    place: int


def workers(user: User) -> list[WorkerRow]:
    """Workers heard of lately, the living ones first, with what runs in each slot."""
    now = timezone.now()
    lost_before = now - timedelta(seconds=settings.RUN_LOST_AFTER_S)
    found = list(Worker.objects.filter(seen_at__gte=now - FORGOTTEN).order_by("name"))
    running = Run.objects.filter(state__in=CLAIMED, worker__in=found).select_related("owner")
    by_slot = {(run.worker_id, run.slot): run for run in running}
    mine = Run.objects.visible_to(user).filter(pk__in=[r.pk for r in by_slot.values()])
    visible = set(mine.values_list("pk", flat=True))
    rows = []
    for worker in found:
        alive = worker.stopped_at is None and worker.seen_at >= lost_before
        slots = []
        for name, device in _slots(worker):
            run = by_slot.get((worker.pk, name))
            seen = run if run is not None and run.pk in visible else None
            slots.append(SlotRow(name=name, device=device, run=seen, busy=run is not None))
        rows.append(WorkerRow(worker=worker, alive=alive, slots=slots))
    return sorted(rows, key=lambda row: not row.alive)


def _slots(worker: Worker) -> Iterable[tuple[str, str]]:
    """Name and device of each slot, as `lifecycle.Slot` writes them."""
    for index in range(worker.gpu_slots):
        yield f"gpu:{index}", str(worker.devices[index]) if index < len(worker.devices) else "GPU"
    for index in range(worker.cpu_slots):
        yield f"cpu:{index}", "CPU"


def waits(project: Project | None) -> list[WaitingRow]:
    """The project's runs that have not started, in the order in which they would."""
    runs = waiting.in_order(project)
    why = waiting.reasons(runs)
    rows, place = [], 0
    for run in runs:
        queued = run.state == State.QUEUED
        place += queued
        rows.append(WaitingRow(run=run, why=why.get(run.pk, ""), place=place if queued else 0))
    return rows
