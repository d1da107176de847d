"""The next setting by Optuna's tree-structured Parzen estimator, from the trials in our database.

There is no second truth: a study in memory is filled with what came of the settings so far, asked
once, and forgotten. Settings under way count as bad ones (a constant liar), so that those that go
at the same time do not crowd at one place.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from webapp.sweeps.space import Dimension, Params, Space, rounded
from webapp.sweeps.trials import Outcome, Status

STARTUP = 10  # settings at random before the estimator says anything; Optuna's default
_STATES = {
    Status.ACTIVE: TrialState.RUNNING, Status.DONE: TrialState.COMPLETE,
    Status.PRUNED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL,
}  # fmt: skip

optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(
    space: Space, history: Sequence[Outcome], entropy: Sequence[int], *, falling: bool
) -> Params:
    """The setting to try next; the same for the same history and entropy."""
    seed = int(np.random.SeedSequence(list(entropy)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, constant_liar=True, seed=seed
        )
    study = optuna.create_study(direction="minimize" if falling else "maximize", sampler=sampler)
    distributions = {d.name: _distribution(d) for d in space}
    study.add_trials([_trial(space, distributions, outcome) for outcome in history])
    asked = study.ask(distributions)
    return {d.name: _value(d, asked.params[d.name]) for d in space}


def _distribution(d: Dimension) -> BaseDistribution:
    if not d.is_range:  # by their place: Optuna takes no tuples
        return CategoricalDistribution(tuple(range(len(d.values))))
    if d.integer:
        return IntDistribution(int(d.low), int(d.high), log=d.log)
    return FloatDistribution(d.low, d.high, log=d.log)


def _value(d: Dimension, told: Any) -> Any:
    if not d.is_range:
        return d.values[told]
    if d.integer:
        return int(told)
    return min(d.high, max(d.low, rounded(told)))


def _trial(
    space: Space, distributions: Mapping[str, BaseDistribution], outcome: Outcome
) -> optuna.trial.FrozenTrial:
    params = {
        d.name: outcome.params[d.name] if d.is_range else d.values.index(outcome.params[d.name])
        for d in space
    }
    state = _STATES[outcome.status]
    cut = {}
    if outcome.status == Status.PRUNED and outcome.value is not None:
        cut = {outcome.step: outcome.value}
    return optuna.trial.create_trial(
        state=state,
        params=params,
        distributions=dict(distributions),
        value=outcome.value if state == TrialState.COMPLETE else None,
        intermediate_values=cut,
    )
