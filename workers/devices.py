"""What the GPUs do now, as nvidia-smi tells it; no CUDA context is ever made here."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TypedDict

import structlog

log = structlog.get_logger(__name__)

QUERY = ("uuid", "utilization.gpu", "memory.used", "memory.total", "temperature.gpu")


class Stats(TypedDict):
    """Of one GPU; None where the driver does not say, as for the parts of a divided one."""

    use_percent: int | None
    used_mb: int | None
    memory_mb: int | None
    celsius: int | None


def look() -> dict[str, Stats]:
    """What each GPU of this machine does now, by its UUID; empty without nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("devices.no_nvidia_smi", cause=exc)
        return {}
    return parse(said.stdout)


def parse(csv: str) -> dict[str, Stats]:
    """Read the answer to `QUERY`; lines that are not of this shape are left out."""
    found: dict[str, Stats] = {}
    for line in csv.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(QUERY) and cells[0].startswith("GPU-"):
            use, used, total, celsius = (_whole(cell) for cell in cells[1:])
            found[cells[0]] = Stats(use_percent=use, used_mb=used, memory_mb=total, celsius=celsius)
    return found


def _whole(text: str) -> int | None:
    """A number; None for "[N/A]" and its like."""
    with contextlib.suppress(ValueError):
        return round(float(text))
    return None
