"""A progress bar of one line, drawn where a person looks on; in a file or a pipe it is nothing."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Self, TextIO

WIDTH = 24
EVERY_S = 0.1


class Bar:
    """Drawn anew on its line; as a context the line is ended with it."""

    def __init__(self, title: str, out: TextIO | None = None) -> None:
        self._title, self._out = _printable(title), out or sys.stderr
        self.live = self._out.isatty()
        self._drawn_at, self._begun_at = 0.0, time.monotonic()

    def show(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if not self.live or (now - self._drawn_at < EVERY_S and done < total):
            return
        self._drawn_at = now
        share = min(1.0, done / total) if total else 0.0
        filled = round(WIDTH * share)
        line = f"{self._title[:30]} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {note}"
        width = shutil.get_terminal_size().columns - 1
        self._out.write(f"\r\x1b[K{_printable(line)[:width]}")
        self._out.flush()

    def bytes(self, done: int, total: int) -> None:
        """As `show`, for a transfer."""
        took_s = max(1e-3, time.monotonic() - self._begun_at)
        self.show(done, total, f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB, "
                               f"{done / 1e6 / took_s:,.1f} MB/s")  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live and self._drawn_at:
            self._out.write("\n")


def _printable(text: str) -> str:
    """What a server sends moves no cursor and sets no colour here."""
    return "".join(c if c.isprintable() else " " for c in text)
