"""The two-layer transformer of UR-DMU, with a learned and a fixed, distance-based attention.

The arithmetic is the published one, in an order that costs less:

* The local branch is `concat(global, G r) W` with r a linear image of the input and G fixed. A sum
  over snippets and a linear map over channels commute, so G is applied last, to a product whose
  two weight matrices are multiplied first; no concatenation is made.
* G decays by exp(-1/e) a step. Long sequences use its band; nothing of size T x T is made for them.
* The learned branch uses `scaled_dot_product_attention`, which is linear in memory, too.

Shapes: B bags, T snippets, D width, H heads, E = head width.
"""

from __future__ import annotations

import functools
import math
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vad.models.products import Linear, linear

DENSE_UP_TO = 512  # snippets; above, the banded form is faster and needs no T x T matrix
BAND_RADIUS = 64  # exp(-64/e) = 6e-11, far below float32's resolution
BAND_BLOCK = 128


class Transformer(nn.Module):
    """`depth` layers of pre-norm attention and pre-norm feed-forward, each with a residual.

    There is no positional encoding and no final norm, as published. Parameter names are those of
    the published checkpoints below `selfatt.`.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PreNorm(dim, Attention(dim, heads, head_dim, dropout)),
                    PreNorm(dim, FeedForward(dim, mlp_dim, dropout)),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, T, D] to [B, T, D].

        Args:
            lengths: [B], snippets of each bag; what comes after them is padding that no snippet
                sees. None: all T.
        """
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            x = x + attention(x, lengths)
            x = x + feed_forward(x)
        return x


