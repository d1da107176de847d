"""What the decision of scheduling.py is made from, read from the rows.

A claim reads one row a group of equal runs (owner, project, priority, needs), from an index alone,
so that ten thousand queued runs cost what a few people's queues cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import F, Min, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from webapp.fleet.models import Pause, Worker
from webapp.runs import accounting
from webapp.runs.claims import Slot
from webapp.runs.models import Run, State, Usage
from webapp.runs.scheduling import LEAST_CHARGE_S, Candidate, Place, Room, Rules, Standing


def rules() -> Rules:
    return Rules(lift_s=settings.QUEUE_LIFT_S, reserve_s=settings.QUEUE_RESERVE_S)


def may_start() -> Q:
    """Of queued runs those that nothing keeps: no pause of their project, no time to wait for."""
    paused = Pause.objects.filter(project__isnull=False).values("project")
    return (Q(not_before=None) | Q(not_before__lte=Now())) & ~Q(project__in=paused)


def fits(kind: str) -> Q:
    """Runs that may use a slot of a kind. A CPU slot takes 'auto' runs while no GPU is alive."""
    if kind == "gpu":
        return Q(device__in=("auto", "cuda"))
    if gpu_is_alive():
        return Q(device="cpu")
    return Q(device="cpu") | Q(device="auto", gpus=1)


def gpu_is_alive() -> bool:
    """A drained one counts: its runs are not worth days on a CPU."""
    return Worker.objects.alive().filter(refused="", gpu_slots__gt=0).exists()


def heads(kind: str) -> list[Candidate]:
    """One candidate a group of equal queued runs: as old as its oldest, its first place by hand."""
    groups = (
        Run.objects.filter(fits(kind), may_start(), state=State.QUEUED)
        .order_by()
        .values_list("owner", "project", "priority", "gpus", "memory_mb")
        .annotate(oldest=Min("queued_at"), first=Min("by_hand"))
    )
    return [
        Candidate(
            id=(owner, project, priority, gpus, memory_mb), owner=owner, project=project,
            priority=priority, gpus=gpus, memory_mb=memory_mb, queued_at=_s(oldest), by_hand=first,
        )
        for owner, project, priority, gpus, memory_mb, oldest, first in groups
    ]  # fmt: skip


def lock_first(head: Candidate, kind: str) -> Run | None:
    """The next run of a head's group, locked; None when all of them are being claimed by others."""
    runs = Run.objects.filter(
        fits(kind), may_start(), state=State.QUEUED, owner=head.owner, project=head.project,
        priority=head.priority, gpus=head.gpus, memory_mb=head.memory_mb,
    ).only("attempt", "owner")  # fmt: skip
    if connection.features.has_select_for_update_skip_locked:
        runs = runs.select_for_update(skip_locked=True, of=("self",))
    if head.by_hand is not None:
        return runs.order_by(F("by_hand").asc(nulls_last=True), "queued_at", "id").first()
    return runs.order_by("queued_at", "id").first()


def standings(kind: str) -> dict[Hashable, Standing]:
    """What everybody used of a kind of device, with the least that what runs now will have used."""
    now = timezone.now()
    running: Counter[int] = Counter()
    rows = Run.objects.filter(claim__isnull=False, slot__startswith=kind).order_by()
    for owner, gpus, claimed_at, done, total, rate in rows.values_list(
        "owner", "gpus", "claimed_at", "done", "total", "rate"
    ):
        spent_s = (now - claimed_at).total_seconds() if claimed_at else 0.0
        to_go_s = (total - done) / rate if rate and total > done else 0.0
        devices = gpus if kind == "gpu" else 1
        running[owner] += devices * max(spent_s + to_go_s, LEAST_CHARGE_S)  # type: ignore[assignment]
    found: dict[Hashable, Standing] = {owner: Standing(used_s=s) for owner, s in running.items()}
    for usage in Usage.objects.filter(kind=kind):
        found[usage.owner_id] = Standing(
            used_s=accounting.decayed(usage, now) + running[usage.owner_id],
            share=usage.share,
            last_start=_s(usage.last_start_at),
        )
    return found


def room(worker: Worker, slots: Sequence[Slot]) -> Room | None:
    """What a claim of this worker may take of the slots that it holds; None: nothing at all.

    The worker's row is read anew, as somebody may have drained it.
    """
    row = Worker.objects.filter(pk=worker.pk, drained_at=None, refused="").first()
    if row is None or Pause.objects.filter(project=None).exists():
        return None
    kind = slots[0].kind
    if kind == "cpu":
        return Room(kind=kind, free=tuple(Place(s.index, f"cpu:{s.index}") for s in slots))
    return gpu_room(row, [s.index for s in slots], running_on([row]).get(row.pk, []))


def running_on(workers: Iterable[Worker]) -> dict[int, list[Run]]:
    """The claimed runs on GPUs of each worker; only slot, gpus and memory are read."""
    found: dict[int, list[Run]] = {}
    rows = Run.objects.filter(claim__isnull=False, worker__in=list(workers), slot__startswith="gpu")
    for run in rows.only("worker", "slot", "gpus", "memory_mb", "state", "priority", "kind"):
        assert run.worker_id is not None
        found.setdefault(run.worker_id, []).append(run)
    return found


def gpu_room(worker: Worker, free: Sequence[int], running: Iterable[Run]) -> Room:
    """The free GPU slots of a worker, those of the least busy GPU first, with the memory left."""
    reserved: Counter[str] = Counter()
    busy: Counter[str] = Counter()
    for run in running:
        for index in slot_indices(run.slot):
            reserved[_device(worker, index)] += run.memory_mb or 0
            busy[_device(worker, index)] += 1
    places = []
    for index in sorted(free, key=lambda i: (busy[_device(worker, i)], i)):
        device, total = _device(worker, index), _memory(worker, index)
        left = None if total is None else total - reserved[device]
        places.append(Place(index, device, left))
    known = [m for m in worker.memory_mb if m]
    devices = {_device(worker, i) for i in (*range(worker.gpu_slots), *free)}
    return Room(
        kind="gpu", free=tuple(places), devices=len(devices), memory_mb=max(known, default=None)
    )


def slot_indices(slot: str) -> list[int]:
    """The slots of a claim, as `claims.Slot` writes them: `gpu:0+2` is 0 and 2."""
    return [int(part) for part in slot.partition(":")[2].split("+") if part.isdecimal()]


def queued(ids: QuerySet[Run]) -> list[Candidate]:
    """Queued runs as candidates, each on its own."""
    rows = ids.order_by().values_list(
        "id", "owner", "project", "priority", "queued_at", "by_hand", "gpus", "memory_mb"
    )
    return [
        Candidate(
            id=pk, owner=owner, project=project, priority=priority, queued_at=_s(queued_at),
            by_hand=by_hand, gpus=gpus, memory_mb=memory_mb,
        )
        for pk, owner, project, priority, queued_at, by_hand, gpus, memory_mb in rows
    ]  # fmt: skip


def _device(worker: Worker, index: int) -> str:
    ids = worker.device_ids
    return str(ids[index]) if index < len(ids) else str(index)


def _memory(worker: Worker, index: int) -> int | None:
    return worker.memory_mb[index] if index < len(worker.memory_mb) else None


def _s(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
