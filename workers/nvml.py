"""The few questions that we ask NVIDIA's management library, which comes with the driver.

Through ctypes: no package is needed, no CUDA context is made, and a machine without the library has
no GPU to ask about.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import structlog

LIBRARY = "libnvidia-ml.so.1"
MB = 1_000_000
_OK = 0

log = structlog.get_logger(__name__)


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


@cache
def driver() -> Driver | None:
    """The driver of this machine, started once; None without one."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    code = library.nvmlInit_v2()
    if code != _OK:
        log.warning("nvml.not_started", code=code)
        return None
    return Driver(library)


class Driver:
    """Answers about devices, named as CUDA_VISIBLE_DEVICES names them: an id or a number."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._handles: dict[str, ctypes.c_void_p | None] = {}

    def usage(self, device: str) -> dict[str, float]:
        """What the whole device does now, others' work included; what it does not tell is left out.

        Returns:
            `util_percent` (time with a kernel on it), `memory_mb` (in use), `power_w`.
        """
        if device not in self._handles:
            self._handles[device] = self._find(device)
        handle = self._handles[device]
        if handle is None:
            return {}
        found: dict[str, float] = {}
        share, memory, milliwatts = _Utilization(), _Memory(), ctypes.c_uint()
        ask = self._library
        if ask.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(share)) == _OK:
            found["util_percent"] = float(share.gpu)
        if ask.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == _OK:
            found["memory_mb"] = memory.used / MB
        if ask.nvmlDeviceGetPowerUsage(handle, ctypes.byref(milliwatts)) == _OK:
            found["power_w"] = milliwatts.value / 1000
        return found

    def _find(self, device: str) -> ctypes.c_void_p | None:
        handle = ctypes.c_void_p()
        if device.isdecimal():
            code = self._library.nvmlDeviceGetHandleByIndex_v2(
                ctypes.c_uint(int(device)), ctypes.byref(handle)
            )
        else:
            code = self._library.nvmlDeviceGetHandleByUUID(device.encode(), ctypes.byref(handle))
        if code != _OK:
            log.warning("nvml.no_such_device", device=device, code=code)
            return None
        return handle
