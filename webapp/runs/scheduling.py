"""Which waiting run starts next: a pure function of what waits, who used what, and what is free.

Priority first; a level is added for every `lift_s` that a person has waited without a start, so
that nobody starves below a stream of urgent runs. Within a level the person who used least of the
devices lately, for their share, is next (see accounting.py), and of their runs the oldest. An order
made by hand exchanges places among the runs of one project: it takes none from other projects.

Times are seconds since the epoch. No Django here, so that ten thousand decisions can be simulated.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEAST_CHARGE_S = 900.0  # what a run that has just begun counts: else one person fills every device


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued run, or the first of a group of runs that differ in nothing but age."""

    id: Any
    owner: Any
    project: Any
    priority: int
    queued_at: float
    by_hand: int | None = None  # place among the project's runs of its priority, least first
    gpus: int = 1
    memory_mb: int | None = None  # on each of its devices; None: not known


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person used lately of a kind of device, and when a run of theirs last started."""

    used_s: float = 0.0  # decayed device-seconds, with what runs now
    share: float = 1.0
    last_start: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A free slot."""

    index: int
    device: str  # slots of one device share it
    free_mb: int | None = None  # what runs there has left of the device's memory; None: not known


@dataclass(frozen=True, slots=True)
class Room:
    """What one worker has free of one kind of slot, best place first, and what it has at all."""

    kind: str  # "gpu" or "cpu"
    free: tuple[Place, ...]
    devices: int = 1  # different ones, busy ones included
    memory_mb: int | None = None  # of the largest device

    def places(self, run: Candidate) -> tuple[int, ...] | None:
        """Indices of the slots that the run would take, on different devices; None: no room."""
        if self.kind == "cpu":
            return (self.free[0].index,) if self.free else None
        chosen: dict[str, int] = {}
        for place in self.free:
            enough = (
                run.memory_mb is None or place.free_mb is None or run.memory_mb <= place.free_mb
            )
            if enough and place.device not in chosen:
                chosen[place.device] = place.index
            if len(chosen) == run.gpus:
                return tuple(chosen.values())
        return None

    def could_hold(self, run: Candidate) -> bool:
        """Whether the run fits when nothing else runs here."""
        if self.kind == "cpu":
            return True
        known = run.memory_mb is not None and self.memory_mb is not None
        return run.gpus <= self.devices and not (known and run.memory_mb > self.memory_mb)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of the decision; the server's are in its settings."""

    lift_s: float = 6 * 3600.0
    reserve_s: float = 600.0  # then a run for several devices keeps them free as they become so


NOBODY = Standing()
Key = tuple[float, float, float, str]


def choose(
    heads: Iterable[Candidate],
    standings: Mapping[Hashable, Standing],
    room: Room,
    now: float,
    rules: Rules = Rules(),  # frozen
) -> Candidate | None:
    """The run to start in this room; None when nothing fits, or the room is kept for a large run.

    Args:
        heads: all that is queued, or of each group of equal runs (owner, project, priority, needs)
            the first by hand and the oldest, which decides the same.
        standings: of the owners; who is not there has used nothing.
    """

    def key(run: Candidate) -> Key:
        return _key(run, standings.get(run.owner, NOBODY), now, rules)

    possible = sorted((run for run in heads if room.could_hold(run)), key=key)
    for run in possible:
        if room.places(run) is not None:
            return _by_hand(run, (r for r in possible if room.places(r)))
        if now - run.queued_at > rules.reserve_s:
            return None
    return None


def in_order(
    waiting: Sequence[Candidate],
    standings: Mapping[Hashable, Standing],
    now: float,
    rules: Rules = Rules(),
    most: int | None = None,
) -> list[Candidate]:
    """The first `most` as `choose` would start them one after the other, were there room for each.

    All of them without `most`.
    """
    return _Order(waiting, standings, now, rules).first(len(waiting) if most is None else most)


