"""The child process that runs one run: the `vad` command line, in a session of its own.

It prints records (vad.results) on standard output, one JSON line each; all else it prints is log
text. Its standard input is a pipe that nobody writes to: when this process dies it closes, and the
child ends by itself.
"""

from __future__ import annotations

import contextlib
import enum
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Self

from django.conf import settings

from vad import results
from vad.errors import VadError
from webapp.runs.claims import Outcome
from workers.commands import Command
from workers.runlog import RunLog

TICK_S = 0.25  # how long a wish to stop may go unseen
LINE_BYTES = 16 << 20  # a longer line is no record and not worth keeping
READ_BYTES = 1 << 16
DRAIN_S = 5.0  # for what an ended child left in its pipes
KEPT = {
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV",
}  # fmt: skip
KEPT_PREFIXES = (
    "LC_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "NCCL_", "TORCH", "PYTORCH_",
)  # fmt: skip
REASONS = {
    signal.SIGKILL: "killed by SIGKILL, most likely out of memory",
    signal.SIGSEGV: "crashed with SIGSEGV, most likely in a decoder or a driver",
    signal.SIGBUS: "crashed with SIGBUS, most likely a file that shrank or a full disk",
    signal.SIGABRT: "ended itself with SIGABRT",
}


class Wish(enum.Enum):
    """What the supervisor wants of the child now."""

    GO_ON = enum.auto()
    STOP = enum.auto()  # checkpoint and leave
    KILL = enum.auto()  # the run is somebody else's, or there is no time


