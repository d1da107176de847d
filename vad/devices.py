"""Which device a run computes on, and what to say about it."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

import vad
from vad.errors import VadError


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
    return torch.device("cuda", torch.cuda.current_device())


def describe(device: torch.device) -> str:
    """For people: `cpu`, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and host, kept with a run: numbers repeat to the bit only where these agree."""
    return {
        "vad": vad.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
    }
