"""Points of a metric as they are packed: in arrays, and in buckets that keep every extreme.

Nothing here knows of a database; `chunks.py` keeps what is made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

BUCKET_POINTS = 64
STEPS, VALUES = np.dtype("<i8"), np.dtype("<f8")
BUCKET = np.dtype(
    [("least_step", STEPS), ("least", VALUES), ("greatest_step", STEPS), ("greatest", VALUES),
     ("last_step", STEPS), ("last", VALUES)]
)  # fmt: skip
_LEVELS = ("least", "greatest")


def last_wins(steps: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sorted by step, each step once: of equal steps the one that came last."""
    steps, values = np.asarray(steps, dtype=STEPS), np.asarray(values, dtype=VALUES)
    if len(steps) > 1 and not (np.diff(steps) > 0).all():
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True)
        steps, values = steps[last], values[last]
    return steps, values


def buckets(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[ceil(n / BUCKET_POINTS)] records; least and greatest are NaN where nothing is finite."""
    n = len(steps)
    rows = -(-n // BUCKET_POINTS)
    index = np.minimum(np.arange(rows * BUCKET_POINTS), n - 1).reshape(rows, BUCKET_POINTS)
    steps, values = steps[index], values[index]  # the last point repeated changes no extreme
    finite = np.isfinite(values)
    some = finite.any(axis=1)
    at = np.arange(rows)
    out = np.zeros(rows, dtype=BUCKET)
    for name, worst, pick in (("least", np.inf, np.argmin), ("greatest", -np.inf, np.argmax)):
        where = pick(np.where(finite, values, worst), axis=1)
        out[name] = np.where(some, values[at, where], np.nan)
        out[f"{name}_step"] = steps[at, where]
    out["last"], out["last_step"] = values[:, -1], steps[:, -1]
    return out


def extremes(steps: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """The columns of a chunk that holds these points."""
    finite = np.flatnonzero(np.isfinite(values))
    found: dict[str, Any] = {
        "first_step": int(steps[0]),
        "last_step": int(steps[-1]),
        "count": len(steps),
        "last": _finite(values[-1]),
        "least": None, "least_step": None, "greatest": None, "greatest_step": None,
    }  # fmt: skip
    if len(finite):
        low, high = finite[values[finite].argmin()], finite[values[finite].argmax()]
        found["least"], found["least_step"] = float(values[low]), int(steps[low])
        found["greatest"], found["greatest_step"] = float(values[high]), int(steps[high])
    return found


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def points(buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least, greatest and last points of the buckets, by step, each step once."""
    steps = np.stack([buckets[f"{n}_step"] for n in (*_LEVELS, "last")], axis=1).ravel()
    values = np.stack([buckets[n] for n in (*_LEVELS, "last")], axis=1).ravel()
    real = np.isfinite(values)
    real[2::3] = True  # the last point is one, whatever its value; an extreme that is NaN is none
    return last_wins(steps[real], values[real])


def as_bucket(chunk: Mapping[str, Any]) -> np.ndarray:
    def number(value: float | None) -> float:
        return np.nan if value is None else value

    out = np.zeros(1, dtype=BUCKET)
    for name in _LEVELS:
        step = chunk[f"{name}_step"]
        out[name], out[f"{name}_step"] = number(chunk[name]), 0 if step is None else step
    out["last"], out["last_step"] = number(chunk["last"]), chunk["last_step"]
    return out


def cut(
    steps: np.ndarray, values: np.ndarray, from_step: int | None, to_step: int | None
) -> tuple[np.ndarray, np.ndarray]:
    low = 0 if from_step is None else int(np.searchsorted(steps, from_step))
    high = len(steps) if to_step is None else int(np.searchsorted(steps, to_step, side="right"))
    return steps[low:high], values[low:high]
