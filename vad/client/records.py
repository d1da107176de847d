"""What the client returns: the server's rows, typed. `raw` holds all that it said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of any kind, as the server had it when it was asked."""

    id: str
    name: str
    kind: str
    state: str
    project: str
    owner: str
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)  # empty in a list
    result: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    unit: str = ""
    percent: int = 0
    eta_s: float | None = None
    note: str = ""
    why: str = ""  # it waits, or is silent
    error: Mapping[str, Any] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)  # of the columns that were asked for
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Run:
        return cls(
            id=row["id"], name=row["name"], kind=row["kind"], state=row["state"],
            project=row["project"], owner=row["owner"], tags=tuple(row.get("tags", ())),
            config=row.get("config") or {}, result=row.get("result") or {}, done=row["done"],
            total=row["total"], unit=row["unit"], percent=row["percent"], eta_s=row["eta_s"],
            note=row["note"], why=row.get("why") or "", error=row["error"],
            values=row.get("values") or {}, raw=row,
        )  # fmt: skip

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of a metric by step; a value that is not finite is NaN.

    Args:
        total: points that the server has; more than these where they were thinned.
    """

    steps: list[int]
    values: list[float]
    total: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Series:
        values = [math.nan if v is None else float(v) for v in row["values"]]
        return cls(steps=row["steps"], values=values, total=row["total"])


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Made of the members of the same names."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{each.name: row[each.name] for each in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep, as the server had it when it was asked.

    Args:
        trials: how many stand how: planned, made, active, done, pruned, failed, ended; empty in a
            list.
        best: the best settings, the best first: params, objective, deviation, auc, runs.
    """

    id: str
    name: str
    kind: str
    state: str
    project: str
    owner: str
    objective: str
    direction: str
    chosen_on: str
    trials_planned: int
    problem: Mapping[str, Any] | None = None
    trials: Mapping[str, int] = field(default_factory=dict)
    best: tuple[Mapping[str, Any], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Sweep:
        own = {each.name: row[each.name] for each in fields(cls) if each.name in row}
        return cls(**(own | {"best": tuple(row.get("best", ())), "raw": row}))

    @property
    def has_ended(self) -> bool:
        return self.state in ("done", "stopped")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(_Row):
    """A checkpoint; `file` is None where it made room for others."""

    step: int
    best: bool
    sha256: str
    size_bytes: int
    metrics: Mapping[str, float]
    file: str | None


@dataclass(frozen=True, kw_only=True)
class File(_Row):
    """A complete file of an external run. `path` is what its sender called it."""

    id: str
    kind: str
    path: str
    sha256: str
    size_bytes: int
    file: str


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """Text of a log, and where to go on; `live` while there may come more."""

    text: str
    offset: int
    size: int
    live: bool
