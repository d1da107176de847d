"""Adam with an L2 penalty, in torch's fused kernel.

`torch.optim.Adam` calls the same kernel, and a test holds the two equal to the bit; but its first
use imports torch's compiler, a second of processor time at the start of every training process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch's defaults, and the published code's
STEP, MEAN, SQUARE = "step", "exp_avg", "exp_avg_sq"  # as torch.optim names them
MOMENTS = (STEP, MEAN, SQUARE)


class Adam:
    """Algorithm 1 of Kingma and Ba, "Adam" (2015), with weight decay added to the gradient.

    Args:
        named: parameters by name, all on one device.
        weight_decay: the L2 penalty; it passes through the moments, unlike AdamW's.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float) -> None:
        self.weight_decay = weight_decay
        self._parameters = dict(named)
        self._state = {
            name: {
                STEP: torch.zeros((), dtype=torch.float32, device=parameter.device),
                MEAN: torch.zeros_like(parameter, requires_grad=False),
                SQUARE: torch.zeros_like(parameter, requires_grad=False),
            }
            for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every parameter that has a gradient.

        Args:
            lr: the learning rate of this step.
        """
        parameters: list[Tensor] = []
        gradients: list[Tensor] = []
        state: list[dict[str, Tensor]] = []
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                parameters.append(parameter)
                gradients.append(parameter.grad)
                state.append(self._state[name])
        if not parameters:
            return
        steps = [each[STEP] for each in state]
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            parameters,
            gradients,
            [each[MEAN] for each in state],
            [each[SQUARE] for each in state],
            [],
            steps,
            amsgrad=False,
            lr=lr,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=self.weight_decay,
            eps=EPS,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The state, as "<moment>.<parameter>"."""
        return {f"{m}.{name}": each[m] for name, each in self._state.items() for m in MOMENTS}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a state that `tensors` gave.

        Raises:
            KeyError: names what is missing.
        """
        for name, each in self._state.items():
            for moment in MOMENTS:
                each[moment].copy_(tensors[f"{moment}.{name}"])
