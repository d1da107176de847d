"""What came of the trials of a sweep, and of a setting over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from webapp.sweeps.space import Params


class Status(StrEnum):
    """How a trial stands."""

    ACTIVE = "active"
    DONE = "done"
    PRUNED = "pruned"  # stopped early by the sweep
    FAILED = "failed"  # it failed, was cancelled, or its run was deleted


@dataclass(frozen=True, kw_only=True)
class Made:
    """A trial that was made.

    Args:
        value: of the objective as it stands; None without any.
        step: the last at which the objective was measured.
    """

    number: int
    setting: int
    params: Params
    status: Status
    value: float | None = None
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A setting over its seeds, for who proposes the next: the mean of those that ended well."""

    params: Params
    status: Status
    value: float | None
    step: int = 0


def outcomes(made: Sequence[Made], seeds: int) -> list[Outcome]:
    """What came of every setting, in their order."""
    by_setting: dict[int, list[Made]] = {}
    for trial in sorted(made, key=lambda trial: trial.number):
        by_setting.setdefault(trial.setting, []).append(trial)
    return [_outcome(trials, seeds) for trials in by_setting.values()]


def _outcome(trials: Sequence[Made], seeds: int) -> Outcome:
    params, states = trials[0].params, {trial.status for trial in trials}
    done = [t.value for t in trials if t.status == Status.DONE and t.value is not None]
    if Status.PRUNED in states:  # hopeless with one seed is hopeless
        cut = [t for t in trials if t.status == Status.PRUNED and t.value is not None]
        value = fmean(t.value for t in cut if t.value is not None) if cut else None
        step = max((t.step for t in cut), default=0)
        return Outcome(params=params, status=Status.PRUNED, value=value, step=step)
    if Status.ACTIVE in states or len(trials) < seeds:
        return Outcome(params=params, status=Status.ACTIVE, value=None)
    if not done:
        return Outcome(params=params, status=Status.FAILED, value=None)
    return Outcome(params=params, status=Status.DONE, value=fmean(done))
