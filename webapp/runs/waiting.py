"""Why a run does not run yet, in one sentence, and in which order the waiting ones will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from webapp.accounts.models import Project
from webapp.fleet.models import Pause, Worker
from webapp.runs import backlog, scheduling
from webapp.runs.models import CLAIMED, ENDED, Attempt, Run, RunEvent, State
from webapp.runs.recovery import words
from webapp.runs.scheduling import Candidate, Room

WAITING = (State.QUEUED, State.WAITING, State.HELD)
MOST_SHOWN = 500
LOOK_AHEAD = 1000  # queued runs of a kind of slot that are put in order; the rest is behind them


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is queued on the server, by kind of slot, in the order of the decision: the first."""

    gpu: list[Candidate]
    cpu: list[Candidate]

    @cached_property
    def rank(self) -> dict[UUID, int]:
        """Place of each run among those that want the same kind of slot, from 0."""
        return {run.id: n for kind in (self.gpu, self.cpu) for n, run in enumerate(kind)}


def startable(of: QuerySet[Run] | None = None) -> QuerySet[Run]:
    """Queued runs that nothing keeps but the want of a slot; a pause of the server is not seen."""
    runs = Run.objects.all() if of is None else of
    return runs.filter(backlog.may_start(), state=State.QUEUED)


def since() -> Greatest:
    """Since when a queued run waits. It keeps its age, but while it ran it did not wait."""
    ended = Attempt.objects.filter(run=OuterRef("pk")).order_by().values("run")
    last = Subquery(ended.annotate(last=Max("ended_at")).values("last"))
    return Greatest("queued_at", Coalesce(last, "queued_at"))


def line() -> Line:
    """The order as of now: `claiming.claim_best` decides with the same function and figures."""
    queued = startable()
    return Line(gpu=_ordered("gpu", queued), cpu=_ordered("cpu", queued))


def _ordered(kind: str, queued: QuerySet[Run]) -> list[Candidate]:
    wanting = queued.filter(backlog.fits(kind))
    candidates = backlog.queued(wanting)
    if not candidates:
        return []
    now = timezone.now().timestamp()
    return scheduling.in_order(
        candidates, backlog.standings(kind), now, backlog.rules(), LOOK_AHEAD
    )


class InOrder:
    """A project's runs that have not started: queued ones as they would be claimed, then others.

    Only the slice that is asked for is read, whatever waits before and behind it.
    """

    def __init__(self, project: Project | None, found: Line) -> None:
        self._runs = Run.objects.filter(project=project).order_by("queued_at", "id")
        mine = {
            run.id: (found.rank[run.id], run.queued_at)
            for run in (*found.gpu, *found.cpu)
            if project is not None and run.project == project.pk
        }
        self._first = sorted(mine, key=lambda pk: mine[pk])

    @cached_property
    def _parts(self) -> list[tuple[int, QuerySet[Run]]]:
        """What comes after those whose place is known, and how many of each."""
        rows = self._runs.filter(state__in=WAITING).order_by().values_list("state")
        counts = dict(rows.annotate(Count("pk")))
        behind = self._runs.filter(state=State.QUEUED).exclude(pk__in=self._first)
        parts: list[tuple[int, QuerySet[Run]]] = []
        parts.append((max(0, counts.get(State.QUEUED, 0) - len(self._first)), behind))
        for state in WAITING[1:]:
            parts.append((counts.get(state, 0), self._runs.filter(state=state)))
        return parts

    def __len__(self) -> int:
        return len(self._first) + sum(count for count, _ in self._parts)

    def __getitem__(self, part: slice) -> list[Run]:
        begin, end = part.start or 0, part.stop
        ids, before = self._first[begin:end], len(self._first)
        for count, runs in self._parts:
            first, last = max(0, begin - before), min(count, end - before)
            if first < last:
                ids += runs.values_list("pk", flat=True)[first:last]
            before += count
        waiting = Run.objects.filter(state__in=WAITING).select_related("owner", "version__dataset")
        by_id = waiting.in_bulk(ids)  # without those that were claimed in between
        return [by_id[pk] for pk in ids if pk in by_id]


def reasons(runs: Sequence[Run]) -> dict[UUID, str]:
    """Why each of these runs waits; those that do not wait are left out. Few queries, always."""
    found: dict[UUID, str] = {}
    by_state = {state: [r for r in runs if r.state == state] for state in WAITING}
    if by_state[State.QUEUED]:
        site = _Site.now()
        last = _last_words(by_state[State.QUEUED])
        for run in by_state[State.QUEUED]:
            found[run.pk] = _queued(run, site, last.get(run.pk, ""))
    if by_state[State.WAITING]:
        found |= _waiting(by_state[State.WAITING])
    if by_state[State.HELD]:
        found |= _held(by_state[State.HELD])
    return found


def reason(run: Run) -> str:
    """Why this run does not get on; empty when it does."""
    return silence(run) or reasons([run]).get(run.pk, "")


def silence(run: Run) -> str:
    """That a run which is trained elsewhere was not heard of for long; empty otherwise."""
    return "" if run.silent_s is None else f"Not heard of for {words(run.silent_s)}."


