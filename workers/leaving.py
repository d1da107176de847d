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


def reset() -> None:
    """For tests: as if the process had just begun."""
    _leaving.clear()
    _at_once.clear()
