"""Which trials a sweep makes next: a pure function of what it is to do and what was made.

A setting is one point of the space; it is trained once for every seed. Trials are numbered setting
by setting, so that (setting, seed) and the number say the same, and whoever drives the sweep, as
often as they like, comes to the same trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vad.errors import VadError
from webapp.sweeps import space as spaces
from webapp.sweeps.space import Params, Space
from webapp.sweeps.trials import Made, Outcome, Status, outcomes

DRAWS = 50  # of a setting, until one fits the other fields of the configuration


class Strategy(StrEnum):
    GRID = "grid"
    RANDOM = "random"
    SEEDS = "seeds"
    TPE = "tpe"


@dataclass(frozen=True, kw_only=True)
class Next:
    """A trial to make."""

    number: int
    setting: int
    seed: int
    params: Params


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is to do.

    Args:
        settings: how many points of the space.
        parallel: how many trials may be under way at once.
        entropy: seed of the draws.
        falling: whether less of the objective is better.
        fits: whether the configuration takes these settings together.
    """

    space: Space
    strategy: Strategy
    settings: int
    seeds: Sequence[int]
    parallel: int
    entropy: int
    falling: bool
    fits: Callable[[Params], bool]

    @property
    def trials(self) -> int:
        return self.settings * len(self.seeds)


def next_trials(plan: Plan, made: Sequence[Made]) -> list[Next]:
    """The trials to make now: the lowest numbers that are missing, as many as may go at once.

    Raises:
        VadError: `config-invalid`, no setting that was drawn fits the configuration.
    """
    taken = {trial.number for trial in made}
    room = plan.parallel - sum(trial.status == Status.ACTIVE for trial in made)
    missing = [n for n in range(plan.trials) if n not in taken][: max(0, room)]
    known = {trial.setting: trial.params for trial in made}
    history = outcomes(made, len(plan.seeds))
    found = []
    for number in missing:
        setting, place = divmod(number, len(plan.seeds))
        if setting not in known:
            known[setting] = _propose(plan, setting, history)
            history.append(Outcome(params=known[setting], status=Status.ACTIVE, value=None))
        found.append(
            Next(number=number, setting=setting, seed=plan.seeds[place], params=known[setting])
        )
    return found


def _propose(plan: Plan, setting: int, history: Sequence[Outcome]) -> Params:
    if plan.strategy == Strategy.SEEDS:
        return {}
    if plan.strategy == Strategy.GRID:
        return spaces.grid(plan.space)[setting]
    for attempt in range(DRAWS):
        entropy = (plan.entropy, setting, attempt)
        if plan.strategy == Strategy.TPE:
            from webapp.sweeps import tpe  # it takes most of a second to import

            params = tpe.propose(plan.space, history, entropy, falling=plan.falling)
        else:
            params = spaces.draw(plan.space, entropy)
        if plan.fits(params):
            return params
    raise VadError(
        "config-invalid",
        f"None of {DRAWS} settings that were drawn fits the rest of the configuration.",
        "Make the ranges narrower, or change the fields that they contradict.",
    )
