"""Making room: a run of lower priority leaves, after a checkpoint, for one of higher priority.

Only where the server's settings say so (VADLAB_PREEMPT). A waiting run has one run leave at a time;
who leaves goes back to the queue, keeps its age and loses no attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.db.models import F

from webapp.fleet.models import Worker
from webapp.runs import backlog, waiting
from webapp.runs.lifecycle import stopping
from webapp.runs.models import Run, State, Stop
from webapp.runs.scheduling import Candidate, Place, Room

RESUMABLE = ("train-urdmu", "train-two-stage", "extract", "proxies")  # go on from a checkpoint
AT_ONCE = 8  # waiting runs that are looked at, of each kind of slot


def make_room_for_urgent() -> list[Run]:
    """Ask runs to leave for the first waiting runs that have no room. Returns who was asked."""
    if not settings.QUEUE_PREEMPTS:
        return []
    line = waiting.line()
    workers = list(Worker.objects.claiming())
    claimed = Run.objects.filter(claim__isnull=False, worker__in=workers)
    running = list(claimed.select_related("worker").order_by("priority", F("claimed_at").desc()))
    served = {run.yields_to_id for run in running if run.stop == Stop.YIELD}
    asked: list[Run] = []
    for kind, candidates in (("gpu", line.gpu), ("cpu", line.cpu)):
        of_kind = [run for run in running if run.slot.startswith(kind)]
        rooms = {w.pk: _room(w, kind, [r for r in of_kind if r.worker_id == w.pk]) for w in workers}
        if not of_kind:
            continue
        for wanted in candidates[:AT_ONCE]:
            if wanted.id in served or any(room.places(wanted) for room in rooms.values()):
                continue
            leaving = _victim(wanted, of_kind, workers)
            target = Run.objects.filter(pk=wanted.id, state=State.QUEUED).first()
            if leaving and target and stopping.make_room(leaving, waiting=target):
                leaving.yields_to = target
                of_kind.remove(leaving)
                asked.append(leaving)
    return asked


def _victim(wanted: Candidate, running: Sequence[Run], workers: Sequence[Worker]) -> Run | None:
    """The run of lowest priority, of those the one begun last, whose slot the waiting one fits."""
    for run in running:
        if run.priority >= wanted.priority:
            return None
        if run.stop != Stop.NONE or run.kind not in RESUMABLE:
            continue
        worker = next(w for w in workers if w.pk == run.worker_id)
        others = [r for r in running if r.worker_id == worker.pk and r.pk != run.pk]
        kind = run.slot.partition(":")[0]
        if _room(worker, kind, others).places(wanted):
            return run
    return None


def _room(worker: Worker, kind: str, running: Sequence[Run]) -> Room:
    """What is free on a worker while these run there."""
    taken = {index for run in running for index in backlog.slot_indices(run.slot)}
    if kind == "gpu":
        free = [i for i in range(worker.gpu_slots) if i not in taken]
        return backlog.gpu_room(worker, free, running)
    slots = [i for i in range(worker.cpu_slots) if i not in taken]
    return Room(kind="cpu", free=tuple(Place(i, f"cpu:{i}") for i in slots))
