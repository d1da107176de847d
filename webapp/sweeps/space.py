"""The space that a sweep searches: which values each of its settings may take. No Django here.

In JSON, by the name of the setting: `{"values": [0.3, 0.5]}`, or a range `{"low": 1e-5, "high":
1e-2, "log": true}`, in a grid with `"points": 4`. On the form, as text: `0.3 0.5`, or
`1e-5 to 1e-2 log in 4`.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any

import numpy as np

from vad.configs import config_class
from vad.errors import ConfigError
from webapp.core.numbers import short_exponent

MOST_SETTINGS = 12  # swept at once
MOST_VALUES = 100  # of one setting
# The seed has a field of its own; the others would change what the objective measures, or nothing.
NOT_SWEPT = (
    "seed", "device", "selection", "validation_share", "validation_clips", "eval_every",
    "checkpoint_every", "watched_bags",
)  # fmt: skip
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(
    rf"(?P<low>{_NUMBER})\s*(?:to|\.\.)\s*(?P<high>{_NUMBER})(?P<log>\s+log)?"
    r"(?:\s+in\s+(?P<points>\d{1,4}))?",
    re.I | re.ASCII,
)

Params = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """What one setting may be: one of `values`, or a number from `low` to `high`.

    Args:
        integer: whole numbers only.
        log: equal ratios are equally likely, instead of equal differences.
        points: how many values of the range a grid takes, ends included.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    integer: bool = False
    points: int = 0

    @property
    def is_range(self) -> bool:
        return not self.values

    def to_json(self) -> dict[str, Any]:
        if not self.is_range:
            return {"values": [list(v) if isinstance(v, tuple) else v for v in self.values]}
        low, high = (int(v) if self.integer else v for v in (self.low, self.high))
        found: dict[str, Any] = {"low": low, "high": high}
        if self.log:
            found["log"] = True
        if self.points:
            found["points"] = self.points
        return found

    def grid(self) -> list[Any]:
        """The values that a grid takes."""
        if not self.is_range:
            return list(self.values)
        return list(dict.fromkeys(self.at(part) for part in np.linspace(0, 1, self.points)))

    def at(self, part: float) -> Any:
        """The value at a part of the range, 0 to 1; whole numbers share it equally."""
        low, high = self.low, self.high
        if self.log:
            value = math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
        else:
            value = low + part * (high - low)
        if self.integer:
            return int(min(high, max(low, round(value))))
        return min(high, max(low, rounded(value)))

    def words(self) -> str:
        """As the form reads it."""
        if not self.is_range:
            several = any(isinstance(v, tuple) or (isinstance(v, str) and " " in v)
                          for v in self.values)  # fmt: skip
            return ("; " if several else ", ").join(shown(v) for v in self.values)
        text = f"{shown(self.low)} to {shown(self.high)}{' log' if self.log else ''}"
        return f"{text} in {self.points}" if self.points else text


Space = tuple[Dimension, ...]


def rounded(value: float) -> float:
    """To four digits, as people write a setting."""
    return float(f"{value:.4g}")