# --- queued ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Site:
    """What there is to run on, and what is paused."""

    cpu: tuple[int, int]  # slots of living workers that claim, and how many are taken
    gpu: tuple[int, int]
    gpu_lives: bool  # drained ones included
    rooms: list[Room]  # what each worker with GPUs has when nothing runs
    drained: list[str]
    pauses: dict[int | None, Pause]

    @classmethod
    def now(cls) -> _Site:
        alive = list(Worker.objects.alive().filter(refused=""))
        workers = [w for w in alive if w.drained_at is None]
        claimed = Run.objects.filter(state__in=CLAIMED, worker__in=workers)
        taken: Counter[str] = Counter()
        for slot in claimed.values_list("slot", flat=True):
            taken[slot.partition(":")[0]] += len(backlog.slot_indices(slot))
        return cls(
            cpu=(sum(w.cpu_slots for w in workers), taken["cpu"]),
            gpu=(sum(w.gpu_slots for w in workers), taken["gpu"]),
            gpu_lives=any(w.gpu_slots for w in alive),
            rooms=[backlog.gpu_room(w, range(w.gpu_slots), []) for w in workers if w.gpu_slots],
            drained=[w.name for w in alive if w.drained_at is not None],
            pauses={p.project_id: p for p in Pause.objects.select_related("by")},
        )


def _queued(run: Run, site: _Site, last: str) -> str:
    pause = site.pauses.get(None) or site.pauses.get(run.project_id)
    if pause is not None:
        what = "The server" if pause.project_id is None else "The project"
        return f"{what} is paused{f' by {pause.by}' if pause.by else ''}."
    left_s = (run.not_before - timezone.now()).total_seconds() if run.not_before else 0
    if left_s > 0:
        return f"It tries again in {words(max(1, left_s))}: {last or 'it was set back.'}"
    kind = _kind(run, site)
    there, taken = site.gpu if kind == "gpu" else site.cpu
    word = kind.upper()
    if not there:
        if site.drained and (kind == "cpu" or site.gpu_lives):
            return f"{_listed(site.drained)} takes nothing new: it is being drained."
        if run.device == "auto" and run.gpus == 1:
            return "No worker is alive; start one."
        return f"No worker with a {word} is alive."
    if kind == "gpu" and (text := _too_large(run, site.rooms)):
        return text
    if taken >= there:
        return (
            f"The {word} slot is taken." if there == 1 else f"All {there} {word} slots are taken."
        )
    if kind == "gpu" and (run.gpus > 1 or run.memory_mb):
        needs = f"{run.gpus} GPUs of one worker" if run.gpus > 1 else f"{run.memory_mb:,} MB"
        return f"It starts when {needs} are free at once."
    return "It is about to start." if run.attempt == 1 else "It is about to start again."


def _kind(run: Run, site: _Site) -> str:
    if run.device == "auto":
        return "gpu" if site.gpu_lives or run.gpus > 1 else "cpu"
    return "gpu" if run.device == "cuda" else "cpu"


def _too_large(run: Run, rooms: Sequence[Room]) -> str:
    """Why the run fits on no worker that lives, even when nothing else runs; empty when it does."""
    wanted = Candidate(
        id=run.pk, owner=run.owner_id, project=run.project_id, priority=0, queued_at=0,
        gpus=run.gpus, memory_mb=run.memory_mb,
    )  # fmt: skip
    if any(room.could_hold(wanted) for room in rooms):
        return ""
    most = max(room.devices for room in rooms)
    if run.gpus > most:
        return f"It needs {run.gpus} GPUs; no living worker has more than {most}."
    largest = max((room.memory_mb or 0 for room in rooms), default=0)
    return f"It needs {run.memory_mb:,} MB on a GPU; the largest that is alive has {largest:,} MB."


def _last_words(runs: Sequence[Run]) -> dict[UUID, str]:
    """Of runs that wait for a time: what set them back."""
    found: dict[UUID, str] = {}
    ids = [run.pk for run in runs if run.not_before]
    if ids:
        events = RunEvent.objects.filter(run__in=ids, kind__in=("lost", "set-back"))
        for run_id, message in events.order_by("at", "id").values_list("run", "message"):
            found[run_id] = message
    return found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"Each of {', '.join(names)}"


# --- not queued -----------------------------------------------------------------------------


def _waiting(runs: Sequence[Run]) -> dict[UUID, str]:
    parents: dict[UUID, list[tuple[str, str]]] = {}
    links = Run.parents.through.objects.filter(from_run__in=[run.pk for run in runs])
    for child, name, state in links.values_list("from_run", "to_run__name", "to_run__state"):
        if state != State.SUCCEEDED:
            parents.setdefault(child, []).append((name, state))
    return {run.pk: _after(parents.get(run.pk, [])) for run in runs}


def _after(parents: Iterable[tuple[str, str]]) -> str:
    parents = list(parents)
    ended = [f"{name} {state}" for name, state in parents if state in ENDED]
    if ended:
        return f"It cannot start: {', '.join(ended)}. Retry that run, or cancel this one."
    if not parents:
        return "What it waited for is done; it is queued in a moment."
    return f"It starts after {', '.join(name for name, _ in parents)}."


def _held(runs: Sequence[Run]) -> dict[UUID, str]:
    who: dict[UUID, str] = {}
    events = RunEvent.objects.filter(
        run__in=[run.pk for run in runs], kind__in=("held", "stop-asked"), by__isnull=False
    )
    for run_id, name in events.order_by("at", "id").values_list("run", "by__username"):
        who[run_id] = name
    return {
        run.pk: f"Held by {who[run.pk]}; release it to go on."
        if run.pk in who
        else "Held; release it to go on."
        for run in runs
    }
