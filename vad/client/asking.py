"""What runs and sweeps are asked for alike: by what a person typed, and until they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar


class Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...


T = TypeVar("T", bound=Named)


def id_in(text: str) -> str:
    """The id in an id or a page's address; empty where it is a name."""
    last = text.rstrip("/").rpartition("/")[2]
    return last if len(last) == 36 and last.count("-") == 4 else ""


def wait(
    get: Callable[[], T],
    is_over: Callable[[T], bool],
    *,
    timeout_s: float | None,
    every_s: float,
    on_update: Callable[[T], None] | None,
) -> T:
    """Ask again and again until it is over.

    Raises:
        TimeoutError: it has not come to that.
    """
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        found = get()
        if on_update is not None:
            on_update(found)
        if is_over(found):
            return found
        if until is not None and time.monotonic() >= until:
            raise TimeoutError(f"{found.name} is still {found.state}")
        time.sleep(every_s)
