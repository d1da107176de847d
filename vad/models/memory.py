"""The memory unit of UR-DMU: K learned prototypes that a snippet is compared with.

Source: Zhou, Yu, Yang, "Dual Memory Units with Uncertainty Regulation for Weakly Supervised Video
Anomaly Detection", AAAI 2023. Shapes: B bags, T snippets, K slots, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vad.models.products import linear


class MemoryUnit(nn.Module):
    """K slots of D numbers; `memory_block` is the published name of the parameter.

    Args:
        slots: K, at least 16 for the published ratio of slots to top slots.
        dim: D.
    """

    def __init__(self, slots: int, dim: int) -> None:
        super().__init__()
        self.memory_block = nn.Parameter(torch.empty(slots, dim))
        bound = 1 / math.sqrt(dim)
        nn.init.uniform_(self.memory_block, -bound, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How well each snippet fits the memory, and what the memory says of it.

        Args:
            x: [B, T, D].

        Returns:
            score [B, T], 0 to 1; augmentation [B, T, D], the plain weighted sum of the slots. As
            published, its weights do not add up to 1.
        """
        weights = slot_weights(x, self.memory_block)
        return top_slot_score(weights), weights @ self.memory_block


def slot_weights(x: Tensor, slots: Tensor) -> Tensor:
    """Sigmoid of the scaled product: [..., D] and [K, D] to [..., K].

    In float32 whatever the product was computed in: bfloat16 has 8 bits, too few to rank snippets.
    """
    return torch.sigmoid(linear(x, slots / math.sqrt(slots.shape[1])).float())


def top_slot_score(weights: Tensor) -> Tensor:
    """Mean of the floor(K/16)+1 largest of [..., K] weights; 4 of 60 slots as published."""
    return top_mean(weights, top_count(weights.shape[-1]))


def top_count(length: int) -> int:
    """floor(length/16)+1: how many of so many entries stand for all, slots and snippets alike."""
    return length // 16 + 1


def top_mean(values: Tensor, count: int) -> Tensor:
    """Mean of the largest entries along the last axis."""
    return torch.topk(values, count, dim=-1).values.mean(-1)
