"""Why a run does not run yet, in one sentence, and in which order the waiting ones will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.models import Count

from webapp.accounts.models import Project
from webapp.fleet.models import Worker
from webapp.runs.models import CLAIMED, ENDED, Run, RunEvent, State

WAITING = (State.QUEUED, State.WAITING, State.HELD)


def in_order(project: Project | None) -> list[Run]:
    """The project's runs that have not started: queued ones as they would be claimed, then others.

    As `lifecycle.claim_best` does it: highest priority, then the owner who runs least, then the
    longest queued. A run started meanwhile changes what its owner runs, so this is the order as of
    now.
    """
    runs = list(
        Run.objects.filter(project=project, state__in=WAITING)
        .select_related("owner", "version__dataset")
        .order_by("queued_at", "id")[:500]
    )
    counted = Run.objects.filter(state__in=CLAIMED).order_by().values_list("owner")
    busy = dict(counted.annotate(n=Count("pk")))
    return sorted(
        runs,
        key=lambda run: (
            WAITING.index(State(run.state)),
            -run.priority,
            busy.get(run.owner_id, 0) if run.state == State.QUEUED else 0,
        ),
    )


def reasons(runs: Sequence[Run]) -> dict[UUID, str]:
    """Why each of these runs waits; those that do not wait are left out. Four queries at most."""
    found: dict[UUID, str] = {}
    by_state = {state: [r for r in runs if r.state == state] for state in WAITING}
    if by_state[State.QUEUED]:
        slots = _slots()
        found |= {run.pk: _queued(run, slots) for run in by_state[State.QUEUED]}
    if by_state[State.WAITING]:
        found |= _waiting(by_state[State.WAITING])
    if by_state[State.HELD]:
        found |= _held(by_state[State.HELD])
    return found


def reason(run: Run) -> str:
    """Why this run waits; empty when it does not."""
    return reasons([run]).get(run.pk, "")


def _slots() -> dict[str, tuple[int, int]]:
    """Of the living workers: kind of slot -> (how many there are, how many are taken)."""
    workers = list(Worker.objects.alive())
    claimed = Run.objects.filter(state__in=CLAIMED, worker__in=workers)
    taken = Counter(slot.partition(":")[0] for slot in claimed.values_list("slot", flat=True))
    return {
        "cpu": (sum(w.cpu_slots for w in workers), taken["cpu"]),
        "gpu": (sum(w.gpu_slots for w in workers), taken["gpu"]),
    }


def _queued(run: Run, slots: dict[str, tuple[int, int]]) -> str:
    if run.device == "auto":
        kind = "gpu" if slots["gpu"][0] else "cpu"
    else:
        kind = "gpu" if run.device == "cuda" else "cpu"
    there, taken = slots[kind]
    word = kind.upper()
    if not there:
        return (
            f"No worker with a {word} is alive."
            if run.device != "auto"
            else "No worker is alive; start one."
        )
    if taken >= there:
        return (
            f"The {word} slot is taken." if there == 1 else f"All {there} {word} slots are taken."
        )
    return "It is about to start." if run.attempt == 1 else "It is about to start again."


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