class PreNorm(nn.Module):
    """Layer norm (eps 1e-5) in front of a module."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor, *args: Tensor | None) -> Tensor:
        return self.fn(self.norm(x), *args)


class Attention(nn.Module):
    """Learned attention over all snippets beside a fixed one that decays with distance."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = Linear(dim, 4 * heads * head_dim, bias=False)  # rows q, k, v, r
        self.to_out = nn.Sequential(Linear(2 * heads * head_dim, dim), Dropout(dropout))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, T, D] to [B, T, D], without norm and residual; `lengths` as in `Transformer`."""
        project, drop = cast(nn.Linear, self.to_out[0]), self.to_out[1]
        inner = self.to_qkv.out_features // 4
        # Columns of the output layer: head-major, in each head first global, then local.
        w_global, w_local = rearrange(
            project.weight, "d (h two e) -> two d (h e)", h=self.heads, two=2
        )
        w_qkv, w_r = self.to_qkv.weight.split([3 * inner, inner])
        # Split once: a second split of q, k and v alone would copy their gradients twice more.
        *qkv, local = linear(x, torch.cat([w_qkv, w_local @ w_r])).split(
            [inner, inner, inner, x.shape[-1]], dim=-1
        )
        q, k, v = (rearrange(part, "b t (h e) -> b h t e", h=self.heads) for part in qkv)
        seen = None if lengths is None else inside(lengths, x.shape[1])[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        attended = rearrange(attended, "b h t e -> b t (h e)")
        return drop(add_local(linear(attended, w_global, project.bias), local, lengths))


class FeedForward(nn.Module):
    """Linear, GELU (exact), Linear, each followed by dropout as published."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = feed_forward(dim, hidden, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def feed_forward(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """The layers of `FeedForward`: linear maps at 0 and 3, as published checkpoints number them."""
    return nn.Sequential(
        Linear(dim, hidden),
        nn.GELU(),
        Dropout(dropout),
        Linear(hidden, dim),
        Dropout(dropout),
    )


class Dropout(nn.Module):
    """Dropout that costs a fifth of torch's on the CPU, where its bit mask is the slow part.

    Compares random bytes (16-bit words, if `p` is no multiple of 1/256) with a threshold. They come
    from the default generator, as torch's own do; on a GPU torch's own is used.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * keep_mask(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def keep_mask(x: Tensor, p: float) -> Tensor:
    """Zeros (probability p) and 1/(1-p), shaped like x, from the default CPU generator."""
    levels, word = (256, torch.uint8) if (p * 256).is_integer() else (65536, torch.uint16)
    drop = round(p * levels)
    per_draw = 8 * 8 // (8 if levels == 256 else 16)
    draws = torch.empty(-(-x.numel() // per_draw), dtype=torch.int64)
    # The full range of int64; torch's plain `random_()` leaves the sign bit out.
    draws.random_(-(2**63), None)
    words = draws.view(word)[: x.numel()]
    if word is torch.uint16:
        words = words.to(torch.int32)
    # `drop` of `levels` words are dropped, so this scale keeps the mean exactly.
    return (words >= drop).to(x.dtype).mul_(levels / (levels - drop)).view(x.shape)


def inside(lengths: Tensor, width: int) -> Tensor:
    """Which of `width` snippets belong to bags of these lengths: [B] to [B, width] bool."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def add_local(base: Tensor, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """`base + G x` for the fixed matrix G of `distance_matrix`, along the snippets.

    Args:
        base, x: [B, T, D].
        lengths: [B], snippets of each bag, whose own G each takes; None: all T.
    """
    length = x.shape[1]
    if lengths is not None:
        return base + _banded(x, lengths)
    if length <= DENSE_UP_TO:
        matrix = distance_matrix(length, x.device, x.dtype)
        return torch.baddbmm(base, matrix.expand(x.shape[0], -1, -1), x)
    return base + _banded(x)


@functools.lru_cache(maxsize=8)
def distance_matrix(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """G [T, T]: exp(-|i-j|/e) over the sum of row j, e being Euler's number.

    Dividing by the sum of row j normalises columns, not rows, so rows near the ends do not add up
    to 1. A quirk of the published code that trained weights depend on.
    """
    with torch.inference_mode(False), torch.no_grad():
        at = torch.arange(length, device=device, dtype=torch.float64)
        decay = torch.exp(-(at[:, None] - at[None, :]).abs() / math.e)
        return (decay / decay.sum(1)).to(dtype)


@functools.lru_cache(maxsize=4)
def _band(device: torch.device, dtype: torch.dtype) -> Tensor:
    """exp(-distance/e) from a block's snippets to its window: [block, block + 2 radius]."""
    with torch.inference_mode(False), torch.no_grad():
        rows = torch.arange(BAND_BLOCK, device=device, dtype=torch.float64)
        columns = torch.arange(BAND_BLOCK + 2 * BAND_RADIUS, device=device, dtype=torch.float64)
        distance = (rows[:, None] + BAND_RADIUS - columns[None, :]).abs()
        return torch.exp(-distance / math.e).to(dtype)


def _banded(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """G x for long sequences: each block of snippets sees itself and `BAND_RADIUS` on both sides.

    Args:
        x: [B, T, D].
        lengths: [B], see `add_local`.
    """
    length = x.shape[1]
    step = math.exp(-1 / math.e)
    at = torch.arange(length, device=x.device, dtype=torch.float64)
    # The sum of row j is two geometric series: to the left with j itself, and to the right.
    ends = length if lengths is None else lengths[:, None]
    sums = (1 - step ** (at + 1) + step - step ** (ends - at)) / (1 - step)
    scaled = x / sums.to(x.dtype)[..., None]
    if lengths is not None:
        scaled = scaled.masked_fill(~inside(lengths, length)[..., None], 0)
    tail = -length % BAND_BLOCK
    padded = F.pad(scaled, (0, 0, BAND_RADIUS, BAND_RADIUS + tail))
    windows = padded.unfold(1, BAND_BLOCK + 2 * BAND_RADIUS, BAND_BLOCK)  # [B, blocks, D, window]
    local = torch.einsum("pw,bndw->bnpd", _band(x.device, x.dtype), windows)
    return rearrange(local, "b n p d -> b (n p) d")[:, :length]
