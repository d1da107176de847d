"""How a run speaks to whoever started it, and how it hears that it should stop.

A `Reporter` writes `vad.results` records: as JSON lines for programs, as text for people. It also
holds the stop flag, which SIGTERM or SIGINT sets. Long loops look at `stop_requested` between
steps.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import TextIO

from vad import results

PROGRESS_EVERY_S = 1.0


class Reporter:
    """Base: takes records, keeps the stop flag, thins progress to one record a second.

    Used as it is, it is silent, which is what tests and library calls want.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._next_progress_s = 0.0

    @property
    def stop_requested(self) -> bool:
        """True once somebody asked the run to checkpoint and leave."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        self._stop.set()

    def send(self, record: results.Record) -> None:
        """Pass a record on."""

    def log(self, message: str, level: str = "info") -> None:
        self.send(results.Log(level=level, message=message))

    def progress(self, done: int, total: int, unit: str, note: str = "") -> None:
        """Report progress; all but the last of a second's calls are dropped, never the end."""
        now = time.monotonic()
        if now >= self._next_progress_s or done >= total:
            self._next_progress_s = now + PROGRESS_EVERY_S
            self.send(results.Progress(done=done, total=total, unit=unit, note=note))

    def stop_on_signals(self) -> None:
        """Let SIGTERM and SIGINT ask for a stop; a second one ends the process at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._stop.set()


class JsonReporter(Reporter):
    """One JSON record a line, flushed: what the server's supervisor reads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def send(self, record: results.Record) -> None:
        with self._lock:
            self._stream.write(results.to_line(record) + "\n")
            self._stream.flush()


class TerminalReporter(Reporter):
    """For people: one progress line that rewrites itself, and the rest as plain lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._started_s = time.monotonic()
        self._metrics = ""
        self._open_line = False

    def send(self, record: results.Record) -> None:
        if isinstance(record, results.Metrics):
            shown = [f"{k} {v:.4g}" for k, v in record.values.items()][:4]
            self._metrics = "  ".join(shown)
        elif isinstance(record, results.Progress):
            self._bar(record)
        elif isinstance(record, results.Log):
            self._line(
                record.message if record.level == "info" else f"{record.level}: {record.message}"
            )
        elif isinstance(record, results.Started):
            self._line(
                f"{record.total} {record.unit} on {record.device}"
                + (f", resumed after {record.resumed_step}" if record.resumed_step else "")
            )
        elif isinstance(record, results.CheckpointWritten):
            self._line(
                f"checkpoint {record.path} ({record.size_bytes / 1e6:.1f} MB)"
                + (", best so far" if record.best else "")
            )
        elif isinstance(record, results.Stopped):
            self._line(f"stopped after {record.step}; start the same command again to go on")

    def _bar(self, p: results.Progress) -> None:
        share = p.done / p.total if p.total else 1.0
        spent_s = time.monotonic() - self._started_s
        left = f"{spent_s / share - spent_s:.0f} s left" if 0 < share < 1 else f"{spent_s:.0f} s"
        bar = ("#" * round(24 * share)).ljust(24, ".")
        text = f"[{bar}] {p.done}/{p.total} {p.unit}  {left}  {self._metrics}  {p.note}"
        if self._stream.isatty():
            self._stream.write("\r\x1b[K" + text.rstrip())
            self._open_line = True
        elif p.done >= p.total:
            self._stream.write(text.rstrip() + "\n")
        self._stream.flush()

    def _line(self, text: str) -> None:
        if self._open_line:
            self._stream.write("\n")
            self._open_line = False
        self._stream.write(text + "\n")
        self._stream.flush()


def exit_when_parent_dies() -> None:
    """End this process when its standard input closes, that is when its supervisor is gone.

    A run whose supervisor died is given to somebody else; going on would only burn the device.
    Works whatever thread started the process, which a parent-death signal does not.
    """

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
