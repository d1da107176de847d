"""The database as a worker's threads use it: it may go away for a while and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connections

DOWN = (OperationalError, InterfaceError)  # restarted, unreachable, or locked for too long
RETRY_S = 1.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


@contextmanager
def closing() -> Iterator[None]:
    """Connections belong to a thread: none is taken over from before, none is left behind."""
    connections.close_all()
    try:
        yield
    finally:
        connections.close_all()


def patiently(call: Callable[[], T], *, give_up: Callable[[], bool]) -> T:
    """Call until the database answers, or until `give_up` says so; then its error is raised."""
    warned = False
    while True:
        try:
            return call()
        except DOWN as exc:
            connections.close_all()
            if give_up():
                raise
            if not warned:
                log.warning("database.down", cause=exc)
                warned = True
            time.sleep(RETRY_S)
