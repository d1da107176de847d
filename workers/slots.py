"""The slots of this process: places where one run can run, one a GPU and some for the CPU."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from webapp.runs.claims import Slot

# What a bell of a queue may start; a free CPU slot helps when the GPU died after the bell.
KINDS = {"gpu": ("gpu", "cpu"), "cpu": ("cpu",)}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Device:
    """A GPU, or a part of one, as CUDA_VISIBLE_DEVICES names it."""

    id: str
    name: str


class Table:
    """Which slots are free. Every method may be called from any thread.

    Args:
        gpus: the device of each GPU slot.
    """

    def __init__(self, *, cpu_slots: int, gpus: Sequence[Device]) -> None:
        self.gpus = tuple(gpus)
        self.cpu_slots = cpu_slots
        self._free = {
            "gpu": [Slot("gpu", i) for i in range(len(gpus))],
            "cpu": [Slot("cpu", i) for i in range(cpu_slots)],
        }
        self._missed = False
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        return self.cpu_slots + len(self.gpus)

    def take(self, queue: str) -> list[Slot]:
        """What a run of the queue may choose from: one CPU slot, or all free GPU slots.

        All, so that a run of several GPUs gets them at once or not at all; what it leaves is given
        back. Nothing is remembered: whoever gives a slot back next must look for work once more,
        or a run that was queued in between would wait for the sweep.
        """
        with self._lock:
            for kind in KINDS[queue]:
                free = self._free[kind]
                if free:
                    taken = free[:1] if kind == "cpu" else free[:]
                    del free[: len(taken)]
                    return taken
            self._missed = True
            return []

    def give_back(self, *slots: Slot) -> None:
        with self._lock:
            for slot in slots:
                self._free[slot.kind] += [Slot(slot.kind, index) for index in slot.indices]
                self._free[slot.kind].sort(key=lambda s: s.index)

    def has_free(self) -> bool:
        with self._lock:
            return any(self._free.values())

    def bell_missed(self) -> bool:
        """Whether a bell found no slot since this was last asked."""
        with self._lock:
            missed, self._missed = self._missed, False
            return missed

    def cuda_devices(self, slot: Slot) -> str:
        """What CUDA_VISIBLE_DEVICES must be for a run on the slot; empty hides every GPU."""
        return ",".join(self.gpus[i].id for i in slot.indices) if slot.kind == "gpu" else ""


@cache
def table() -> Table:
    """The table of this process. The first call looks for GPUs, which may take a second."""
    return Table(
        cpu_slots=settings.WORKER_CPU_SLOTS,
        gpus=gpu_slots(settings.WORKER_GPU_SLOTS, settings.WORKER_CUDA_DEVICES),
    )


def gpu_slots(wanted: str, visible: str | None) -> list[Device]:
    """The device of each GPU slot.

    Args:
        wanted: "auto" for one slot a GPU, or a number; with more slots than GPUs they share.
        visible: the worker's own CUDA_VISIBLE_DEVICES, None when it is not set.

    Raises:
        ImproperlyConfigured: `wanted` is neither.
    """
    if wanted != "auto" and not wanted.isdecimal():
        raise ImproperlyConfigured(f"VADLAB_GPU_SLOTS={wanted!r} is neither 'auto' nor a number.")
    if wanted == "0":
        return []
    found = _visible(find_gpus(), visible)
    if wanted == "auto":
        return found
    if not found:
        log.warning("slots.no_gpu_found", wanted=wanted)
        return [Device(id=str(i), name="GPU") for i in range(int(wanted))]
    return [found[i % len(found)] for i in range(int(wanted))]


def find_gpus() -> list[Device]:
    """The GPUs of this machine, or the MIG parts of those that are divided.

    Asked of `nvidia-smi`, so that no CUDA context is ever made in this process.
    """
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("slots.no_nvidia_smi", cause=exc)
        return []
    return parse_listing(listing)


def parse_listing(listing: str) -> list[Device]:
    """Read `nvidia-smi -L`: a line a GPU, and below it a line for each of its MIG parts."""
    gpus: list[tuple[Device, list[Device]]] = []
    for line in listing.splitlines():
        if match := re.match(r"GPU \d+: (.+) \(UUID: (GPU-\S+)\)", line):
            gpus.append((Device(id=match[2], name=match[1]), []))
        elif (match := re.match(r"\s+(MIG \S+)\s+.*\(UUID: (MIG-\S+)\)", line)) and gpus:
            whole, parts = gpus[-1]
            parts.append(Device(id=match[2], name=f"{whole.name} {match[1]}"))
    return [device for whole, parts in gpus for device in parts or [whole]]


def _visible(found: list[Device], visible: str | None) -> list[Device]:
    """Those that the worker itself may use, in the order of its CUDA_VISIBLE_DEVICES."""
    if visible is None:
        return found
    chosen = []
    for entry in visible.split(","):
        entry = entry.strip()
        if entry.isdecimal() and int(entry) < len(found):
            chosen.append(found[int(entry)])
        elif entry.startswith(("GPU-", "MIG-")):
            chosen += [d for d in found if d.id.startswith(entry)]
        else:
            break  # as CUDA does: what follows an invalid entry is not visible
    return chosen
