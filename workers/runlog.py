"""A run's log.txt: what its child said for people. Bounded, and never a reason to fail."""

from __future__ import annotations

import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import structlog

LIMIT_BYTES = 8 << 20  # then the file becomes log-earlier.txt and a new one begins
LINE_CHARS = 4000
LAST_LINES = 3

log = structlog.get_logger(__name__)


class RunLog:
    """Appends lines to `<folder>/log.txt`; keeps at most twice `limit_bytes`, the newest.

    A disk without room costs lines, not the run: they are counted, and the count is written when
    there is room again.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = folder / "log.txt"
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._limit_bytes = limit_bytes
        self._fd: int | None = None
        self._size = 0
        self._dropped = 0

    def write(self, text: str) -> None:
        """One line, with the time before it."""
        text = text.rstrip()
        if len(text) > LINE_CHARS:
            text = f"{text[:LINE_CHARS]} … ({len(text) - LINE_CHARS} characters more)"
        if text:
            self.last.append(text)
        self._append(text)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, text: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        missing = f"{stamp} ({self._dropped} lines are missing: no room)\n" if self._dropped else ""
        data = f"{missing}{stamp} {text}\n".encode(errors="replace")
        try:
            if self._fd is None or self._size + len(data) > self._limit_bytes:
                self._open(len(data))
            assert self._fd is not None
            written = os.write(self._fd, data)
            self._size += written
            if written < len(data):
                raise OSError("the disk took a part of the line")
            self._dropped = 0
        except OSError as exc:
            if not self._dropped:
                log.warning("runlog.cannot_write", path=self.path, cause=exc)
            self._dropped += 1

    def _open(self, room_bytes: int) -> None:
        """Open the file to append; first move it aside if it has no room left."""
        self.close()
        if self.path.exists() and self.path.stat().st_size + room_bytes > self._limit_bytes:
            self.path.replace(self.path.with_name("log-earlier.txt"))
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._size = os.fstat(self._fd).st_size
