"""Parameters of the addresses of runs, with their bounds; members that bodies have in common."""

from __future__ import annotations

from typing import Any, TypeVar

from vad.configs import TRAININGS, RunConfig, UrdmuConfig
from webapp.core.api import Request, member
from webapp.core.openapi import invalid, text, whole
from webapp.runs import logsearch
from webapp.runs.filtering.parse import MOST_CHARACTERS
from webapp.runs.models import State

C = TypeVar("C", bound=RunConfig)

MAX_KEYS = 50
MAX_POINTS = 20_000
RAW_POINTS = 200_000  # of one key in one answer
LOG_BYTES = 1 << 20
RESOURCES = ("gpus", "memory_mb", "time_limit_s")  # members of a body
STEP_MAX = 2**62

Q = text("q", "a filter; the language is in docs/pages.md", most=MOST_CHARACTERS)
TABLE = (
    Q,
    text("state", "runs in this state", choices=("", *State.values)),
    text("kind", "runs of this kind"),
    text("tag", "runs with this tag"),
    text("sort", "a field, config.FIELD or last(METRIC), with - in front for the highest first"),
    text("project", "runs of this project, by its slug; of all yours without it"),
    text("group", "groups instead: seeds, tag, dataset, kind, owner or config.FIELD"),
)
COLS = text("cols", "columns whose values to add, as auc,config.lr")
AT = whole("at", "the cursor stands after so many characters", least=0, most=STEP_MAX)
KEYS = text("keys", f"names of metrics, {MAX_KEYS} at most, with commas between them")
POINTS = whole("max_points", "of each metric", least=4, most=MAX_POINTS, default=1000)
FROM = whole("from", "the first step", least=-STEP_MAX, most=STEP_MAX)
TO = whole("to", "the last step", least=-STEP_MAX, most=STEP_MAX)
RAW = text("raw", f"every point, of {RAW_POINTS} at most", choices=("1", "true"))
LOG_OFFSET = whole("offset", "where to begin, in bytes", least=0, most=STEP_MAX, default=0)
LOG_LIMIT = whole("limit", "bytes at most", least=1, most=LOG_BYTES, default=65_536)
FIND = text("find", "a text in the line", most=logsearch.NEEDLE_CHARS)
LEVEL = text("level", "lines of this level or worse", choices=tuple(logsearch.LEVELS))
CONTEXT = whole("context", "lines around a hit", least=0, most=20, default=logsearch.CONTEXT)
HIT = whole("hit", "the first hit of the page", least=1, most=logsearch.MOST_HITS, default=1)
CLONES = text("clones", "with the runs that were cloned from it", choices=("yes", "1", "true"))
EVENT = text("event", "of this kind", most=100)
BY = text("by", "of this person, or `worker`", most=100)
WORDS = text("q", "words in what was said", most=100)


def keys_param(request: Request) -> list[str]:
    """The metrics that `?keys=` names."""
    keys = list(dict.fromkeys(k for k in request.GET.get("keys", "").split(",") if k))
    if len(keys) > MAX_KEYS:
        raise invalid({"keys": f"{len(keys)} are named, {MAX_KEYS} at most"})
    return keys


def points_param(request: Request) -> int:
    return POINTS.of(request) or 1000


def resources_of(data: dict[str, Any]) -> dict[str, Any]:
    """What the body says of resources; null is unknown, or no limit."""
    found: dict[str, Any] = {}
    for name in RESOURCES:
        if name in data:
            nothing = data[name] is None and name != "gpus"
            found[name] = None if nothing else member(data, name, int, 1)
    return found


def training_class(kind: str) -> type[UrdmuConfig]:
    """The configuration class of a kind of training."""
    if kind not in TRAININGS:
        raise invalid({"kind": f"{kind[:40]!r} is no kind of training"})
    return TRAININGS[kind]


def optional_config(data: dict[str, Any], name: str, config: type[C]) -> C | None:
    """The configuration that is a member of the body; None where it is absent or null."""
    return None if data.get(name) is None else config.from_dict(member(data, name, dict, {}))