class Child:
    """Start with `Child.start`, see through with `watch`; leaving the block leaves no process."""

    def __init__(self, process: subprocess.Popen[bytes], runlog: RunLog) -> None:
        self._process = process
        self._runlog = runlog
        self._result: results.Result | None = None
        self._failed: results.Failed | None = None
        self._stopped = False  # it said so itself; under torchrun the exit code does not
        self._oom_kills = oom_kills()
        self._stop_asked = False  # by us, whatever the child made of it
        self._killed = False  # by us

    @classmethod
    def start(cls, command: Command, *, cuda_devices: str, runlog: RunLog) -> Self:
        """Start the command.

        Raises:
            OSError: the machine cannot start a process now.
        """
        process = subprocess.Popen(
            command.argv,
            cwd=settings.BASE_DIR,
            env=environment(os.environ, cuda_devices=cuda_devices),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        return cls(process, runlog)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGKILL)  # what it left behind, or all of it after an exception
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def watch(
        self,
        *,
        on_record: Callable[[results.Record], None],
        wish: Callable[[], Wish],
        may_read: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """Read all that the child says until it ended; relay wishes to stop.

        Args:
            on_record: gets every record that is not a log line; must not block.
            wish: asked several times a second.
            may_read: False while nobody can take more records; then the child has to wait.
        """
        ask_until_s: float | None = None
        with contextlib.closing(_Lines(self._process.stdout, self._process.stderr)) as lines:
            while not lines.ended and not self._has_exited():
                if may_read():
                    self._take(lines.read(TICK_S), on_record)
                else:
                    time.sleep(TICK_S)
                ask_until_s = self._relay(wish(), ask_until_s)
            while not self._has_exited():  # it closed its output and lives on
                time.sleep(TICK_S)
                ask_until_s = self._relay(wish(), ask_until_s)
            self._signal(signal.SIGKILL)  # processes that it started and did not end
            drain_until_s = time.monotonic() + DRAIN_S
            while not lines.ended and time.monotonic() < drain_until_s:
                self._take(lines.read(TICK_S), on_record)
            self._take(lines.rest(), on_record)
        return self._outcome(self._process.wait())

    def _take(
        self, lines: Iterator[tuple[bool, bytes]], on_record: Callable[[results.Record], None]
    ) -> None:
        for from_stdout, line in lines:
            text = line.decode(errors="replace")
            record = results.parse_line(text) if from_stdout else None
            if record is None:
                self._runlog.write(text)
            elif isinstance(record, results.Log):
                level = "" if record.level == "info" else f"{record.level}: "
                self._runlog.write(f"{level}{record.message}")
            else:
                if isinstance(record, results.Result):
                    self._result = record
                elif isinstance(record, results.Failed):
                    self._failed = record
                elif isinstance(record, results.Stopped):
                    self._stopped = True
                on_record(record)

    def _relay(self, wish: Wish, ask_until_s: float | None) -> float | None:
        """SIGTERM once, SIGKILL when the grace period is over. Returns when it will be over."""
        if wish is Wish.KILL and not self._killed:
            self._killed = True
            self._signal(signal.SIGKILL)
        elif wish is Wish.STOP and ask_until_s is None:
            self._stop_asked = True
            self._signal(signal.SIGTERM)
            return time.monotonic() + settings.RUN_GRACE_S
        elif ask_until_s is not None and time.monotonic() > ask_until_s and not self._killed:
            self._killed = True
            self._runlog.write(f"killed: it did not stop within {settings.RUN_GRACE_S:g} s")
            self._signal(signal.SIGKILL)
        return ask_until_s

    def _has_exited(self) -> bool:
        """Without reaping it: until then its process group's number is not given to others."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _signal(self, number: signal.Signals) -> None:
        """To the child and all that it started, while the group's number is surely its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _outcome(self, code: int) -> Outcome:
        if code == results.EXIT_OK and self._result is not None:
            return Outcome(kind="succeeded", result=dict(self._result.data))
        if self._failed is not None:
            return Outcome(kind="failed", error=VadError.from_dict(self._failed.error))
        ours = (self._stop_asked and code == -signal.SIGTERM) or self._killed
        if code == results.EXIT_STOPPED or self._stopped or ours:
            return Outcome(kind="stopped")
        reason = f"{_reason(code)}.{self._last_words()}"
        return Outcome(kind="lost", reason=reason, error=self._out_of_memory(code))

    def _out_of_memory(self, code: int) -> VadError | None:
        """The error of a child that ended without a word because memory ran out, where one sees it.

        The host's: the kernel counts whom it kills, of this worker's control group at least. A
        kill that it does not count there may still be its own, but is taken for what it says.
        """
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return VadError(
                "memory-exhausted",
                "The kernel killed the run because the host ran out of memory."
                + self._last_words(),
                "Lower batch_size or the number of loading processes, or run less at once "
                "(VADLAB_CPU_SLOTS, VADLAB_GPU_SLOTS).",
            )
        return None

    def _last_words(self) -> str:
        words = " | ".join(self._runlog.last)
        return f" Last in its log: {words[-240:]}" if words else ""


class _Lines:
    """Whole lines from the two streams of a child, whatever pieces they arrive in."""

    def __init__(self, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        assert stdout is not None
        assert stderr is not None
        self._selector = selectors.DefaultSelector()
        self._partial: dict[int, bytearray] = {}
        self._skipping: dict[int, int] = {}  # bytes dropped so far of a line that is too long
        self._stdout = stdout.fileno()
        for stream in (stdout, stderr):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream.fileno(), selectors.EVENT_READ)
            self._partial[stream.fileno()] = bytearray()
            self._skipping[stream.fileno()] = 0

    @property
    def ended(self) -> bool:
        """Both streams are closed at the other end."""
        return not self._selector.get_map()

    def read(self, timeout_s: float) -> Iterator[tuple[bool, bytes]]:
        """Lines that arrive within the timeout, each with whether it came from stdout."""
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, READ_BYTES)
            if not data:
                self._selector.unregister(key.fd)
            for line in self._split(key.fd, data):
                yield key.fd == self._stdout, line

    def rest(self) -> Iterator[tuple[bool, bytes]]:
        """What was begun and never ended by a newline."""
        for fd, partial in self._partial.items():
            if partial:
                yield fd == self._stdout, bytes(partial)

    def close(self) -> None:
        self._selector.close()

    def _split(self, fd: int, data: bytes) -> Iterator[bytes]:
        partial = self._partial[fd]
        *ends, rest = data.split(b"\n")
        for end in ends:
            if self._skipping[fd]:
                size, self._skipping[fd] = self._skipping[fd] + len(end), 0
                yield b"(a line of %d bytes was dropped)" % size
            else:
                yield bytes(partial) + end
            partial.clear()
        if self._skipping[fd]:
            self._skipping[fd] += len(rest)
        elif len(partial) + len(rest) > LINE_BYTES:
            self._skipping[fd] = len(partial) + len(rest)
            partial.clear()
        else:
            partial += rest


def oom_kills(events: Path = Path("/sys/fs/cgroup/memory.events")) -> int:
    """How many processes the kernel has killed for memory in this control group; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError):
        for line in events.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def environment(ours: Mapping[str, str], *, cuda_devices: str) -> dict[str, str]:
    """The child's environment: no secrets, no database, and only the slot's GPU."""
    kept = {k: v for k, v in ours.items() if k in KEPT or k.startswith(KEPT_PREFIXES)}
    return kept | {
        "CUDA_VISIBLE_DEVICES": cuda_devices,
        "PYTHONUNBUFFERED": "1",
        "VADLAB_WEIGHTS_DIR": str(settings.WEIGHTS_DIR),
    }


def _reason(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without a result"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"killed by signal {-code}"
    return REASONS.get(signal.Signals(-code), f"killed by {name}")
