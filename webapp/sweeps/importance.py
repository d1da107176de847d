"""How much of the objective each swept setting explains by itself.

One-way analysis of variance: trials are put into groups by the value of one setting (a number with
many values into groups of equally many trials), and omega squared is the share of the objective's
variance that lies between the groups, without what chance alone would put there. So it is about 0
for a setting that does nothing. What two settings do together only is in neither's share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_TRIALS = 10
MOST_GROUPS = 5
LEAST_IN_GROUP = 5  # of a number's groups, on average
PARTS = 200  # samples of three quarters of the trials, for the standard error
SHUFFLES = 999  # for the probability under chance


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Of one setting.

    Args:
        share: omega squared, 0 to 1.
        error: its standard error, by the delete-a-quarter jackknife.
        chance: how often shuffled objectives give as much or more (a permutation p-value).
        groups: how many groups the trials were put in.
    """

    name: str
    share: float
    error: float
    chance: float
    groups: int


def importances(
    names: Sequence[str], rows: Sequence[dict[str, Any]], values: Sequence[float]
) -> list[Importance]:
    """By falling share; empty with fewer than `LEAST_TRIALS` trials or equal values.

    Args:
        rows: the settings of each trial.
        values: its objective.
    """
    y = np.asarray(values, dtype=np.float64)
    if len(y) < LEAST_TRIALS or not np.isfinite(y).all() or np.ptp(y) == 0:
        return []
    found = [_of(name, groups_of([row[name] for row in rows]), y) for name in names]
    return sorted(found, key=lambda one: -one.share)


def groups_of(values: Sequence[Any]) -> np.ndarray:
    """[n] the group of each value: its own, or that of a quantile where numbers differ much."""
    distinct = list(dict.fromkeys(map(repr, values)))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    most = max(2, min(MOST_GROUPS, len(values) // LEAST_IN_GROUP))
    if not numbers or len(distinct) <= most:
        return np.array([distinct.index(repr(v)) for v in values])
    x = np.asarray(values, dtype=np.float64)
    edges = np.quantile(x, np.linspace(0, 1, most + 1)[1:-1])
    return np.searchsorted(np.unique(edges), x, side="right")


def _of(name: str, groups: np.ndarray, y: np.ndarray) -> Importance:
    rng = np.random.default_rng(0)
    members = np.eye(groups.max() + 1)[groups]  # [n, groups], a one in the group of each
    share = _omega(members[None], y[None])[0]
    orders = rng.permuted(np.tile(np.arange(len(y)), (SHUFFLES, 1)), axis=1)
    by_chance = _omega(members[None], y[orders])
    n, kept = len(y), len(y) - len(y) // 4
    parts = np.argsort(rng.random((PARTS, n)), axis=1)[:, :kept]
    deviation = np.std(_omega(members[parts], y[parts]))
    return Importance(
        name=name,
        share=float(max(0.0, share)),
        error=float(deviation * math.sqrt(kept / (n - kept))),  # Shao and Wu 1989
        chance=float((1 + np.sum(by_chance >= share - 1e-12)) / (1 + SHUFFLES)),
        groups=int(members.any(axis=0).sum()),
    )


def _omega(members: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[samples] omega squared (Hays 1963); below 0 where groups differ less than chance has it.

    Args:
        members: [samples or 1, n, groups].
        y: [samples, n].
    """
    n = y.shape[1]
    y = y - y.mean(axis=1, keepdims=True)
    sizes = members.sum(axis=1)
    sums = np.einsum("sng,sn->sg", np.broadcast_to(members, (len(y), *members.shape[1:])), y)
    between = (sums**2 / np.where(sizes > 0, sizes, math.inf)).sum(axis=1)
    total = (y**2).sum(axis=1)
    free = (sizes > 0).sum(axis=1) - 1
    within = np.maximum(total - between, 0) / np.maximum(n - free - 1, 1)
    return (between - free * within) / np.where(total + within > 0, total + within, math.inf)