def shown(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short_exponent(f"{value:g}")
    if isinstance(value, list | tuple):
        return " ".join(shown(v) for v in value)
    return str(value)


# --- reading --------------------------------------------------------------------------------


def sweepable(kind: str) -> dict[str, dict[str, Any]]:
    """The schema of every setting that a sweep of this kind may change."""
    fields = config_class(kind).json_schema()["properties"]
    return {name: spec for name, spec in fields.items() if name not in NOT_SWEPT}


def from_json(kind: str, given: Mapping[str, Any]) -> Space:
    """The space that the API was sent: objects, or texts as in the form.

    Raises:
        ConfigError: by the name of the setting.
    """
    return _read(kind, given, _from_json)


def from_texts(kind: str, given: Mapping[str, str]) -> Space:
    """The space that the form was filled with.

    Raises:
        ConfigError: by the name of the setting.
    """
    return _read(kind, given, _from_text)


def _read(kind: str, given: Mapping[str, Any], read: Any) -> Space:
    known = sweepable(kind)
    problems: dict[str, str] = {}
    found = []
    if len(given) > MOST_SETTINGS:
        problems["space"] = f"has {len(given)} settings, {MOST_SETTINGS} at most"
    for name, text in given.items():
        try:
            if name not in known:
                raise ValueError("cannot be swept" if name in NOT_SWEPT else "is no such setting")
            found.append(read(kind, name, known[name], text))
        except ValueError as exc:
            problems[name] = str(exc)
    if problems:
        raise ConfigError(problems, what="The sweep")
    return tuple(found)


def _from_json(kind: str, name: str, spec: Mapping[str, Any], given: Any) -> Dimension:
    if isinstance(given, str):
        return _from_text(kind, name, spec, given)
    if not isinstance(given, dict):
        raise ValueError('expected {"values": […]} or {"low": …, "high": …}')
    unknown = set(given) - {"values", "low", "high", "log", "points"}
    if unknown:
        raise ValueError(f"has no {sorted(unknown)[0]!r}; known: values, low, high, log, points")
    if "values" in given:
        if not isinstance(given["values"], list):
            raise ValueError("values must be a list")
        return _choices(kind, name, given["values"], texts=False)
    low: Any = given.get("low")
    high: Any = given.get("high")
    points = given.get("points", 0)
    if type(low) not in (int, float) or type(high) not in (int, float):
        raise ValueError("a range needs the numbers low and high")
    if type(points) is not int or type(given.get("log", False)) is not bool:
        raise ValueError("points must be a whole number, and log true or false")
    return _range(kind, name, spec, low, high, given.get("log", False), points)


def _from_text(kind: str, name: str, spec: Mapping[str, Any], text: str) -> Dimension:
    text = " ".join(text.split())
    if not text:
        raise ValueError("needs its values, as 0.3 0.5 0.7, or a range, as 1e-5 to 1e-2 log")
    found = _RANGE.fullmatch(text)
    if found and spec["type"] in ("integer", "number"):
        return _range(
            kind, name, spec, float(found["low"]), float(found["high"]), bool(found["log"]),
            int(found["points"] or 0),
        )  # fmt: skip
    if ";" in text or spec["type"] == "array" or (spec["type"] == "string" and "enum" not in spec):
        parts = [part.strip() for part in text.split(";")]
    else:
        parts = text.replace(",", " ").split()
    return _choices(kind, name, [part for part in parts if part], texts=True)


def _choices(kind: str, name: str, values: Sequence[Any], *, texts: bool) -> Dimension:
    if not 1 <= len(values) <= MOST_VALUES:
        raise ValueError(f"has {len(values)} values; 1 to {MOST_VALUES} can be tried")
    read = [config_class(kind).read_field(name, value, is_text=texts) for value in values]
    if len({repr(v) for v in read}) < len(read):
        raise ValueError("names a value twice")
    return Dimension(name=name, values=tuple(read))


def _range(
    kind: str, name: str, spec: Mapping[str, Any], low: float, high: float, log: bool, points: int
) -> Dimension:
    if "enum" in spec or spec["type"] not in ("integer", "number"):
        raise ValueError("has no range; list its values")
    if not all(abs(end) <= sys.float_info.max for end in (low, high)):  # nan is not either
        raise ValueError("goes from one number to another, finite ones")
    if not low < high:
        raise ValueError(f"{shown(low)} to {shown(high)} is no range: the first must be less")
    if log and low <= 0:
        raise ValueError(f"a log range begins above 0, not at {shown(low)}")
    integer = spec["type"] == "integer"
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise ValueError("takes whole numbers only")
    if points and not 2 <= points <= MOST_VALUES:
        raise ValueError(f"takes 2 to {MOST_VALUES} values of its range, not {points}")
    for end in (low, high):
        config_class(kind).read_field(name, int(end) if integer else float(end))
    return Dimension(name=name, low=low, high=high, log=log, integer=integer, points=points)


# --- settings of the space ------------------------------------------------------------------


def grid_size(space: Space) -> int:
    """How many settings the grid has; ranges without points count as none."""
    return reduce(mul, (len(d.grid()) if d.values or d.points else 0 for d in space), 1)


def grid(space: Space) -> list[Params]:
    """Every combination; the last setting changes fastest."""
    names = [d.name for d in space]
    return [dict(zip(names, row, strict=True)) for row in itertools.product(
        *(d.grid() for d in space))]  # fmt: skip


def draw(space: Space, entropy: Sequence[int]) -> Params:
    """A random setting: the same for the same entropy, whatever was drawn before."""
    rng = np.random.default_rng(list(entropy))
    return {
        d.name: d.at(rng.random()) if d.is_range else d.values[rng.integers(len(d.values))]
        for d in space
    }
