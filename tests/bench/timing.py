"""Timing a call, the same for every benchmark of the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

REPEAT = 40


def timed(what: str, call: Callable[[], Any], budget_ms: float | None = None) -> None:
    """Print p50 and p95 of the wall time, and the CPU time of this process, after one call more."""
    call()
    wall, cpu = [], []
    for _ in range(REPEAT):
        begin, spent = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - begin) * 1e3)
        cpu.append((time.process_time() - spent) * 1e3)
    p50, p95 = np.percentile(wall, [50, 95])
    budget = f"  budget {budget_ms:g}" if budget_ms else ""
    print(f"{what:<46} p50 {p50:6.1f}  p95 {p95:6.1f}  cpu {np.median(cpu):6.1f} ms{budget}")