def charged(standing: Standing, run: Candidate, now: float) -> Standing:
    """The standing of the run's owner once it has been started."""
    return Standing(standing.used_s + LEAST_CHARGE_S * run.gpus, standing.share, now)


def level(run: Candidate, standing: Standing, now: float, rules: Rules) -> int:
    """The run's priority, lifted by how long its owner has waited for a start."""
    since = max(run.queued_at, standing.last_start or 0.0)
    return run.priority + max(0, int((now - since) // rules.lift_s))


def _key(run: Candidate, standing: Standing, now: float, rules: Rules) -> Key:
    used = standing.used_s / max(standing.share, 1e-6)
    return (-level(run, standing, now, rules), used, run.queued_at, str(run.id))


def _by_hand(best: Candidate, others: Iterable[Candidate]) -> Candidate:
    """The run that takes the best one's place: the first by hand of its project and priority."""
    place = (best.project, best.priority)
    ordered = [r for r in others if r.by_hand is not None and (r.project, r.priority) == place]
    return min(ordered, key=_hand) if ordered else best


def _hand(run: Candidate) -> tuple[int, float, str]:
    return (run.by_hand or 0, run.queued_at, str(run.id))


@dataclass
class _Group:
    """Runs of one owner, project, priority and needs, by age and by hand; the next one is last."""

    aged: list[Candidate] = field(default_factory=list)
    ordered: list[Candidate] = field(default_factory=list)


class _Order:
    """Takes the best run again and again.

    A start can only move what is left of its owner back, so a heap of keys that are partly out of
    date does: one that comes to the top is computed anew.
    """

    def __init__(
        self,
        waiting: Sequence[Candidate],
        standings: Mapping[Hashable, Standing],
        now: float,
        rules: Rules,
    ) -> None:
        self._now, self._rules = now, rules
        self._standings = dict(standings)
        self._taken: set[Hashable] = set()
        self._groups: dict[Hashable, _Group] = {}
        self._by_hand: dict[Hashable, set[Hashable]] = {}  # project -> groups ordered in part
        for run in waiting:
            name = (run.owner, run.project, run.priority, run.gpus, run.memory_mb)
            group = self._groups.setdefault(name, _Group())
            group.aged.append(run)
            if run.by_hand is not None:
                group.ordered.append(run)
                self._by_hand.setdefault((run.project, run.priority), set()).add(name)
        for group in self._groups.values():
            group.aged.sort(key=lambda r: (r.queued_at, str(r.id)), reverse=True)
            group.ordered.sort(key=_hand, reverse=True)
        self._heap = [(self._key(g.aged[-1]), n, g) for n, g in enumerate(self._groups.values())]
        heapq.heapify(self._heap)

    def first(self, most: int) -> list[Candidate]:
        found: list[Candidate] = []
        while len(found) < most and (best := self._best()) is not None:
            run = _by_hand(best, self._first_by_hand(best))
            self._taken.add(run.id)
            self._standings[run.owner] = charged(
                self._standings.get(run.owner, NOBODY), run, self._now
            )
            found.append(run)
        return found

    def _best(self) -> Candidate | None:
        while self._heap:
            key, n, group = self._heap[0]
            run = self._next(group.aged)
            if run is None:
                heapq.heappop(self._heap)
            elif (fresh := self._key(run)) > key:
                heapq.heapreplace(self._heap, (fresh, n, group))
            else:
                return run
        return None

    def _first_by_hand(self, best: Candidate) -> list[Candidate]:
        names = self._by_hand.get((best.project, best.priority), ())
        found = [self._next(self._groups[name].ordered) for name in names]
        return [run for run in found if run is not None]

    def _next(self, runs: list[Candidate]) -> Candidate | None:
        while runs and runs[-1].id in self._taken:
            runs.pop()
        return runs[-1] if runs else None

    def _key(self, run: Candidate) -> Key:
        return _key(run, self._standings.get(run.owner, NOBODY), self._now, self._rules)
