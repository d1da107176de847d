"""UR-DMU, stage 1: which snippet of a video is abnormal, learned from video-level labels.

Source: Zhou, Yu, Yang, "Dual Memory Units with Uncertainty Regulation for Weakly Supervised Video
Anomaly Detection", AAAI 2023, and its published code. Parameter names are those of the published
checkpoints, so these load as they are.

Two linear maps that follow each other are multiplied first where that is cheaper. What a memory
says of a snippet is `a M` (a: [.., K] slot weights, M: [K, D] slots), and the encoders of the
uncertainty regulation are linear: `(a M) W + b` is `a (M W) + b`, with K = 60 instead of D = 512
channels. The published order gives the same numbers up to rounding.

Shapes: B bags of one label, N crops, T snippets, D features, C = 512 channels, K memory slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from vad.errors import ShapeError
from vad.models.memory import MemoryUnit, slot_weights, top_count, top_slot_score
from vad.models.products import Linear, linear
from vad.models.transformer import Transformer

WIDTH = 512
NORM_FLOOR = 1e-12  # the published L2 norm has no floor and gives NaN for a vector of zeros
MARGIN = 100.0  # of the distance loss


@dataclass(frozen=True)
class BagOutput:
    """What the training forward gives; the losses are made from it. Crops are averaged."""

    normal_scores: Tensor  # [B, T], 0 to 1
    abnormal_scores: Tensor  # [B, T]
    a_att: Tensor  # [B, T], abnormal memory on abnormal bags
    n_aatt: Tensor  # [B, T], normal memory on abnormal bags
    a_natt: Tensor  # [B, T], abnormal memory on normal bags
    n_att: Tensor  # [B, T], normal memory on normal bags
    triplet: Tensor  # []
    kl: Tensor  # []
    distance: Tensor  # []
    a_index: Tensor  # [B*N, k], snippets with the largest a_att, largest first
    n_index: Tensor  # the same for n_att
    p_index: Tensor  # the same for n_aatt
    snippet_features: Tensor | None = None  # [2*B*N, T, 2C], normal bags first, if asked for
    top: int | None = None  # k, how many snippets stand for a bag; None is floor(T/16)+1


@dataclass(frozen=True)
class SnippetOutput:
    """What the test forward gives."""

    scores: Tensor  # [B, T], 0 to 1, averaged over crops
    a_att: Tensor  # [B*N, T], abnormal memory
    n_att: Tensor  # [B*N, T], normal memory
    snippet_features: Tensor | None = None  # [B*N, T, 2C], if asked for


class UrDmu(nn.Module):
    """The network.

    Args:
        feature_dim: D of the input features.
        memory_slots: K of each of the two memory units.
        dropout: in the transformer.
    """

    def __init__(self, feature_dim: int, *, memory_slots: int = 60, dropout: float = 0.5) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embedding = Embedding(feature_dim, WIDTH)
        self.cls_head = ScoreHead(2 * WIDTH, 128)
        self.Amemory = MemoryUnit(memory_slots, WIDTH)
        self.Nmemory = MemoryUnit(memory_slots, WIDTH)
        self.selfatt = Transformer(WIDTH, 2, 4, 128, WIDTH, dropout=dropout)
        self.encoder_mu = nn.Sequential(Linear(WIDTH, WIDTH))
        self.encoder_var = nn.Sequential(Linear(WIDTH, WIDTH))

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embedding and transformer: [B, T, D] to [B, T, C]; `lengths` as in `Transformer`."""
        return self.selfatt(self.embedding(x), lengths)

    def forward(self, x: Tensor, *, with_features: bool = False) -> SnippetOutput:
        """Score videos. No noise, both memories see every snippet; the same for any label.

        Args:
            x: [B, T, D] or [B, N, T, D].
            with_features: also return the fused features, not averaged over crops.
        """
        return self._score(x, None, with_features)

    def score_padded(self, x: Tensor, lengths: Tensor) -> SnippetOutput:
        """Score videos of different lengths together, each as `forward` would alone.

        Args:
            x: [B, N, T, D], zeros after the end of a video, as outside of it.
            lengths: [B], the videos' snippets; what comes out after them means nothing.
        """
        return self._score(x, lengths.repeat_interleave(x.shape[1]), False)

    def _score(self, x: Tensor, lengths: Tensor | None, with_features: bool) -> SnippetOutput:
        """`lengths` [B*N] as in `encode`."""
        flat, crops = self._flatten("x", x)
        x = self.encode(flat, lengths)
        weights = self._slot_weights(x)
        mu = cast(nn.Linear, self.encoder_mu[0])
        regulated = self._project_slots(mu.weight)
        bias = 2 * mu.bias
        scores = self.cls_head(x, weights, regulated, bias)
        att = top_slot_score(rearrange(weights, "b t (two k) -> two b t k", two=2))
        features = (
            torch.cat([x, linear(weights, regulated.t(), bias)], -1) if with_features else None
        )
        return SnippetOutput(_mean_crops(scores, crops), att[0], att[1], features)

    def forward_bags(
        self,
        normal: Tensor,
        abnormal: Tensor,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        with_features: bool = False,
        top: int | None = None,
    ) -> BagOutput:
        """The training forward over normal and abnormal bags, in one pass.

        Args:
            normal, abnormal: [B, T, D] or [B, N, T, D], of equal shape.
            noise: [B*N, T, C], standard normal, for the sampling of the normal bags' latent; drawn
                from `generator` when absent.
            generator: on the device of the bags.
            with_features: also return the fused features.
            top: k, how many snippets stand for a bag in the losses, at most T; floor(T/16)+1, as
                published, when absent.

        Raises:
            ShapeError: the bags differ in shape, or are not D wide.
        """
        if normal.shape != abnormal.shape:
            raise ShapeError(
                "abnormal", expected=f"{tuple(normal.shape)} as normal has", got=abnormal.shape
            )
        flat, crops = self._flatten("normal", torch.cat([normal, abnormal]))
        x = self.encode(flat)
        half = x.shape[0] // 2
        if noise is None:
            noise = torch.randn(
                (half, *x.shape[1:]), generator=generator, device=x.device, dtype=x.dtype
            )
        mu, var = (cast(nn.Linear, e[0]) for e in (self.encoder_mu, self.encoder_var))
        weights = self._slot_weights(x)
        slots = self.Amemory.memory_block.shape[0]
        regulated = self._project_slots(mu.weight)

        # The latent of normal bags is sampled around what the normal memory says of them.
        n_weights = weights[:half, :, slots:]
        mu_n = linear(n_weights, regulated[slots:].t(), mu.bias)
        log_var = linear(n_weights, (self.Nmemory.memory_block @ var.weight.t()).t(), var.bias)
        sampled = noise * torch.exp(0.5 * log_var)

        scores = self.cls_head(x, weights, regulated, 2 * mu.bias, sampled)
        att = top_slot_score(rearrange(weights, "b t (two k) -> two b t k", two=2))
        a_natt, a_att = att[0].split(half)
        n_att, n_aatt = att[1].split(half)
        k = top or top_count(x.shape[1])
        a_index, n_index, p_index = (v.topk(k, dim=-1).indices for v in (a_att, n_att, n_aatt))

        def at(values: Tensor, index: Tensor) -> Tensor:
            """Mean over the chosen snippets and the crops: [B*N, T, C] to [B, C]."""
            chosen = values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
            return reduce(chosen, "(b n) k c -> b c", "mean", n=crops)

        normal_x, abnormal_x = x.split(half)
        anchor, positive, negative = (
            F.normalize(v, dim=-1, eps=NORM_FLOOR)
            for v in (at(normal_x, n_index), at(abnormal_x, p_index), at(abnormal_x, a_index))
        )
        latent_a = linear(at(weights[half:, :, :slots], a_index), regulated[:slots].t(), mu.bias)
        latent_n = at(mu_n, n_index) + at(sampled, n_index)
        gap = MARGIN - latent_a.norm(dim=-1) + latent_n.norm(dim=-1)
        features = None
        if with_features:
            fused = linear(weights, regulated.t(), 2 * mu.bias)
            fused = torch.cat([fused[:half] + sampled, fused[half:]])
            features = torch.cat([x, fused], -1)
        normal_scores, abnormal_scores = _mean_crops(scores, crops).chunk(2)
        return BagOutput(
            normal_scores=normal_scores,
            abnormal_scores=abnormal_scores,
            a_att=_mean_crops(a_att, crops),
            n_aatt=_mean_crops(n_aatt, crops),
            a_natt=_mean_crops(a_natt, crops),
            n_att=_mean_crops(n_att, crops),
            triplet=F.triplet_margin_loss(anchor, positive, negative, margin=1.0),
            kl=kl_over_time(mu_n, log_var),
            distance=F.relu(gap).mean(),
            a_index=a_index,
            n_index=n_index,
            p_index=p_index,
            snippet_features=features,
            top=k,
        )

    def _flatten(self, name: str, x: Tensor) -> tuple[Tensor, int]:
        if x.ndim not in (3, 4) or x.shape[-1] != self.feature_dim or x.shape[-2] == 0:
            expected = f"[B, T, {self.feature_dim}] or [B, N, T, {self.feature_dim}]"
            raise ShapeError(name, expected=expected, got=tuple(x.shape))
        if x.ndim == 3:
            return x, 1
        return rearrange(x, "b n t d -> (b n) t d"), x.shape[1]

    def _slot_weights(self, x: Tensor) -> Tensor:
        """[B, T, 2K]: the abnormal memory's slots, then the normal memory's."""
        return slot_weights(x, torch.cat([self.Amemory.memory_block, self.Nmemory.memory_block]))

    def _project_slots(self, weight: Tensor) -> Tensor:
        """Both memories' slots through a linear map: [2K, C]."""
        return torch.cat([self.Amemory.memory_block, self.Nmemory.memory_block]) @ weight.t()


