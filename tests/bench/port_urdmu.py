"""The published UR-DMU training step, written down plainly from its specification.

What `bench_training.py` compares with: one operation after the other, full matrices, no reordering.
Parameter names are those of `vad.models.urdmu`, so that both can hold the same weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

WIDTH, SLOTS, HEADS, HEAD = 512, 60, 4, 128


class PortedUrDmu(nn.Module):
    """Normal bags first, abnormal ones second, in one batch."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Module()
        self.embedding.conv_1 = nn.Sequential(nn.Conv1d(dim, WIDTH, 3, padding=1), nn.ReLU())
        self.cls_head = nn.Module()
        self.cls_head.mlp = nn.Sequential(nn.Linear(2 * WIDTH, 128), nn.ReLU(), nn.Linear(128, 1))
        self.Amemory, self.Nmemory = Memory(), Memory()
        self.selfatt = nn.Module()
        self.selfatt.layers = nn.ModuleList(
            nn.ModuleList([Normed(Attention(dropout)), Normed(FeedForward(dropout))])
            for _ in range(2)
        )
        self.encoder_mu = nn.Sequential(nn.Linear(WIDTH, WIDTH))
        self.encoder_var = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, noise: Tensor) -> dict[str, Any]:
        """x [2B, T, D], noise [B, T, 512]."""
        x = self.embedding.conv_1(x.transpose(1, 2)).transpose(1, 2)
        for attention, feed_forward in self.selfatt.layers:  # type: ignore[union-attr]
            x = attention(x) + x
            x = feed_forward(x) + x
        normal, abnormal = x.chunk(2)
        k = x.shape[1] // 16 + 1
        a_att, a_aug = self.Amemory(abnormal)
        n_aatt, n_aaug = self.Nmemory(abnormal)
        a_natt, a_naug = self.Amemory(normal)
        n_att, n_aug = self.Nmemory(normal)
        a_index, n_index, p_index = (v.topk(k, dim=-1).indices for v in (a_att, n_att, n_aatt))
        anchor, positive, negative = (
            F.normalize(at(values, index), dim=-1)
            for values, index in ((normal, n_index), (abnormal, p_index), (abnormal, a_index))
        )
        mu_n, var_n = self.encoder_mu(n_aug), self.encoder_var(n_aug)
        z_n = mu_n + noise * torch.sqrt(torch.exp(var_n))
        m_a = self.encoder_mu(a_aug)
        gap = 100 - at(m_a, a_index).norm(dim=-1) + at(z_n, n_index).norm(dim=-1)
        fused = torch.cat([z_n + self.encoder_mu(a_naug), m_a + self.encoder_mu(n_aaug)])
        scores = torch.sigmoid(self.cls_head.mlp(torch.cat([x, fused], -1))).squeeze(-1)
        return {
            "frame": scores,
            "a_att": a_att,
            "n_aatt": n_aatt,
            "a_natt": a_natt,
            "n_att": n_att,
            "triplet": F.triplet_margin_loss(anchor, positive, negative, margin=1.0),
            "kl": (-0.5 * (1 + var_n - mu_n**2 - var_n.exp()).sum(1)).mean(),
            "distance": F.relu(gap).mean(),
        }


class Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        bound = 1 / math.sqrt(WIDTH)
        self.memory_block = nn.Parameter(torch.empty(SLOTS, WIDTH).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.sigmoid(x @ self.memory_block.t() / math.sqrt(WIDTH))
        score = weights.topk(SLOTS // 16 + 1, dim=-1).values.mean(-1)
        return score, weights @ self.memory_block


class Normed(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(WIDTH), fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(WIDTH, 4 * HEADS * HEAD, bias=False)
        self.to_out = nn.Sequential(nn.Linear(2 * HEADS * HEAD, WIDTH), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v, r = (
            rearrange(part, "b t (h e) -> b h t e", h=HEADS) for part in self.to_qkv(x).chunk(4, -1)
        )
        learned = (q @ k.transpose(-1, -2) / math.sqrt(HEAD)).softmax(-1) @ v
        at_step = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        decay = torch.exp(-(at_step[:, None] - at_step[None, :]).abs() / math.e)
        fixed = (decay / decay.sum(1)).expand(x.shape[0], HEADS, -1, -1) @ r
        return self.to_out(rearrange(torch.cat([learned, fixed], -1), "b h t e -> b t (h e)"))


class FeedForward(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def at(values: Tensor, index: Tensor) -> Tensor:
    """Mean over the chosen snippets: [B, T, C] to [B, C]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1])).mean(1)


def ported_loss(out: dict[str, Any]) -> Tensor:
    """The weighted sum of all terms."""

    def against(values: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy(values, torch.full_like(values, label))

    memory = (
        against(top(out["a_att"]), 1.0)
        + against(top(1 - out["n_aatt"]), 1.0)
        + against(out["n_att"], 1.0)
        + against(out["a_natt"], 0.0)
    )
    return (
        score_loss(out["frame"])
        + 0.1 * memory
        + 0.1 * out["triplet"]
        + 0.001 * out["kl"]
        + 0.0001 * out["distance"]
    )


def score_loss(frame: Tensor) -> Tensor:
    """Of scores [2B, T], normal bags first."""
    labels = torch.cat([torch.zeros(len(frame) // 2), torch.ones(len(frame) // 2)]).to(frame)
    return F.binary_cross_entropy(top(frame), labels)


def top(values: Tensor) -> Tensor:
    """The mean of the floor(T/16)+1 highest of [.., T]."""
    return values.topk(values.shape[-1] // 16 + 1, dim=-1).values.mean(-1)
