"""When a trial is hopeless: rules on the curves of the objective, without a database.

What counts is the best value up to a step, since a checkpoint is chosen by its best. A trial is
compared with those that came at least as far, stopped ones too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

import numpy as np

ETA = 3  # of halving: a third goes on, and a rung is three times as far as the one before


class Rule(StrEnum):
    NONE = ""
    MEDIAN = "median"
    HALVING = "halving"


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """The objective of one trial.

    Args:
        steps, values: [n], rising steps; values that are not finite are passed over.
        active: whether the trial goes on; others are only compared with.
    """

    number: int
    steps: np.ndarray
    values: np.ndarray
    active: bool

    def best(self, step: int, falling: bool) -> float | None:
        """The best value up to a step; None without one."""
        values = self.values[(self.steps <= step) & np.isfinite(self.values)]
        if not len(values):
            return None
        return float(values.min() if falling else values.max())

    @property
    def last_step(self) -> int:
        return int(self.steps[-1]) if len(self.steps) else -1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a trial is hopeless, at a step."""

    number: int
    step: int
    why: str


def hopeless(
    rule: Rule, curves: Sequence[Curve], *, after: int, least: int, falling: bool
) -> list[Verdict]:
    """The active trials that the rule stops.

    Args:
        after: steps before which none is judged; the first rung of halving.
        least: how many others must have come as far.
    """
    judge = {Rule.MEDIAN: _by_median, Rule.HALVING: _by_rank}.get(rule)
    if judge is None:
        return []
    found = []
    for curve in curves:
        if curve.active and curve.last_step >= after:
            step = _rung(curve.last_step, after) if rule == Rule.HALVING else curve.last_step
            own = curve.best(step, falling)
            others = [
                best for other in curves
                if other is not curve and other.last_step >= step
                and (best := other.best(step, falling)) is not None
            ]  # fmt: skip
            if own is not None and len(others) >= least and (why := judge(own, others, falling)):
                why = f"At step {step:,} {why}"
                found.append(Verdict(number=curve.number, step=curve.last_step, why=why))
    return found


def _rung(step: int, first: int) -> int:
    """The highest rung that was reached: `first`, then three times as far, and so on."""
    first = max(1, first)
    rung = first * ETA ** int(math.log(max(step, first) / first, ETA))
    return rung * ETA if rung * ETA <= step else rung  # the logarithm may fall just short


def _by_median(own: float, others: Sequence[float], falling: bool) -> str:
    """Google Vizier's median rule (Golovin et al., KDD 2017), on best values."""
    middle = median(others)
    if not _better(middle, own, falling):
        return ""
    return (
        f"its best was {own:.4g}, worse than the median {middle:.4g} of the {len(others)} trials "
        "that came as far."
    )


def _by_rank(own: float, others: Sequence[float], falling: bool) -> str:
    """Asynchronous successive halving (Li et al., MLSys 2020): the best third of a rung goes on."""
    place = 1 + sum(_better(other, own, falling) for other in others)
    count = len(others) + 1
    kept = max(1, count // ETA)
    if place <= kept:
        return ""
    goes = "the best one goes on" if kept == 1 else f"the best {kept} go on"
    return f"its best of {own:.4g} was number {place} of {count} trials; {goes}."


def _better(a: float, b: float, falling: bool) -> bool:
    return a < b if falling else a > b
