"""Whether this worker is on its way out, and how fast."""

from __future__ import annotations

import threading

_leaving = threading.Event()
_at_once = threading.Event()


def leave(*, at_once: bool = False) -> None:
    """Ask every run of this process to checkpoint and leave; `at_once`: without a checkpoint."""
    _leaving.set()
    if at_once:
        _at_once.set()


def asked() -> bool:
    return _leaving.is_set()


def asked_at_once() -> bool:
    return _at_once.is_set()


def wait(timeout_s: float) -> bool:
    """Sleep, but no longer than until somebody asks to leave; True when somebody did."""
    return _leaving.wait(timeout_s)


def reset() -> None:
    """For tests: as if the process had just begun."""
    _leaving.clear()
    _at_once.clear()
