"""Several processes that train one run together, each on its share of every batch.

Started by `torchrun`, one process a GPU. All of them hold the same weights: each computes the
gradients of its share, these are averaged, and each takes the same step. As the losses are means
over videos and the shares are equal, that is the step of one process with the whole batch. Process
0 speaks, evaluates and writes checkpoints; the others wait for it at the next step.

Without `torchrun` the world has one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from vad.errors import ConfigError

WAIT = timedelta(hours=6)  # for process 0, which evaluates whole videos between two steps


@dataclass(frozen=True)
class World:
    """Who trains together. See `joined`."""

    rank: int = 0
    size: int = 1

    @property
    def speaks(self) -> bool:
        """Whether this process reports, evaluates and writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The part of a batch of `count` that is this process's; see `check_batch`."""
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch that cannot be shared equally.

        Raises:
            ConfigError: of `batch_size`.
        """
        if batch_size % self.size:
            text = f"{batch_size} videos cannot be shared equally by {self.size} processes"
            raise ConfigError({"batch_size": text})

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Bring tensors of equal place to their mean over all processes, in place."""
        if self.size == 1:
            return
        # One transfer for many small tensors.
        for group in _groups(tensors):
            flat = torch.cat([t.reshape(-1) for t in group])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it holds in any process: all of them leave the loop after the same step."""
        if self.size == 1:
            return flag
        found = torch.tensor(int(flag), device=device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return bool(found.item())


def launched() -> World:
    """The world that `torchrun` describes in the environment; one process without it."""
    return World(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Meet the other processes, and part from them at the end.

    Args:
        device: of this process, see `vad.devices.resolve`.
    """
    world = launched()
    if world.size == 1:
        yield world
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def _groups(tensors: Iterable[Tensor], limit: int = 1 << 24) -> Iterator[list[Tensor]]:
    """Neighbours of one dtype, so that no transfer holds more numbers than `limit` by much."""
    group: list[Tensor] = []
    held = 0
    for tensor in tensors:
        if group and (held >= limit or tensor.dtype != group[0].dtype):
            yield group
            group, held = [], 0
        group.append(tensor)
        held += tensor.numel()
    if group:
        yield group
