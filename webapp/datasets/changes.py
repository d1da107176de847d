"""The differences of two versions in words."""

from __future__ import annotations

from typing import Any

from vad.data.differences import FIELDS, Change, Differences
from webapp.datasets.strips import spans

FIELD_WORDS = {
    "split": "split",
    "label": "label",
    "classes": "class",
    "num_frames": "frames",
    "intervals": "intervals",
    "boxes": "boxes",
    "masks": "masks",
    "fps": "frames/s",
    "size": "size",
    "path": "file",
}
NOTHING = "none"


def lines(change: Change) -> list[tuple[str, str, str]]:
    """(what, before, after) of a changed video."""
    return [
        (FIELD_WORDS[name], _text(name, before), _text(name, after))
        for name in FIELDS
        if name in change.fields
        for before, after in [change.fields[name]]
    ]


def rules(found: Differences) -> list[tuple[str, str, str]]:
    """(rule, before, after)."""
    return [
        (name.replace("_", " "), _plain(before), _plain(after))
        for name, (before, after) in found.rules.items()
    ]


def _text(name: str, value: Any) -> str:
    if name == "label":
        return "abnormal" if value else "normal"
    if name == "intervals":
        if value is None:
            return "no truth"
        return spans([(a, b) for a, b in value]) if value else "no interval"
    if name == "boxes":
        return f"{len(value)} track{'' if len(value) == 1 else 's'}" if value else NOTHING
    if name == "size":
        return f"{value[0]} \u00d7 {value[1]}" if any(value) else "unknown"
    if name in ("num_frames", "fps"):
        return f"{value:,}" if value else "unknown"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(v) for v in value) or NOTHING
    return NOTHING if value in (None, "") else str(value)
