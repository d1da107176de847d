"""The vision transformer of VideoMAE V2: one vector per clip of 16 frames.

Source: Wang et al., "VideoMAE V2: Scaling Video Masked Autoencoders with Dual Masking", CVPR 2023,
and its published code. Parameter names are those of the published checkpoints.

Shapes: B clips, F frames, H, W; N tokens in (time, row, column) order; C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vad.errors import ShapeError
from vad.features.weights import (
    VIDEOMAE_BASE,
    VIDEOMAE_GIANT,
    VIDEOMAE_SMALL,
    Published,
    Weights,
    build,
)
from vad.models.products import Linear, linear
from vad.models.tubelet_vit import Mlp

NORM_EPS = 1e-6
_PREFIXES = ("_orig_mod.", "module.", "backbone.", "encoder.")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The sizes of a network."""

    image_size: int = 224
    patch: int = 16
    width: int
    depth: int
    heads: int
    hidden: int  # of the MLPs
    frames: int = 16
    tubelet: int = 2  # frames per token
    num_classes: int = 710  # Kinetics-710; features do not pass through the classifier

    @property
    def num_tokens(self) -> int:
        return (self.frames // self.tubelet) * (self.image_size // self.patch) ** 2


VARIANTS: dict[str, tuple[Variant, Published]] = {
    "small": (Variant(width=384, depth=12, heads=6, hidden=1536), VIDEOMAE_SMALL),
    "base": (Variant(width=768, depth=12, heads=12, hidden=3072), VIDEOMAE_BASE),
    "giant": (
        Variant(patch=14, width=1408, depth=40, heads=16, hidden=6144),
        VIDEOMAE_GIANT,
    ),
}


def position_table(num_tokens: int, width: int) -> Tensor:
    """Sines and cosines over the flat token index: [N, C] float32.

    Entry (n, j) is the sine (j even) or cosine (j odd) of `n / 10000^(2 floor(j/2) / C)`.
    """
    column = np.arange(width)
    angle = np.arange(num_tokens)[:, None] / np.power(10000, 2 * (column // 2) / width)
    table = np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
    return torch.from_numpy(table.astype(np.float32))


class VideoMae(nn.Module):
    """The network; `forward` gives features, `classify` class scores."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.patch_embed = PatchEmbedding(variant)
        # not in the checkpoints, as it follows from the sizes alone
        table = position_table(variant.num_tokens, variant.width)
        self.register_buffer("pos_embed", table, persistent=False)
        self.pos_embed: Tensor
        self.blocks = nn.ModuleList(Block(variant) for _ in range(variant.depth))
        self.fc_norm = nn.LayerNorm(variant.width, eps=NORM_EPS)
        self.head = Linear(variant.width, variant.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The feature of each clip: mean over tokens, then layer norm.

        Args:
            x: [B, 3, F, H, W], RGB, 0 to 1 unless normalised.

        Returns:
            [B, C] float32.
        """
        size = self.variant.image_size
        if x.ndim != 5 or tuple(x.shape[1:]) != (3, self.variant.frames, size, size):
            raise ShapeError(
                "clips",
                expected=f"[B, 3, {self.variant.frames}, {size}, {size}]",
                got=tuple(x.shape),
            )
        # float32 from here on, whatever the precision of the products
        tokens = self.patch_embed(x).float() + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.fc_norm(tokens.mean(dim=1))

    def classify(self, x: Tensor) -> Tensor:
        """Class scores before the softmax: [B, classes]."""
        return self.head(self(x))


class PatchEmbedding(nn.Module):
    """Tubelets of 2 frames to tokens: [B, 3, F, H, W] to [B, N, C]."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        kernel = (variant.tubelet, variant.patch, variant.patch)
        self.proj = nn.Conv3d(3, variant.width, kernel, stride=kernel)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.proj(x), "b c t h w -> b (t h w) c")


class Block(nn.Module):
    """Pre-norm transformer block, without layer scale: [B, N, C] to the same."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(variant.width, eps=NORM_EPS)
        self.attn = Attention(variant.width, variant.heads)
        self.norm2 = nn.LayerNorm(variant.width, eps=NORM_EPS)
        self.mlp = Mlp(variant.width, variant.hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Self-attention whose queries and values have a bias, and whose keys have none.

    A bias of the keys would cancel in the softmax.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.qkv = Linear(width, 3 * width, bias=False)
        self.proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = linear(x, self.qkv.weight, bias)
        q, k, v = rearrange(qkv, "b n (three h c) -> three b h n c", three=3, h=self.heads)
        mixed = F.scaled_dot_product_attention(q, k, v)  # scaled by 1/sqrt(channels of a head)
        return self.proj(rearrange(mixed, "b h n c -> b n (h c)"))


def load(weights: Weights, variant: Variant) -> VideoMae:
    """The network with published weights, in evaluation mode, on the CPU.

    Raises:
        VadError: `checkpoint-invalid`, with every parameter that is missing, unknown or of another
            shape.
    """
    what = f"VideoMAE V2 ({variant.width} wide, {variant.depth} blocks, patch {variant.patch})"
    return build(lambda: VideoMae(variant), weights, rename=published_names, what=what)


def published_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name in the file to name in the network, without what training set-ups put in front."""
    return {name: _bare(name) for name in state}


def _bare(name: str) -> str:
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name
