"""What a training process asks of the C library."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

AGAIN = """
import resource, sys, torch
from vad import devices
if sys.argv[1] == "keep":
    devices.keep_freed_memory(torch.device("cpu"))
torch.ones(64 << 20)  # 256 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(63 << 20)  # the same size would need a few bytes more to be aligned
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_a_second_tensor(word: str) -> int:
    command = [sys.executable, "-c", AGAIN, word]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_a_second_tensor_takes_the_memory_of_the_first() -> None:
    returned, kept = (faults_of_a_second_tensor(word) for word in ("return", "keep"))
    assert kept < 0.1 * returned
