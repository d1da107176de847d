"""Linear maps, by the faster of the two libraries that torch has for them on a CPU.

Torch sends float32 products on a CPU to MKL, which leaves the wider half of an AMD processor's
vector units idle: oneDNN, which torch ships for convolutions, computes the same products in half
the time there. On a GPU, and for small products, torch's own way is taken.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Multiplications below which oneDNN's preparation costs more than it gains (about 10 us).
WORTH_IT = 2**21


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x W^T + b`, as `F.linear`: [..., D], [E, D] and [E] to [..., E]."""
    if _by_onednn(x, weight):
        return cast(Tensor, _OneDnnLinear.apply(x, weight, bias))
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear`, with the same parameters and start values, through `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False  # it fails where oneDNN is called by hand; asked first, it sees nothing else
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * weight.shape[0] >= WORTH_IT
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        wanted = ctx.needs_input_grad
        return (
            _product(grad, weight.t()) if wanted[0] else None,
            _product(rows.t(), x.reshape(-1, x.shape[-1]).t()) if wanted[1] else None,
            rows.sum(0) if wanted[2] else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What torch's compiler calls for a linear map; it has no gradient of its own.

    Part of a wider matrix is copied: oneDNN takes a loop 300 times as slow for one.
    """
    if not weight.is_contiguous() and not weight.t().is_contiguous():
        weight = weight.contiguous()
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""))
