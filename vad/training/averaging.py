"""An exponential average of the weights over the steps: steadier than the weights of any one step.

Source: Polyak and Juditsky 1992 for averaging; the exponential form with a growing decay is that of
`tf.train.ExponentialMovingAverage`: without it, the first hundreds of steps would be ruled by the
weights that the run started from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of a model's parameters and buffers, on the model's device.

    Args:
        model: averaged from its present weights on.
        decay: of the average at each step once it has settled, above 0 and below 1; it then looks
            back over about 1 / (1 - decay) steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self.decay = model, decay
        self._held = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step k, counted from 1."""
        weight = 1 - min(self.decay, step / (step + 9))
        now = self._model.state_dict()
        floats = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self._held[name] for name in floats], [now[name] for name in floats], weight
        )
        for name in now.keys() - set(floats):
            self._held[name].copy_(now[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the averaged weights; afterwards it has its own again, bit for bit.

        The numbers change, not where they lie, so a compiled or captured model stays valid.
        """
        own = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        _copy(self._held, self._model)
        try:
            yield
        finally:
            _copy(own, self._model)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights under the model's names."""
        return self._held

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from weights that `state` gave."""
        for name, value in self._held.items():
            value.copy_(weights[name])


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        value.copy_(source[name])
