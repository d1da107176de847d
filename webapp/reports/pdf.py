"""A report as PDF, printed by a Chromium of the server from the file that works offline.

Where there is none, the report's page prints just as well from the reader's own browser; the error
says so. The browser is given one file without a network, and is ended when it takes too long.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from django.conf import settings

from vad.errors import VadError
from webapp.reports import offline
from webapp.reports.models import Revision

TIMEOUT_S = 90
WAIT_S = 20  # for one that another request is making
# CSS pixels of the window in which a chart is as wide as on paper: an A4 page between its margins
# (css/reports.css) has 688, and the rest stands beside it on a screen alone.
WIDTH = 761
FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--no-pings", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer",
    "--virtual-time-budget=15000", f"--window-size={WIDTH},1000",
)  # fmt: skip
_INSTEAD = "Open the report and print it in your browser, as a PDF: the pages are the same. "

log = logging.getLogger(__name__)
_turn = threading.BoundedSemaphore(1)  # a browser takes hundreds of megabytes


def pdf(revision: Revision) -> bytes:
    """
    Raises:
        VadError: `pdf-unavailable`, with what to do instead.
    """
    if not settings.CHROMIUM:
        raise VadError(
            "pdf-unavailable",
            "This server has no Chromium, which makes the PDF.",
            _INSTEAD + "Or have Chromium installed beside the server (VADLAB_CHROMIUM names it).",
        )
    if not _turn.acquire(timeout=WAIT_S):
        raise VadError(
            "pdf-unavailable", "The server is making another PDF.", "Try again in a minute."
        )
    try:
        return _printed(offline.html(revision))
    finally:
        _turn.release()


def _printed(page: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vadlab-pdf-") as name:
        folder = Path(name)
        (folder / "report.html").write_text(page, encoding="utf-8")
        out = folder / "report.pdf"
        command = [
            settings.CHROMIUM,
            *FLAGS,
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # which root cannot have
            f"--user-data-dir={folder / 'profile'}",
            f"--print-to-pdf={out}",
            (folder / "report.html").as_uri(),
        ]
        told = _run(command, folder)
        if not out.is_file() or out.read_bytes()[:5] != b"%PDF-":
            log.error("pdf.failed said=%s", told[-2000:])
            raise VadError(
                "pdf-unavailable",
                "Chromium did not make the PDF.",
                _INSTEAD + "The server's log has what Chromium said.",
            )
        return out.read_bytes()


def _run(command: list[str], folder: Path) -> str:
    """Run it in a group of its own, so that all of its processes end with it."""
    env = {"HOME": str(folder), "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=env,
            start_new_session=True,
        )
    except OSError as exc:
        return f"{settings.CHROMIUM} cannot be started: {exc}"
    try:
        told, _ = process.communicate(timeout=TIMEOUT_S)
        return told.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        return f"took longer than {TIMEOUT_S} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
