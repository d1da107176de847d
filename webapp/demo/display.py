"""The demo's progress in a terminal: a block of lines that rewrites itself, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from webapp.runs.models import Run, State

BAR = 24
MARKS = {
    State.WAITING: "·",
    State.QUEUED: "·",
    State.HELD: "‖",
    State.STARTING: "▸",
    State.RUNNING: "▸",
    State.SUCCEEDED: "✓",
    State.FAILED: "✗",
    State.CANCELLED: "✗",
}


class Display:
    """Shows runs as they move. Without a terminal only changes of state are printed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._drawn = 0
        self._states: dict[str, str] = {}
        self._began_s = time.monotonic()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._drawn = 0
        self._stream.write(text + "\n")
        self._stream.flush()

    def bar(self, name: str, done: int, total: int) -> None:
        """One bar that is not a run's."""
        if self._terminal:
            self._stream.write("\r\x1b[K" + _line("▸", name, done, total, ""))
            if done >= total:
                self._stream.write("\n")
            self._stream.flush()
        elif done >= total:
            self.note(f"{name}: {total} done")

    def runs(self, runs: Sequence[Run]) -> None:
        """Draw all runs, over the lines of the last call."""
        if not self._terminal:
            self._changes(runs)
            return
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A")
        for run in runs:
            self._stream.write("\r\x1b[K" + _run_line(run) + "\n")
        self._drawn = len(runs)
        self._stream.flush()

    def _changes(self, runs: Sequence[Run]) -> None:
        for run in runs:
            if self._states.get(str(run.pk)) != run.state:
                self._states[str(run.pk)] = run.state
                spent = time.monotonic() - self._began_s
                self.note(f"{spent:6.1f} s  {run.name}: {run.get_state_display().lower()}")


def _run_line(run: Run) -> str:
    note = run.get_state_display().lower()
    if run.state == State.RUNNING and run.eta_s is not None:
        note = f"{run.eta_s:.0f} s left"
    done = run.total if run.state == State.SUCCEEDED else run.done
    return _line(MARKS[State(run.state)], run.name, done, run.total, note)


def _line(mark: str, name: str, done: int, total: int, note: str) -> str:
    filled = BAR * done // total if total else 0
    bar = "━" * filled + "─" * (BAR - filled)
    return f"  {mark} {name:<36.36} {bar} {note}"
