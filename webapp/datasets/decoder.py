"""The process that decodes for the web: `vad.video.thumbnail`, started when it is needed.

A web process never opens a video itself: it has no decoder, and a file may be hostile. One picture
is made at a time, and few requests wait for their turn, so that a page of pictures leaves most
threads of the server to others; who comes too late is told to ask again.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, cast

import structlog
from django.conf import settings

from vad.errors import VadError

COMMAND = [sys.executable, "-m", "vad.video.thumbnail"]
TURN_S = 3.0  # how long a request waits for its turn
MOST_WAITING = 2  # requests that wait at the same time
ANSWER_S = 20.0  # longer than the process may take for one video, its own start included
LARGEST_BYTES = 1 << 20
# What the process gets to see of the environment; secrets are in the rest of it.
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR")

log = structlog.get_logger(__name__)


class Busy(Exception):
    """Others are served first; ask again in a second."""


class Decoder:
    """One helper process. Used by any number of threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING + 1)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def thumbnail(self, path: Path, frame: int, *, wait_s: float = TURN_S) -> bytes:
        """A frame of a video or of a folder of frames, as a small WebP.

        Args:
            path: known to lie where this server may read.
            wait_s: for a turn; 0 does not wait.

        Raises:
            Busy: too many others are before this one.
            VadError: as `vad.video.thumbnail.thumbnail`; `unexpected`, it cannot be started.
        """
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            if not self._turn.acquire(timeout=wait_s):
                raise Busy
            try:
                return self._ask({"path": str(path), "frame": frame})
            finally:
                self._turn.release()
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, job: dict[str, object]) -> bytes:
        for last in (False, True):  # it ends by itself when idle, perhaps at this very moment
            process = self._running()
            try:
                cast(IO[bytes], process.stdin).write(json.dumps(job).encode() + b"\n")
                return _answer(process, time.monotonic() + ANSWER_S)
            except (OSError, EOFError, ValueError):
                self.close()
                if last:
                    log.exception("thumbnail.failed", path=job["path"])
        raise VadError(
            "unexpected",
            "The process that decodes videos for pages cannot be used.",
            "Look at the log of the web server.",
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                cwd=settings.BASE_DIR,
                env={name: os.environ[name] for name in KEPT if name in os.environ}
                | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # it forks
                start_new_session=True,  # Ctrl-C is for the server; this one ends with its input
            )
        return self._process


def _answer(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The picture of an answer.

    Raises:
        VadError: the answer is an error.
        OSError, EOFError, ValueError: there is none, or it makes no sense.
    """
    out = cast(IO[bytes], process.stdout).fileno()
    found = b""
    while b"\n" not in found:
        found += _block(out, deadline)
    head, _, content = found.partition(b"\n")
    said = json.loads(head)
    if "error" in said:
        raise VadError.from_dict(said["error"])
    size = int(said["size"])
    if not 0 < size <= LARGEST_BYTES:
        raise ValueError(f"a picture of {size} bytes")
    while len(content) < size:
        content += _block(out, deadline)
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        raise ValueError("no WebP")
    return content


def _block(file: int, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0 or not select.select([file], [], [], left)[0]:
        raise TimeoutError("the decoder does not answer")
    block = os.read(file, 1 << 16)
    if not block:
        raise EOFError("the decoder ended")
    return block


decoder = Decoder()
