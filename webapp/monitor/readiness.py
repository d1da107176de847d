"""Whether this web process can do its work: each part by itself, in words that tell nothing else.

The cause goes to the log. An answer is kept for two seconds, so that strangers who ask often cost
nothing.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from webapp.core import doorbell

KEPT_S = 2.0
OK, FAILED = "ok", "failed"

log = structlog.get_logger(__name__)

_lock = threading.Lock()
_kept: tuple[float, dict[str, str]] | None = None
_migrated = False  # what is applied stays applied as long as this process lives


def parts() -> dict[str, str]:
    """By part `ok`, or `failed`; migrations are `unknown` without a database."""
    global _kept
    with _lock:
        if _kept is None or time.monotonic() - _kept[0] > KEPT_S:
            found = _look()
            _kept = (time.monotonic(), found)
        return _kept[1]


def forget() -> None:
    """Look anew at the next question; for tests."""
    global _kept, _migrated
    _kept, _migrated = None, False


def _look() -> dict[str, str]:
    database = _try("database", _database)
    return {
        "database": database,
        "migrations": _try("migrations", _migrations) if database == OK else "unknown",
        "broker": _try("broker", doorbell.check),
        "data_folder": _try("data_folder", _data_folder),
    }


def _try(part: str, check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as exc:  # each part has errors of its own; all mean the same here
        log.warning("server.not_ready", part=part, cause=exc)
        return FAILED
    return OK


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _migrations() -> None:
    global _migrated
    if _migrated:
        return
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise RuntimeError(f"not applied: {', '.join(str(m) for m, _ in missing)}")
    _migrated = True


def _data_folder() -> None:
    """Write, since a folder of a network may be there and take nothing."""
    with tempfile.TemporaryFile(dir=settings.DATA_DIR) as file:
        file.write(b".")
