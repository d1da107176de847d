"""A run that this script trains and a server shows.

What is logged is kept in memory and sent in the background, once a second. The training never waits
for the server and never fails because of it: while it is away more is kept, up to a bound, from
which on every second point is let go. Everything that is sent may be sent again: the run's id is
chosen here, points overwrite themselves, parts of the log are numbered.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vad.client import files
from vad.client.files import Progress
from vad.client.pending import Columns, Points
from vad.client.plain import machine, number, plain
from vad.client.transport import Transport, pause
from vad.errors import VadError

log = logging.getLogger("vad.client")

EVERY_S = 1.0  # what was logged is sent so often
ALIVE_S = 60.0  # without anything to send, the server is told that the script lives
MOST_POINTS = 500_000  # that wait to be sent
MOST_LINES = 50_000
BATCH_POINTS, BATCH_LINES = 10_000, 2000
LINE = 8000  # characters
REFUSED = ("log-invalid", "request-invalid", "config-invalid")  # sent again it would fail again


class Recorder:
    """One run; made by `Client.log_run`.

        with client.log_run(name="mine", params={"lr": 1e-3}) as run:
            for step in range(1000):
                run.log({"loss": train_step()}, step)

    As a context it ends with the block: finished, failed with what was raised, or killed by Ctrl-C.
    Without one it ends with the interpreter.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        project: str,
        name: str,
        params: Mapping[str, Any],
        tags: Sequence[str],
        notes: str,
        total: int | None,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.stopped = False  # somebody stopped the run on its page
        self._transport, self._total = transport, total
        self._opening: dict[str, Any] | None = {
            "id": self.id, "project": project, "name": name, "params": plain(params),
            "tags": list(tags), "notes": notes, "client": "vad.client", "environment": machine(),
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }  # fmt: skip
        self._lock = threading.Condition()
        self._sending = threading.RLock()
        self._points = Points()
        self._lines: list[str] = []
        self._part: list[str] = []  # lines on their way, under the number `_parts`
        self._parts = 0
        self._step = -1
        self._ending: dict[str, Any] | None = None
        self._ended = self._gone = self._hurry = False
        self._warned: set[str] = set()
        self._pid = os.getpid()
        try:
            self._open(tries=1)
        except VadError as exc:
            if exc.code != "server-unreachable":
                raise
            self._warn("away", f"{exc.message} The run is sent when it is back.")
        self._thread = threading.Thread(target=self._work, name="vad.client", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        return f"Recorder({self.url})"

    @property
    def url(self) -> str:
        """The run's page."""
        return f"{self._transport.url}/runs/{self.id}/"

    # --- what a script says

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Note values of one step. Never raises and never waits.

        Args:
            values: numbers by name; what has `item()`, as a tensor, is asked for it.
            step: by default one more than the last.
        """
        if self._is_over():
            return
        with self._lock:
            at = self._next_step(step)
            if at is None:
                return
            for key, value in values.items():
                try:
                    value_now = float(value.item() if hasattr(value, "item") else value)
                except (TypeError, ValueError, OverflowError, RuntimeError):
                    self._warn(f"value {key}", f"{key}: {str(value)[:40]!r} is no number; left out")
                    continue
                self._points.add(str(key), at, value_now)
            if self._points.count > MOST_POINTS:
                self._points.thin()
                self._warn("thin", f"More than {MOST_POINTS:,} points wait; some are let go")
            if self._points.count >= BATCH_POINTS:
                self._lock.notify_all()

    def text(self, text: str) -> None:
        """Add lines to the run's log."""
        if self._is_over():
            return
        with self._lock:
            clean = text.replace("\0", "").encode(errors="replace").decode()
            self._lines += [line[:LINE] for line in clean.splitlines() or [""]]
            if len(self._lines) > MOST_LINES:
                del self._lines[: len(self._lines) - MOST_LINES]
                self._warn("lines", f"More than {MOST_LINES:,} lines wait; the oldest are left out")

    def update(self, params: Mapping[str, Any]) -> bool:
        """Add settings. False, with a warning, when the server did not take them."""
        return self._now("settings", lambda: self._post("params", {"params": plain(params)}))

    def upload(self, path: str | Path, name: str = "", *, progress: Progress | None = None) -> bool:
        """Send a file and wait for it. False, with a warning, when it did not arrive.

        A file that arrived in part is gone on with when it is sent again.
        """
        return self._now(
            str(path),
            lambda: files.upload(
                self._transport, self.id, Path(path), name=name, progress=progress
            ),
        )

    def upload_checkpoint(
        self,
        path: str | Path,
        step: int,
        *,
        best: bool = False,
        metrics: Mapping[str, float] | None = None,
        progress: Progress | None = None,
    ) -> bool:
        """Send a safetensors file as the checkpoint of a step, like `upload`."""
        return self._now(
            str(path),
            lambda: files.upload(
                self._transport, self.id, Path(path), step=step, best=best, metrics=metrics,
                progress=progress,
            ),
        )  # fmt: skip

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was logged so far is with the server. False: it is not."""
        until = time.monotonic() + timeout_s
        with self._lock:
            while self._waiting() and not self._gone:
                self._hurry = True
                self._lock.notify_all()
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._lock.wait(min(left, 0.2))
        return not self._gone

    def finish(
        self, status: str = "finished", reason: str = "", *, timeout_s: float = 30.0
    ) -> bool:
        """End the run: finished, failed or killed. False, with a warning: not all could be sent."""
        if self._is_over():
            return self._ended
        with self._lock:
            self._ending = {"status": status, "reason": reason[:400]}
            self._lock.notify_all()
        self._thread.join(timeout_s)
        atexit.unregister(self._at_exit)
        if not self._ended:
            self._warned.discard("end")
            count = f"{self._points.count:,} points" if self._points.count else "its end"
            self._warn("end", f"{self.url} did not get {count}: the server is away")
        return self._ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(*_how(exc))

    # --- what the thread does

    def _work(self) -> None:
        failures, heard = 0, time.monotonic()
        while True:
            with self._lock:
                wait_s = pause(failures - 1) if failures else EVERY_S
                if (
                    not (self._ending or self._hurry or self._points.count >= BATCH_POINTS)
                    or failures
                ):
                    self._lock.wait(wait_s)
                self._hurry = False
                alive = time.monotonic() - heard < ALIVE_S
                if not self._waiting() and not self._ending and alive:
                    continue
            try:
                self._send()
                failures, heard = 0, time.monotonic()
                self._warned.discard("away")
            except VadError as exc:
                failures += 1
                if exc.code == "not-found":
                    self._warn("gone", f"{exc.message} Nothing more is sent")
                    self._gone = True
                    return
                self._warn("away", f"{exc.message} What is logged is kept and sent again")
                continue
            except Exception:  # a fault of ours must not end the sending, or the training
                failures += 1
                log.exception("client.fault")
                continue
            if self._ended:
                return

    def _send(self) -> None:
        """All that waits; then the end, if it has come."""
        with self._sending:
            self._open()
            self._send_points()
            self._send_lines()
            with self._lock:
                ending = self._ending if not self._waiting() else None
                self._lock.notify_all()
            if ending:
                self._post("end", ending)
                self._ended = True

    def _open(self, tries: int = 1) -> None:
        with self._sending:
            if self._opening is not None:
                self._transport.send("POST", "/api/v1/external/", body=self._opening, tries=tries)
                self._opening = None

    def _send_points(self) -> None:
        """Batch by batch; an empty one says that the script lives."""
        while True:
            with self._lock:
                batch = self._points.take(BATCH_POINTS)
            try:
                self._post_points(batch)
            except VadError:
                with self._lock:
                    self._points.put_back(batch)
                raise
            if not self._points.count:
                return

    def _post_points(self, batch: Columns) -> None:
        """What the server refuses is left out, and only that."""
        body: dict[str, Any] = {
            "metrics": {
                key: {"steps": steps, "values": [number(v) for v in values]}
                for key, (steps, values) in batch.items()
            }
        }
        if self._total is not None:
            body["total"] = self._total
        try:
            self._post("metrics", body)
        except VadError as exc:
            if exc.code not in REFUSED:
                raise
            if len(batch) > 1:
                for key, columns in batch.items():
                    self._post_points({key: columns})
            else:
                self._warn(f"refused {list(batch)}", exc.message)

    def _send_lines(self) -> None:
        while True:
            with self._lock:
                if not self._part:
                    self._part, self._lines = (
                        self._lines[:BATCH_LINES], self._lines[BATCH_LINES:],
                    )  # fmt: skip
            if not self._part:
                return
            body = {"lines": self._part, "session": self.id[:8] + str(self._pid),
                    "part": self._parts}  # fmt: skip
            try:
                self._post("log", body)
            except VadError as exc:
                if exc.code not in REFUSED:
                    raise
                self._warn("log", exc.message)
            self._part, self._parts = [], self._parts + 1

    def _post(self, what: str, body: Mapping[str, Any]) -> None:
        answer = self._transport.send(
            "POST", f"/api/v1/external/{self.id}/{what}/", body=body, tries=1
        )
        if answer.get("stop") and not self.stopped:
            self.stopped = True
            self._warn("stop", f"{self.url} was stopped on its page; `stopped` says so")

    # --- small things

    def _now(self, what: str, call: Any) -> bool:
        try:
            self._open(tries=3)
            call()
        except VadError as exc:
            log.warning("%s was not sent to %s. %s %s", what, self.url, exc.message, exc.hint)
            return False
        return True

    def _waiting(self) -> bool:
        return bool(self._points.count or self._lines or self._part or self._opening)

    def _next_step(self, step: int | None) -> int | None:
        try:
            at = self._step + 1 if step is None else int(step)
        except (TypeError, ValueError, OverflowError):
            at = 2**53
        if abs(at) >= 2**53:
            self._warn("step", f"{str(step)[:40]!r} is no step; its values are left out")
            return None
        self._step = max(self._step, at)
        return at

    def _is_over(self) -> bool:
        """Ended, or in a process that was forked from the one that began the run."""
        if os.getpid() != self._pid:
            self._warn("fork", "A forked process logs nothing; log in the one that began the run")
            return True
        return self._ended or self._gone or self._ending is not None

    def _at_exit(self) -> None:
        if os.getpid() == self._pid:
            self.finish(*_how(getattr(sys, "last_value", None)), timeout_s=10)

    def _warn(self, what: str, text: str) -> None:
        """Once for each cause, until it has passed."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s", text)


def _how(exc: BaseException | None) -> tuple[str, str]:
    if exc is None or (isinstance(exc, SystemExit) and not exc.code):
        return "finished", ""
    if isinstance(exc, KeyboardInterrupt):
        return "killed", ""
    return "failed", f"{type(exc).__name__}: {exc}"
