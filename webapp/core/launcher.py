"""Web and worker of one machine under one foreground process.

Used by `manage.py serve` and `manage.py demo`. Both children get their own log file; when one ends
by itself the other is stopped too, and the person is told where to look.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from django.conf import settings
from django.core.management.base import CommandError

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


def free_port(wanted: int, host: str = "127.0.0.1") -> int:
    """`wanted` if nobody listens there, else the next free one of the hundred after it."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CommandError(f"No free port from {wanted} to {wanted + 99}. Name one with --port.")


class Servers:
    """The web process and the worker, as a context: started on entry, stopped on exit."""

    def __init__(self, *, host: str, port: int, cpu_slots: int | None = None) -> None:
        self.address = f"http://{host}:{port}"
        self.stopping = False
        self._logs = settings.DATA_DIR / "logs"
        self._env = {**os.environ, "VADLAB_DATA_DIR": str(settings.DATA_DIR)}
        self._env.setdefault("VADLAB_LOG_FORMAT", "text")  # a person reads these files
        if cpu_slots is not None:
            self._env["VADLAB_CPU_SLOTS"] = str(cpu_slots)
        python = [sys.executable, "-m"]
        self._commands = {
            "web": [*python, "gunicorn", "webapp.wsgi", "--bind", f"{host}:{port}",
                    "--worker-class", "gthread", "--workers", "1", "--threads", "8"],
            "worker": [*python, "celery", "-A", "workers", "worker", "--pool", "threads",
                       "-Q", "gpu,cpu", "-B", "--loglevel", "INFO"],
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        for name, command in self._commands.items():
            with self.log_path(name).open("ab") as log:
                # A session of its own: Ctrl-C reaches us alone, and we stop them in order.
                self._processes[name] = subprocess.Popen(
                    command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    env=self._env, cwd=settings.BASE_DIR, start_new_session=True,
                )  # fmt: skip
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def check_alive(self) -> None:
        """Raise a CommandError when a child ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None and not self.stopping:
                raise CommandError(
                    f"The {name} process ended (exit code {process.returncode}). "
                    f"Its log: {self.log_path(name)}"
                )

    def wait(self) -> None:
        """Serve until Ctrl-C or SIGTERM."""
        while not self.stopping:
            self.check_alive()
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop both: the worker first, so that its runs write a checkpoint and are given back."""
        self.stopping = True
        for name in ("worker", "web"):
            process = self._processes.get(name)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                with urllib.request.urlopen(f"{self.address}/healthz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise CommandError(
            f"The web process did not answer within {START_TIMEOUT_S} s. "
            f"Its log: {self.log_path('web')}"
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
