"""All randomness of a run, derived from (seed, step): a resumed run repeats what was lost.

Nothing here has a state that would have to be saved. Batch k, its dropout and its noise follow from
the seed and k alone, so a run that was killed anywhere goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import numpy as np
import torch


def derive(seed: int, *path: int | str) -> int:
    """A seed of 63 bits for one purpose; different paths give unrelated seeds."""
    text = "/".join(map(str, (seed, *path))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


@contextlib.contextmanager
def seeded(
    device: torch.device, seed: int, *path: int | str, rank: int = 0
) -> Iterator[torch.Generator]:
    """Seed torch's default generators for a block of code and give them back as they were.

    Dropout and weight initialisation draw from those.

    Args:
        rank: of the process among those that train together. Each drops other parts of its share;
            the generator is the same in all.

    Yields:
        A generator on `device`, of a seed of its own, for what takes one as an argument.
    """
    own = (*path, "rank", rank) if rank else path
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(derive(seed, *own))
        if device.type == "cuda":
            torch.cuda.manual_seed(derive(seed, *own))
        yield torch.Generator(device=device).manual_seed(derive(seed, *path, "generator"))


class BatchOrder:
    """Which items step k sees: shuffled passes over all items, the incomplete last batch dropped.

    With fewer items than a batch has, passes are put together until the batch is full, so an item
    may occur in it more than once; every pass is still a full shuffle.

    Args:
        items: at least one.
        batch_size: items a step.
        name: keeps the orders of several lists apart.
    """

    def __init__(self, items: np.ndarray, batch_size: int, *, seed: int, name: str) -> None:
        self.items = items
        self.batch_size = batch_size
        self.seed = seed
        self.name = name
        self._pass = -1
        self._order = items[:0]

    def batch(self, step: int) -> np.ndarray:
        """The items of step k, counted from 1: [batch_size], in the items' dtype."""
        size, count = self.batch_size, len(self.items)
        if count >= size:
            number, place = divmod(step - 1, count // size)
            return self._shuffled(number)[place * size : (place + 1) * size]
        passes = -(-size // count)
        first = (step - 1) * passes
        return np.concatenate([self._shuffled(first + i) for i in range(passes)])[:size]

    def _shuffled(self, number: int) -> np.ndarray:
        if number != self._pass:
            rng = np.random.default_rng(derive(self.seed, "order", self.name, number))
            self._order = self.items[rng.permutation(len(self.items))]
            self._pass = number
        return self._order