class Embedding(nn.Module):
    """Convolution over time (kernel 3, zero padding 1), then ReLU."""

    def __init__(self, feature_dim: int, dim: int) -> None:
        super().__init__()
        self.conv_1 = nn.Sequential(nn.Conv1d(feature_dim, dim, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, C]: one product for the three taps, then two shifted sums.

        Faster than the convolution, which wants its input transposed.
        """
        conv = cast(nn.Conv1d, self.conv_1[0])
        taps = linear(x, rearrange(conv.weight, "c d k -> (k c) d"))
        return F.relu_(_ShiftedSum.apply(taps, conv.bias))


class _ShiftedSum(torch.autograd.Function):
    """Adds up the three taps of a convolution over time, each shifted to its place.

    Autograd would give the same gradient by copying it a dozen times.
    """

    @staticmethod
    def forward(ctx: Any, taps: Tensor, bias: Tensor) -> Tensor:
        """[B, T, 3C], [C] to [B, T, C]."""
        ctx.dtype = taps.dtype
        before, now, after = taps.chunk(3, dim=-1)
        out = now + bias
        out[:, 1:] += before[:, :-1]
        out[:, :-1] += after[:, 1:]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        taps = grad.new_zeros(*grad.shape[:-1], 3 * grad.shape[-1], dtype=ctx.dtype)
        before, now, after = taps.chunk(3, dim=-1)
        before[:, :-1], now[:], after[:, 1:] = grad[:, 1:], grad, grad[:, :-1]
        return taps, grad.sum((0, 1))


class ScoreHead(nn.Module):
    """Linear, ReLU, Linear, sigmoid over the fused features."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(dim, hidden), nn.ReLU(), Linear(hidden, 1))

    def forward(
        self,
        x: Tensor,
        weights: Tensor,
        regulated: Tensor,
        bias: Tensor,
        sampled: Tensor | None = None,
    ) -> Tensor:
        """Scores of `x || weights @ regulated + bias (+ sampled)`, without making that tensor.

        Args:
            x: [B, T, C].
            weights: [B, T, 2K] slot weights.
            regulated: [2K, C], the slots through the encoder.
            bias: [C], the encoder's, once for each memory.
            sampled: [B/2, T, C], the noise added to the first half.

        Returns:
            [B, T], 0 to 1.
        """
        first, last = cast(nn.Linear, self.mlp[0]), self.mlp[2]
        w_x, w_fused = first.weight.chunk(2, dim=1)
        hidden = linear(x, w_x, first.bias + w_fused @ bias)
        hidden = hidden + linear(weights, w_fused @ regulated.t())
        if sampled is not None:
            hidden[: sampled.shape[0]] += linear(sampled, w_fused)
        return _to_scores(last(F.relu_(hidden)))

    def of_fused(self, features: Tensor) -> Tensor:
        """Scores of fused features that were made: [B, T, 2C] to [B, T]."""
        return _to_scores(self.mlp(features))


def _to_scores(logits: Tensor) -> Tensor:
    """Sigmoid in float32, whatever the product was computed in: [B, T, 1] to [B, T]."""
    return torch.sigmoid(logits.float()).squeeze(-1)


def kl_over_time(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL divergence to the standard normal, summed over **time**, mean over bags and channels.

    The published code sums over the time axis, not over the latent one, so the value grows with T.

    Args:
        mu, log_var: [B, T, C].
    """
    return -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1).mean()


def _mean_crops(values: Tensor, crops: int) -> Tensor:
    """[B*N, T] to [B, T]."""
    if crops == 1:
        return values
    return reduce(values, "(b n) t -> b t", "mean", n=crops)
