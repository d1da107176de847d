"""Python's values as JSON has them."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


def number(value: float) -> float | str:
    """Of a metric; what JSON has no number for is a text."""
    return value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")


def plain(value: Any) -> Any:
    """Settings as JSON has them; what it does not have becomes text."""
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if value is None or isinstance(value, bool | str):
        return value
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def machine() -> dict[str, Any]:
    """Where the script runs."""
    return {
        "host": platform.node(), "python": platform.python_version(),
        "system": platform.platform(terse=True), "script": Path((sys.argv or [""])[0]).name,
    }  # fmt: skip
