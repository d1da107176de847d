"""What a request of MLflow's client brings, read with the errors that it expects.

GET requests bring texts in the query, POST requests JSON as protobuf writes it, in which large
numbers may be texts, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.core.api import storable
from webapp.interop.tracking.errors import TrackingError


class Given:
    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of these members that is there; needed without a default."""
        for name in names:
            value = self._members.get(name)
            if value is None:
                continue
            if not isinstance(value, str) or not storable(value):
                raise TrackingError(f"{name}: {str(value)[:60]!r} is no text that can be kept.")
            return value
        if default is None:
            raise TrackingError(f"Missing value for required parameter '{names[0]}'.")
        return default

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        value = self._members.get(name)
        if value is None or value == "":
            return default
        found = as_whole(value)
        if found is None or not least <= found <= most:
            raise TrackingError(
                f"{name}: {str(value)[:40]!r} is no whole number from {least} to {most}."
            )
        return found

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        if not all(isinstance(value, str) and storable(value) for value in values):
            raise TrackingError(f"{name} must be a list of texts.")
        return values

    def pairs(self, name: str) -> dict[str, str]:
        """`[{"key": …, "value": …}]` as a mapping; of a key that comes twice the last one."""
        found = {}
        for row in self.rows(name):
            key, value = row.get("key"), row.get("value", "")
            if not isinstance(key, str) or not isinstance(value, str) or not key:
                raise TrackingError(f"{name}: {str(row)[:80]} has no key and value that are texts.")
            found[key] = value
        return found

    def rows(self, name: str) -> list[dict[str, Any]]:
        values = self._list(name)
        if not all(isinstance(value, dict) for value in values):
            raise TrackingError(f"{name} must be a list of objects.")
        return values

    @property
    def members(self) -> Mapping[str, Any]:
        return self._members

    def _list(self, name: str) -> list[Any]:
        value = self._members.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise TrackingError(f"{name} must be a list.")
        return value


def as_whole(value: Any) -> int | None:
    """A whole number, also as a text or as 3.0; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else None
    if isinstance(value, str) and len(value) < 20 and value.removeprefix("-").isdecimal():
        return int(value)
    return None
