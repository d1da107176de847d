"""Records that cross the process border: the JSON lines that a run prints.

``python -m vad … --json`` prints one record a line on standard output. Whoever started it (the
server's supervisor, a script, a person) reads them with `parse_line`. Lines that are not records
are log text.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_ERROR = 1  # a VadError: the last record says which; trying again would not help
EXIT_CRASHED = 70  # a fault of the program, its trace on standard error; no record says so
EXIT_STOPPED = 75  # asked to stop; a checkpoint was written; the run can be resumed


# A resumed run sends the metrics of its last steps once more, since whoever listened before may
# have died without storing them.
RESEND_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class Started:
    """The run begins, or goes on after `resumed_step` steps that an earlier process did."""

    event: ClassVar[str] = "started"
    pid: int
    device: str
    total: int
    unit: str  # "steps" or "videos"
    resumed_step: int = 0  # metrics of later steps are void and will be sent again
    environment: Mapping[str, Any] = field(default_factory=dict)  # versions, host, device name


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Values of one step. Keys are `group/name`: `loss/total`, `validation/video_auc`."""

    event: ClassVar[str] = "metrics"
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the run is; at most once a second."""

    event: ClassVar[str] = "progress"
    done: int
    total: int
    unit: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckpointWritten:
    """A checkpoint is complete on disk (written beside, synced, hashed, renamed)."""

    event: ClassVar[str] = "checkpoint"
    step: int
    path: str  # relative to the run's output folder
    sha256: str
    size_bytes: int
    best: bool  # the best so far by the run's selection rule
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Log:
    """A line for people."""

    event: ClassVar[str] = "log"
    level: str  # debug, info, warning, error
    message: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the run was for. `kind` is the run's kind; `data` is that kind's own record."""

    event: ClassVar[str] = "result"
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A VadError, as `VadError.to_dict()`; always the last record."""

    event: ClassVar[str] = "failed"
    error: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The run was asked to stop and left a checkpoint at `step`; always the last record."""

    event: ClassVar[str] = "stopped"
    step: int


Record = Started | Metrics | Progress | CheckpointWritten | Log | Result | Failed | Stopped
_BY_EVENT: dict[str, type] = {
    c.event: c
    for c in (Started, Metrics, Progress, CheckpointWritten, Log, Result, Failed, Stopped)
}


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # in no UTF-8 text, or in no PostgreSQL text


def to_line(record: Record) -> str:
    """One line of JSON. Values that are not finite are written as text, which JSON can hold."""
    data = {"event": record.event, **dataclasses.asdict(record)}
    return json.dumps(_encode(data), allow_nan=False, separators=(",", ":"))


def parse_line(line: str) -> Record | None:
    """The record on a line, or None when the line is not one (then it is log text).

    Text that no database takes, as a file name that is not UTF-8 brings it, is replaced by marks.
    """
    if not line.startswith('{"event":'):
        return None
    try:
        data = json.loads(line)
        if "\\u" in line:
            data = _storable(data)
        cls = _BY_EVENT[data.pop("event")]
        record = cls(**data)
        if isinstance(record, Metrics):
            values = {k: float(v) for k, v in record.values.items()}
            return Metrics(step=int(record.step), values=values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return record


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(k): _storable(v) for k, v in value.items()}
    return [_storable(v) for v in value] if isinstance(value, list) else value


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # "nan", "inf", "-inf": float() reads them back
    if isinstance(value, Mapping):
        return {str(k): _encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(v) for v in value]
    return value
