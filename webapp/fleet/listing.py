"""What the queue page shows: workers, their devices and what runs there, and what waits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.utils import timezone

from webapp.accounts.models import Project, User
from webapp.fleet.models import Pause, Worker
from webapp.runs import accounting, backlog, outlook, waiting
from webapp.runs.models import Run, RunEvent, State, Usage
from webapp.runs.outlook import Start
from webapp.runs.waiting import Line

PAGE_SIZE = 50
MARK_S = 15  # for so long a part of the page is left as it is while nothing happens
FORGOTTEN = timedelta(days=2)  # a worker that was not heard of for so long is not shown


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    """A place on a worker; `busy` without a run: one that the person may not see.

    What the device does now is None where nobody says so; slots of one device say the same.
    """

    name: str
    device: str
    run: Run | None
    busy: bool
    use_percent: int | None = None
    used_mb: int | None = None
    memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    worker: Worker
    alive: bool
    slots: list[SlotRow]

    @property
    def has_stats(self) -> bool:
        return any(slot.memory_mb is not None for slot in self.slots)

    @property
    def running(self) -> int:
        """Slots that are busy: what a drained worker still has to finish."""
        return sum(slot.busy for slot in self.slots)


@dataclass(frozen=True, kw_only=True)
class WaitingRow:
    """A run that has not started; `place` in the queue, 0 when it is not queued."""

    run: Run
    why: str
    place: int
    start: Start | None


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """What a member used lately, in hours that count (see accounting.py), and their share."""

    name: str
    gpu_h: float
    cpu_h: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Pauses:
    server: Pause | None
    project: Pause | None


def workers(user: User) -> list[WorkerRow]:
    """Workers heard of lately, the living ones first, with what runs in each slot."""
    now = timezone.now()
    lost_before = now - timedelta(seconds=settings.RUN_LOST_AFTER_S)
    heard = Worker.objects.filter(seen_at__gte=now - FORGOTTEN).select_related("drained_by")
    found = list(heard.order_by("name"))
    running = Run.objects.filter(claim__isnull=False, worker__in=found).select_related("owner")
    by_slot = {
        (run.worker_id, f"{run.slot.partition(':')[0]}:{index}"): run
        for run in running
        for index in backlog.slot_indices(run.slot)
    }
    mine = Run.objects.visible_to(user).filter(pk__in={r.pk for r in by_slot.values()})
    visible = set(mine.values_list("pk", flat=True))
    rows = []
    for worker in found:
        alive = worker.stopped_at is None and worker.seen_at >= lost_before
        slots = []
        for name, device, stats in _slots(worker):
            run = by_slot.get((worker.pk, name))
            seen = run if run is not None and run.pk in visible else None
            shown = stats if alive else {}
            slots.append(
                SlotRow(
                    name=name, device=device, run=seen, busy=run is not None,
                    use_percent=shown.get("use_percent"), used_mb=shown.get("used_mb"),
                    memory_mb=shown.get("memory_mb"),
                )
            )  # fmt: skip
        rows.append(WorkerRow(worker=worker, alive=alive, slots=slots))
    return sorted(rows, key=lambda row: (not row.alive, bool(row.worker.refused)))


def _slots(worker: Worker) -> Iterable[tuple[str, str, dict[str, int | None]]]:
    """Name, device and what it does now of each slot, as `claims.Slot` writes them."""
    for index in range(worker.gpu_slots):
        name = str(worker.devices[index]) if index < len(worker.devices) else "GPU"
        device = worker.device_ids[index] if index < len(worker.device_ids) else ""
        yield f"gpu:{index}", name, worker.device_stats.get(device, {})
    for index in range(worker.cpu_slots):
        yield f"cpu:{index}", "CPU", {}


def waits(project: Project | None) -> list[WaitingRow]:
    """The project's runs that have not started, in the order in which they would; the first."""
    line = waiting.line()
    return _rows(waiting.InOrder(project, line)[: waiting.MOST_SHOWN], line, 1)


def waits_page(project: Project | None, number: str | None) -> tuple[Page[Run], list[WaitingRow]]:
    """A page of them. Reasons and starts are found for its rows only."""
    line = waiting.line()
    runs: Any = waiting.InOrder(project, line)  # a paginator wants a length and slices, no more
    page: Page[Run] = Paginator(runs, PAGE_SIZE).get_page(number)
    return page, _rows(list(page.object_list), line, max(1, page.start_index()))


def _rows(runs: Sequence[Run], line: Line, first: int) -> list[WaitingRow]:
    """Rows of runs that follow each other in their project, the queued ones before all others."""
    why = waiting.reasons(runs)
    starts = outlook.starts(line, {run.pk for run in runs if run.state == State.QUEUED})
    return [
        WaitingRow(
            run=run, why=why.get(run.pk, ""), place=place if run.state == State.QUEUED else 0,
            start=starts.get(run.pk),
        )
        for place, run in enumerate(runs, first)
    ]  # fmt: skip


def mark(*seen_as: object) -> str:
    """Another one when what waits, why, or who used what may have changed since.

    It costs the same however many wait. Words of time grow old by `MARK_S` at most, and so does
    what no event of a run tells of, such as a new name.

    Args:
        seen_as: what else the rows depend on, such as the project and the page.
    """
    now = timezone.now()
    heard = Worker.objects.filter(seen_at__gte=now - FORGOTTEN).order_by("pk")
    parts = (
        seen_as,
        int(now.timestamp() // MARK_S),
        RunEvent.objects.order_by("-pk").values_list("pk", flat=True).first(),
        [(w.pk, w.condition(now), w.gpu_slots, w.cpu_slots) for w in heard],
        list(Pause.objects.order_by("pk").values_list("pk", "project")),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def pauses(project: Project | None) -> Pauses:
    found = {pause.project_id: pause for pause in Pause.objects.select_related("by")}
    return Pauses(server=found.get(None), project=found.get(project.pk) if project else None)


def usage(project: Project | None) -> list[UsageRow]:
    """What the project's members used lately, most first; members who used nothing are left out."""
    if project is None:
        return []
    now = timezone.now()
    by_name: dict[str, dict[str, Usage]] = {}
    rows = Usage.objects.filter(owner__projects=project).select_related("owner")
    for row in rows:
        by_name.setdefault(row.owner.username, {})[row.kind] = row
    found = []
    for name, of in by_name.items():
        hours = {kind: accounting.decayed(row, now) / 3600 for kind, row in of.items()}
        found.append(
            UsageRow(
                name=name, gpu_h=hours.get("gpu", 0.0), cpu_h=hours.get("cpu", 0.0),
                share=max(row.share for row in of.values()),
            )
        )  # fmt: skip
    return sorted(found, key=lambda row: (-row.gpu_h, -row.cpu_h, row.name))
