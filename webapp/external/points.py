"""What a script measured: read from JSON, checked, as columns.

Steps are whole numbers that JavaScript holds exactly. Values may be NaN and infinite: a loss that
exploded is worth seeing. JSON has no such numbers, so they are written as the texts "NaN",
"Infinity" and "-Infinity".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vad.errors import VadError
from webapp.runs import chunks, packing

MOST_POINTS = 20_000  # in a batch
MOST_KEYS = 2000  # of a run
MOST_STEP = 2**53 - 1
MOST_TIME_MS = 253_402_300_799_000  # the end of the year 9999
Value = float | Literal["NaN", "Infinity", "-Infinity"]  # in JSON
NOT_FINITE = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
_KEY = re.compile(
    r"[^\x00-\x20,\x7f\ud800-\udfff]([^\x00-\x1f,\x7f\ud800-\udfff]*[^\x00-\x20,\x7f\ud800-\udfff])?"
)


@dataclass(frozen=True, eq=False)
class Points:
    """Points of one metric, in the order that they were measured.

    Args:
        steps: [n] int64, in any order, repetitions allowed.
        values: [n] float64.
        times: [n] int64, milliseconds since 1970, UTC; None when they were not told.
    """

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.steps)


Batch = Mapping[str, Points]


def refused(problem: str) -> VadError:
    return VadError(
        "log-invalid", f"{problem}.", "Nothing of this batch was kept; correct it and log it again."
    )


def check_key(key: str) -> str:
    """
    Raises:
        VadError: `log-invalid`.
    """
    if not isinstance(key, str) or len(key) > chunks.KEY_LENGTH or not _KEY.fullmatch(key):
        raise refused(
            f"{str(key)[:60]!r} is no name of a metric: 1 to {chunks.KEY_LENGTH} characters, "
            "without commas, line breaks, and spaces at the ends"
        )
    if key.startswith(chunks.SYSTEM):
        raise refused(f"{key[:60]!r}: names that begin with {chunks.SYSTEM} are the server's own")
    return key


def from_rows(rows: Iterable[tuple[str, float, int, int | None]]) -> dict[str, Points]:
    """A batch of single points: key, value, step, and time in ms (of all of them, or of none).

    Raises:
        VadError: `log-invalid`.
    """
    found: dict[str, tuple[list[Any], list[Any], list[Any]]] = {}
    for key, value, step, time in rows:
        columns = found.setdefault(key, ([], [], []))
        for column, item in zip(columns, (step, value, time), strict=True):
            column.append(item)
    return {
        key: points(key, steps, values, None if all(t is None for t in times) else times)
        for key, (steps, values, times) in found.items()
    }


def points(
    key: str, steps: Sequence[Any], values: Sequence[Any], times: Sequence[Any] | None = None
) -> Points:
    """One metric's columns, from lists as JSON has them.

    Raises:
        VadError: `log-invalid`.
    """
    check_key(key)
    lengths = {len(steps), len(values), len(steps) if times is None else len(times)}
    if len(lengths) > 1:
        raise refused(f"{key}: its steps, values and times are not equally many")
    return Points(
        _whole(key, "step", steps, -MOST_STEP, MOST_STEP),
        _numbers(key, values),
        None if times is None else _whole(key, "time", times, 0, MOST_TIME_MS),
    )


def as_json(value: float) -> Value:
    """A value as it is read again: what JSON has no number for is a text."""
    if np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def check(batch: Batch) -> None:
    """Refuse a batch that is too large. Its columns are right, as they were made by this module.

    Raises:
        VadError: `log-invalid`.
    """
    count = sum(len(p) for p in batch.values())
    if count > MOST_POINTS:
        raise refused(f"The batch has {count:,} points, {MOST_POINTS:,} at most")
    if len(batch) > MOST_KEYS:
        raise refused(f"The batch has {len(batch):,} metrics, {MOST_KEYS:,} at most")


def _whole(key: str, what: str, given: Sequence[Any], least: int, most: int) -> np.ndarray:
    if not given:
        return np.zeros(0, dtype=packing.STEPS)
    if set(map(type, given)) != {int} or min(given) < least or max(given) > most:
        item = next(i for i in given if type(i) is not int or not least <= i <= most)
        raise refused(
            f"{key}: {str(item)[:40]!r} is no {what}, a whole number from {least} to {most}"
        )
    return np.array(given, dtype=packing.STEPS)


def _numbers(key: str, given: Sequence[Any]) -> np.ndarray:
    if not set(map(type, given)) <= {float}:
        given = [_number(key, item) for item in given]
    return np.array(given, dtype=packing.VALUES)


def _number(key: str, item: Any) -> float:
    if type(item) is float:
        return item
    if type(item) is int:
        try:
            return float(item)
        except OverflowError:
            pass
    elif isinstance(item, str) and item in NOT_FINITE:
        return NOT_FINITE[item]
    raise refused(
        f"{key}: {str(item)[:40]!r} is no number (the texts {', '.join(NOT_FINITE)} are some)"
    )
