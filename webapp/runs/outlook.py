"""When a waiting run should start, from what runs of its kind took; unknown without a basis.

How long a run takes: the median seconds for a unit (step, video) of the last runs of its kind that
succeeded, times the units that it has to do. What runs now ends by its own rate. Then the queue is
played forward over the slots of the living workers, in the order of the decision. Runs that are
queued later, and priorities that change, are not foreseen.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from webapp.fleet.models import Pause, Worker
from webapp.runs import backlog, waiting
from webapp.runs.models import Run, State
from webapp.runs.scheduling import Candidate
from webapp.runs.waiting import Line

LAST = 20  # finished runs of a kind


@dataclass(frozen=True)
class Pace:
    """What finished runs of a kind took."""

    per_unit_s: float
    units: float  # of the median run, for one whose own are not known yet
    runs: int


@dataclass(frozen=True)
class Start:
    """When a run should start, and from how many finished runs that is known (0: rates alone)."""

    at: datetime
    runs: int

    @property
    def is_now(self) -> bool:
        return (self.at - timezone.now()).total_seconds() < 10

    @property
    def basis(self) -> str:
        if not self.runs:
            return "by what runs now"
        return "from 1 finished run" if self.runs == 1 else f"from {self.runs} finished runs"


def starts(line: Line, of: Collection[UUID]) -> dict[UUID, Start]:
    """Of these runs those that are in the line and whose start can be told. Five queries.

    The queue is played forward as far as the last of them, and no further.
    """
    orders = {"gpu": _until(line.gpu, of), "cpu": _until(line.cpu, of)}
    if not any(orders.values()) or Pause.objects.filter(project=None).exists():
        return {}
    now = timezone.now()
    workers = list(Worker.objects.claiming())
    running = list(
        Run.objects.filter(claim__isnull=False, worker__in=workers).only(
            "kind", "slot", "worker", "done", "total", "rate", "state", "spent_s", "claimed_at",
            "config", "time_limit_s",
        )
    )  # fmt: skip
    ids = [run.id for order in orders.values() for run in order]
    rows = Run.objects.filter(pk__in=ids, state=State.QUEUED).values(
        "pk", "kind", "done", "total", "config__num_epochs", "spent_s", "time_limit_s"
    )
    queued = {row["pk"]: row for row in rows}
    paces = _paces({row["kind"] for row in rows} | {run.kind for run in running})
    found: dict[UUID, Start] = {}
    for kind, order in orders.items():
        lanes = _Lanes(workers, kind)
        for run in running:
            if run.slot.startswith(kind):
                lanes.occupy(run, _left_s(run, paces, now))
        for candidate in order:
            row = queued.get(candidate.id)
            if row is None:
                continue
            if not lanes.could_hold(candidate.gpus if kind == "gpu" else 1):
                continue  # it takes no slot from those behind it
            length = _length_s(row, paces)
            begun = lanes.start(candidate.gpus if kind == "gpu" else 1, length)
            if begun is None:
                break  # whatever comes after it is not known either
            found[row["pk"]] = Start(now + timedelta(seconds=begun[0]), begun[1])
    return {pk: start for pk, start in found.items() if pk in of}


def start_of(run: Run) -> Start | None:
    """When this run should start; None when it is not queued, or nobody can tell."""
    return starts(waiting.line(), {run.pk}).get(run.pk) if run.state == State.QUEUED else None


def _until(order: Sequence[Candidate], of: Collection[UUID]) -> Sequence[Candidate]:
    """The line as far as the last of these runs; empty when it holds none of them."""
    last = max((n for n, run in enumerate(order) if run.id in of), default=-1)
    return order[: last + 1]


class _Lanes:
    """When each slot becomes free, in seconds from now, and on how many finished runs that rests.

    A slot whose run ends nobody knows when is no lane.
    """

    def __init__(self, workers: Sequence[Worker], kind: str) -> None:
        self._most = max(
            (w.gpu_slots if kind == "gpu" else w.cpu_slots for w in workers), default=0
        )
        self._free: dict[int, list[tuple[float, int]]] = {
            w.pk: [(0.0, 0)] * (w.gpu_slots if kind == "gpu" else w.cpu_slots) for w in workers
        }

    def could_hold(self, count: int) -> bool:
        return count <= self._most

    def occupy(self, run: Run, left: tuple[float, int] | None) -> None:
        lanes = self._free.get(run.worker_id or 0)
        if lanes is None:
            return
        for _ in backlog.slot_indices(run.slot):
            if (0.0, 0) in lanes:
                lanes.remove((0.0, 0))
                if left is not None:
                    lanes.append(left)

    def start(self, count: int, length: tuple[float, int] | None) -> tuple[float, int] | None:
        """Put a run on the lanes that are free first; seconds until then, and the basis."""
        best: tuple[float, int, int] | None = None
        for pk, lanes in self._free.items():
            first = heapq.nsmallest(count, lanes)
            if len(first) == count and (best is None or first[-1] < best[:2]):
                best = (*first[-1], pk)
        if best is None:
            return None
        at_s, runs, pk = best
        lanes = self._free[pk]
        for lane in heapq.nsmallest(count, lanes):
            lanes.remove(lane)
        if length is not None:
            lanes += [(at_s + length[0], max(runs, length[1]))] * count
        return at_s, runs


def _paces(kinds: Iterable[str]) -> dict[str, Pace]:
    found = {}
    for kind in sorted(kinds):
        ended = Run.objects.filter(kind=kind, state=State.SUCCEEDED, spent_s__gt=0, total__gt=0)
        rows = list(ended.order_by("-ended_at").values_list("spent_s", "total")[:LAST])
        if rows:
            found[kind] = Pace(
                per_unit_s=statistics.median(spent_s / total for spent_s, total in rows),
                units=statistics.median(total for _, total in rows),
                runs=len(rows),
            )
    return found


def _length_s(row: Mapping[str, Any], paces: Mapping[str, Pace]) -> tuple[float, int] | None:
    """Seconds that a queued run will take, and from how many runs that is known."""
    pace = paces.get(row["kind"])
    if pace is None:
        return None
    epochs = row.get("config__num_epochs")
    units = row["total"] or (epochs if isinstance(epochs, int) else 0) or pace.units
    seconds = max(0.0, units - row["done"]) * pace.per_unit_s
    if row["time_limit_s"] is not None:
        seconds = min(seconds, max(0.0, row["time_limit_s"] - row["spent_s"]))
    return seconds, pace.runs


def _left_s(run: Run, paces: Mapping[str, Pace], now: datetime) -> tuple[float, int] | None:
    """Seconds until a running run should end: by its rate, else as those before it."""
    if run.eta_s is not None:
        return max(0.0, run.eta_s), 0
    row = {
        "kind": run.kind, "done": run.done, "total": run.total, "spent_s": run.spent_s,
        "config__num_epochs": run.config.get("num_epochs"), "time_limit_s": run.time_limit_s,
    }  # fmt: skip
    length = _length_s(row, paces)
    if length is None:
        return None
    since_s = (now - run.claimed_at).total_seconds() if run.claimed_at and not run.done else 0.0
    # One that takes longer than those before it did ends nobody knows when.
    return (length[0] - since_s, length[1]) if length[0] > since_s else None
