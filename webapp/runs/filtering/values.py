"""How a value is written: numbers, durations, moments, choices."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime

from vad.configs import CONFIGS
from webapp.runs.filtering.names import CONFIG, Ref, Type, config_field
from webapp.runs.filtering.tree import Ago, Value
from webapp.runs.models import State

ACTIVE = "active"
STATES = (*State.values, ACTIVE)
UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)(min|[smhdw])", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?", re.ASCII)
MOST_SECONDS = 3e9  # about a century: a moment that far back is still one


class Refused(ValueError):
    """The text is no value of this field; says what would be one."""


def read(field: Ref, operator: str, text: str, *, was_quoted: bool) -> Value:
    """The value that this text is for the field.

    Raises:
        Refused: with what may stand there.
    """
    if field.type == Type.NUMBER:
        return number(text)
    if field.type == Type.SETTING:
        return number(text) if operator in ("<", "<=", ">", ">=") else text
    if field.type == Type.DURATION:
        return duration(text)
    if field.type == Type.TIME:
        return moment(text, operator)
    if field.type == Type.CHOICE:
        return _choice(field, operator, text.lower())
    if field.of == CONFIG:
        return _choice_of_config(field, operator, text)
    return text


def number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise Refused(f"{text or 'nothing'} is no number; write it as 0.8 or 1e-4")
    value = float(text)
    if not math.isfinite(value):
        raise Refused(f"{text} is too large")
    return value


def duration(text: str) -> float:
    """Seconds."""
    lower = text.lower()
    if not _DURATION.fullmatch(lower):
        if _NUMBER.fullmatch(text):
            raise Refused(f"{text} has no unit; write {text}s, {text}min, {text}h or {text}d")
        raise Refused(f"{text} is no duration; write it as 90s, 15min, 2h30min or 7d")
    seconds = sum(float(n) * UNITS[unit] for n, unit in _PART.findall(lower))
    if seconds > MOST_SECONDS:
        raise Refused(f"{text} is too long")
    return seconds


def moment(text: str, operator: str) -> Ago | date | datetime:
    """Some time ago (7d), a day, or a time of a day in UTC."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise Refused(f"{text} is not in the calendar") from None
    try:
        ago = Ago(duration(text))
    except Refused:
        raise Refused(
            f"{text} is no moment; write 7d for seven days ago, or 2026-11-20, or 2026-11-20T18:30"
        ) from None
    if operator in ("=", "!="):
        raise Refused(f"a moment some time ago is compared with < <= > >=, not with {operator}")
    return ago


def _choice(field: Ref, operator: str, text: str) -> str:
    if field.name == "state":
        if text not in STATES:
            raise Refused(f"{text} is no state; there are {', '.join(STATES)}")
        return text
    kinds = list(CONFIGS)
    fits = any(text in kind for kind in kinds) if operator == ":" else text in kinds
    if not fits or not text:
        raise Refused(f"{text or 'nothing'} is no kind of run; there are {', '.join(kinds)}")
    return text


def _choice_of_config(field: Ref, operator: str, text: str) -> str:
    choices = config_field(field.name).choices
    if choices == ("true", "false"):
        text = {"yes": "true", "no": "false"}.get(text.lower(), text.lower())
        if text not in choices:
            raise Refused(f"{text} is neither true nor false")
    elif choices and operator == "=" and text not in choices:
        raise Refused(f"{text} is no choice; there are {', '.join(choices)}")
    return text
