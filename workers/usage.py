"""What the processes of a run use of the machine, read from outside while they work.

The worker looks into `/proc` and asks the GPU's driver; the run itself knows nothing of it, so its
numbers, its order of random draws and its checkpoints are the same with and without. One sample
costs a few milliseconds every `EVERY_S`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import structlog

from webapp.runs.chunks import SYSTEM
from webapp.runs.recording import SystemSample
from workers import nvml

FIRST_AFTER_S = 1.0  # so that a run of a few seconds has a sample, too
EVERY_S = 5.0
AGAIN_AFTER_S = 0.1  # where nothing was seen of a child that was just started
MB = 1_000_000
PROC = Path("/proc")
# Places in /proc/<pid>/stat behind the name, which may hold anything; see man 5 proc.
_SESSION, _TIMES, _RESIDENT = 3, slice(11, 15), 21
_DEAD = "ZX"  # states of a process that ended and was not waited for yet

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Counters of all processes of a session at one time.

    Those of processes that ended and were waited for are among them, as the kernel adds them to
    their parents. Pages that several processes share count once in each.

    Args:
        at_s: of `time.monotonic`.
        cpu_s: seconds of computing, over all cores.
        memory_bytes: resident now.
        read_bytes, write_bytes: from and to storage; None where the kernel does not say.
    """

    at_s: float
    cpu_s: float
    memory_bytes: int
    read_bytes: int | None
    write_bytes: int | None


def read(session: int) -> Reading | None:
    """What the processes of this session used so far; None when none lives, or without /proc.

    Also in the moment in which a process starts its program and has no memory yet.
    """
    ticks = pages = 0
    moved: list[tuple[int, int]] = []
    found = False
    try:
        names = os.listdir(PROC)  # noqa: PTH208 - some thousand entries, of which a few are taken
    except OSError:
        return None
    for name in names:
        if not name.isdigit():
            continue
        try:
            fields = _stat(name)
        except (OSError, ValueError, IndexError):
            continue  # it ended between the listing and now
        if int(fields[_SESSION]) != session:
            continue
        # One that is about to end gave its memory back, and is not marked as dead yet.
        found = found or (fields[0] not in _DEAD and int(fields[_RESIDENT]) > 0)
        ticks += sum(int(n) for n in fields[_TIMES])
        pages += int(fields[_RESIDENT])
        if (io := _moved(name)) is not None:
            moved.append(io)
    if not found:
        return None
    return Reading(
        at_s=time.monotonic(),
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        memory_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        read_bytes=sum(r for r, _ in moved) if moved else None,
        write_bytes=sum(w for _, w in moved) if moved else None,
    )


def between(before: Reading, now: Reading) -> dict[str, float]:
    """Metrics of the time between two readings: shares and rates, and the memory at its end."""
    spent_s = max(now.at_s - before.at_s, 1e-3)
    found = {
        "cpu_percent": 100 * max(0.0, now.cpu_s - before.cpu_s) / spent_s,
        "memory_mb": now.memory_bytes / MB,
    }
    for name in ("read", "write"):
        old, new = getattr(before, f"{name}_bytes"), getattr(now, f"{name}_bytes")
        if old is not None and new is not None:
            found[f"{name}_mb_s"] = max(0, new - old) / MB / spent_s
    return found


class Sampler:
    """Measures a child while the block lasts, in a thread of its own; never a reason to fail."""

    def __init__(
        self,
        pid: int,
        *,
        cuda_devices: str,
        on_sample: Callable[[SystemSample], None],
        step: Callable[[], int | None],
    ) -> None:
        """
        Args:
            pid: of the child, which leads its own session.
            cuda_devices: what its CUDA_VISIBLE_DEVICES is.
            step: how far the run is, None when it has not said so; recorded with each sample, so
                that the page can tell when a step was done.
        """
        self._pid = pid
        self._gpus = [part.strip() for part in cuda_devices.split(",") if part.strip()]
        self._on_sample = on_sample
        self._step = step
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run, args=[self._run], name=f"usage-{pid}", daemon=True
        )  # with what is bound for the log

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=EVERY_S)  # a driver that hangs holds up nobody

    def _run(self) -> None:
        try:
            before = read(self._pid)
            # For a moment, while it becomes another program, a process has no memory at all.
            while before is None and not self._done.wait(AGAIN_AFTER_S):
                before = read(self._pid)
            wait_s = FIRST_AFTER_S
            while before is not None and not self._done.wait(wait_s):
                now = read(self._pid)
                if now is None:
                    return
                values = between(before, now) | self._of_gpus()
                if (step := self._step()) is not None:
                    values["step"] = step
                self._send(values)
                before, wait_s = now, EVERY_S
        except Exception:
            log.exception("usage.stopped", pid=self._pid)

    def _of_gpus(self) -> dict[str, float]:
        driver = nvml.driver() if self._gpus else None
        if driver is None:
            return {}
        return {
            f"gpu{number}_{name}": value
            for number, device in enumerate(self._gpus)
            for name, value in driver.usage(device).items()
        }

    def _send(self, values: Mapping[str, float]) -> None:
        named = {f"{SYSTEM}{name}": float(value) for name, value in values.items()}
        self._on_sample(SystemSample(at=datetime.now(UTC), values=named))


def _stat(pid: str) -> list[str]:
    text = (PROC / pid / "stat").read_text(errors="replace")
    return text[text.rindex(")") + 2 :].split()


def _moved(pid: str) -> tuple[int, int] | None:
    """Bytes read from and written to storage; None where that is not told."""
    try:
        lines = (PROC / pid / "io").read_text().splitlines()
        fields = dict(line.split(": ") for line in lines)
        return int(fields["read_bytes"]), int(fields["write_bytes"])
    except (OSError, ValueError, KeyError):
        return None
