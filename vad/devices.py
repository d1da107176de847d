"""Which device a run computes on, and what to say about it."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

import vad
from vad import provenance
from vad.errors import ConfigError, VadError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def resolve(name: str) -> torch.device:
    """The device of a configuration: `auto` takes a GPU when there is one.

    Raises:
        VadError: `device-missing`, a GPU was asked for by name and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise VadError(
            "device-missing",
            "The run asks for a GPU (device: cuda), and this machine offers none.",
            "Choose 'auto' or 'cpu', or queue the run where a GPU is.",
        )
    if name == "cpu" or not available:
        return torch.device("cpu")
    # Of several processes on one host, each has a GPU of its own; torchrun numbers them.
    number = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def describe(device: torch.device) -> str:
    """For people: `cpu`, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def keep_freed_memory(device: torch.device) -> None:
    """On a CPU, let this process keep what its tensors give back instead of returning it.

    The next step takes as much again, and the system clears each page before it hands it out: a
    third of a long step. Costs memory, as what is kept has gaps; does nothing where the C library
    is not glibc.
    """
    if device.type != "cpu":
        return
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(M_MMAP_MAX, 0)
        set_option(M_TRIM_THRESHOLD, -1)


def environment(device: torch.device) -> dict[str, Any]:
    """Code, versions and host, kept with a run: its numbers repeat only where these agree."""
    on_gpu = device.type == "cuda"
    return {
        "vad": vad.__version__,
        **provenance.code(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        **provenance.machine(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device cannot compute in.

    Raises:
        ConfigError: `tf32` or `bfloat16` without a GPU, or on one that has no bfloat16.
    """
    if precision == "float32":
        return
    if device.type != "cuda":
        raise ConfigError({"precision": f"{precision} needs a GPU, and this run has none"})
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported():
        raise ConfigError({"precision": f"{torch.cuda.get_device_name(device)} has no bfloat16"})


@contextmanager
def fast_products(precision: str, device: torch.device) -> Iterator[None]:
    """Products in TF32 unless float32 is asked for: torch's own default lets convolutions use it.

    To be held around the backward pass, too, which computes in whatever is set at that time.
    """
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Products of the forward pass in bfloat16, where that is asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
