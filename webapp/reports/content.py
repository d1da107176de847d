"""What a panel shows, as plain JSON: the same for a page, a file, a frozen copy and the API.

    {
      "title":    "Frame-level ROC",
      "note":     "how to read it",
      "figures":  [figure, ...],                    # of webapp.charts
      "tables":   [{"title", "columns": [{"title", "num", "help"}], "rows": [[cell, ...], ...],
                    "facts": true for names with their values}],
      "picture":  {"src": "data:…", "alt", "width", "height", "problem"} or None,
      "map":      {"rows", "columns", "scores"} or None,   # what the picture's colours stand for
      "commands": [{"title", "text", "command"}],
      "sources":  [{"what", "name", "id", "sha256"}, ...]  # what it was made of
    }

A cell is a text, None, or a number: {"value", "digits"} with `low` and `high`, or `deviation` and
`n`, and `best`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from webapp.core.rest import finite

MOST_DIFFERENCES = 12  # that are told of a panel


@dataclass(kw_only=True)
class Content:
    """See the module."""

    title: str
    note: str = ""
    figures: list[Any] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    picture: dict[str, Any] | None = None
    map: dict[str, Any] | None = None
    commands: list[dict[str, str]] = field(default_factory=list)
    sources: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: numbers that JSON does not have are null."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.loads(json.dumps(finite(found)))

    def normal(self) -> Content:
        """As it would come back from where it is stored."""
        return Content.from_dict(self.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Content:
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})


def digest(content: Content) -> str:
    """SHA-256 of the content in one spelling: sorted names, no spaces, no pixels."""
    text = json.dumps(_measured(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def differences(before: Content, now: Content) -> list[str]:
    """What is not the same, in words: the first few places, then how many more."""
    found = list(_compare(_measured(before), _measured(now), ""))
    told = found[:MOST_DIFFERENCES]
    if len(found) > len(told):
        told.append(f"… and {len(found) - len(told)} more places")
    return told


def column(title: str, *, num: bool = False, help: str = "") -> dict[str, Any]:
    return {"title": title, "num": num, "help": help}


def facts(rows: list[list[Any]], title: str = "") -> dict[str, Any]:
    """A table of names and their values."""
    columns = [column("What"), column("Value")]
    return {"title": title, "columns": columns, "rows": rows, "facts": True}


def number(
    value: float | None,
    *,
    digits: int = 4,
    low: float | None = None,
    high: float | None = None,
    deviation: float | None = None,
    n: int | None = None,
    best: bool = False,
) -> dict[str, Any] | None:
    """A cell; None where there is no value."""
    if value is None or not math.isfinite(value):
        return None
    cell: dict[str, Any] = {"value": value, "digits": digits}
    if low is not None and high is not None:
        cell |= {"low": low, "high": high}
    if deviation is not None:
        cell |= {"deviation": deviation, "n": n}
    return cell | ({"best": True} if best else {})


def _measured(content: Content) -> dict[str, Any]:
    """Without the picture's pixels: another encoder writes others. The map is what they show."""
    found = content.to_dict()
    if content.picture is not None:
        found["picture"] = {"alt": content.picture.get("alt", "")}
    return found


def _compare(old: Any, new: Any, place: str) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _compare(old.get(name), new.get(name), f"{place}.{name}" if place else name)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{place}: had {len(old)} entries, now {len(new)}"
        elif _numbers(old) and _numbers(new):
            yield _curve(old, new, place)
        else:
            for i, (a, b) in enumerate(zip(old, new, strict=True), start=1):
                yield from _compare(a, b, f"{place} {i}")
    else:
        yield f"{place}: was {_shown(old)}, is {_shown(new)}"


def _numbers(values: list[Any]) -> bool:
    return len(values) > 4 and all(v is None or isinstance(v, int | float) for v in values)


def _curve(old: list[Any], new: list[Any], place: str) -> str:
    apart = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    both = [abs(a - b) for a, b in apart if a is not None and b is not None]
    far = f", by {max(both):.3g} at most" if both else ""
    return f"{place}: {len(apart)} of {len(old)} values differ{far}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 80 else f"{text[:77]}…"
