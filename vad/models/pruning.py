"""Token pruning: which patches of a clip are worth looking at, decided inside the transformer.

While training no token leaves; a policy hides the dropped ones from the others, and the decision is
a Gumbel sample whose gradient is that of the probabilities. While testing, the best tokens of each
tubelet stay and the others are removed. Soft pruning weighs tokens instead of removing them.

Source: DynamicViT (Rao et al., "DynamicViT: Efficient Vision Transformers with Dynamic Token
Sparsification", NeurIPS 2021), in the form of STPrivacy (Li et al., ICCV 2023), which adds the
tubelets, and of the published code of STPVAD, which adds soft pruning.

Shapes: B clips, H heads, N tokens, t tubelets, P patches of a tubelet, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from vad.errors import ConfigError, ShapeError
from vad.models.grid import ClipGrid
from vad.models.products import Linear

POLICY_EPS = 1e-6
EMPTY_FLOOR = 1e-6  # the published means over kept tokens have no floor: an empty tubelet gives NaN
SOFT_THRESHOLD = 0.486
SOFT_TEMPERATURE = 0.1
RATIO_WEIGHT = 2.0  # DynamicViT's weight of the ratio loss


def policy_softmax(logits: Tensor, policy: Tensor) -> Tensor:
    """Attention weights under a policy: a dropped token is invisible, except to itself.

    `w_ij = (E_ij + eps/N) / (sum_j E_ij + eps)`, E being the exponential below the row's maximum,
    over dropped columns too, times the policy of column j (1 for j = i). In float32, as published.

    Args:
        logits: [B, H, N, N].
        policy: [B, N], 1 for kept, 0 for dropped tokens, or between.

    Returns:
        [B, H, N, N], in the type of the logits. Rows add up to 1.
    """
    scaled = logits.float()
    kept = policy.float()[:, None, :]
    itself = torch.eye(policy.shape[1], device=policy.device, dtype=torch.float32)
    visible = kept + (1 - kept) * itself
    weights = (scaled - scaled.amax(dim=-1, keepdim=True)).exp() * visible[:, None]
    total = weights.sum(dim=-1, keepdim=True) + POLICY_EPS
    return ((weights + POLICY_EPS / policy.shape[1]) / total).to(logits.dtype)


class ScorePredictor(nn.Module):
    """Scores tokens by themselves, by their tubelet and by the whole clip.

    Args:
        dim: D, a multiple of 3, at least 6.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(dim), Linear(dim, dim), nn.GELU())
        self.out_conv = nn.Sequential(
            Linear(dim, dim // 2),
            nn.GELU(),
            Linear(dim // 2, dim // 4),
            nn.GELU(),
            Linear(dim // 4, 2),
        )

    def forward(self, x: Tensor, policy: Tensor, tubelets: int) -> Tensor:
        """Logarithms of the probabilities to keep and to drop.

        Args:
            x: [B, N, D], the same number of tokens for each tubelet.
            policy: [B, N], what was kept so far, 0 to 1.
            tubelets: of a clip.

        Returns:
            [B, N, 2] float32, whatever x is; channel 0 is "keep".
        """
        return F.log_softmax(self._logits(x, policy, tubelets), dim=-1, dtype=torch.float32)

    def _logits(self, x: Tensor, policy: Tensor, tubelets: int) -> Tensor:
        own, frame, video = self.in_conv(x).chunk(3, dim=-1)
        weight = policy[..., None]
        frame, frame_weight = (
            rearrange(v, "b (t p) d -> b t p d", t=tubelets) for v in (frame, weight)
        )
        frame = repeat(_mean(frame, frame_weight), "b t d -> b (t p) d", p=frame.shape[2])
        video = _mean(video, weight)[:, None].expand_as(own)
        return self.out_conv(torch.cat([own, frame.to(own), video.to(own)], dim=-1))


class SoftScorePredictor(ScorePredictor):
    """The predictor of soft pruning: probabilities, and a mask that is cut at a threshold.

    `keep_threshold` is a parameter in the published checkpoints, frozen at 0.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.keep_threshold = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x: Tensor, policy: Tensor, tubelets: int) -> Tensor:
        """As of `ScorePredictor`, but the probabilities themselves: [B, N, 2]."""
        return F.softmax(self._logits(x, policy, tubelets), dim=-1, dtype=torch.float32)

    def mask(self, probabilities: Tensor, previous: Tensor) -> Tensor:
        """How much of each token stays: [B, N], 0 to 1; exactly 0 or 1 when not training.

        Args:
            probabilities: [B, N, 2], of `forward`.
            previous: [B, N], the mask of the location before.
        """
        above = probabilities[..., 0] - (SOFT_THRESHOLD + self.keep_threshold)
        if self.training:
            return torch.sigmoid(above / SOFT_TEMPERATURE) * previous
        return (above >= 0).to(previous.dtype) * previous


def gumbel_keep(log_probabilities: Tensor, noise: Tensor) -> Tensor:
    """Sample keep or drop, temperature 1; the gradient is that of the soft sample.

    Args:
        log_probabilities: [B, N, 2], channel 0 is "keep".
        noise: [B, N, 2], of `gumbel_noise`.

    Returns:
        [B, N, 2], one-hot.
    """
    soft = F.softmax(log_probabilities + noise, dim=-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return straight_through(hard, soft)


def gumbel_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel noise, `-log` of an exponential variable, shaped like a tensor.

    Args:
        like: any shape.
        generator: on the device of `like`; torch's default one when absent.
    """
    return -torch.empty_like(like).exponential_(generator=generator).log()


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The numbers of `hard`, exactly, with the gradient of `soft`; same shape both."""
    return hard + (soft - soft.detach())


def kept_count(patches: int, ratio: float) -> int:
    """Tokens that stay of each tubelet: `floor(P * ratio)`, safe against binary rounding.

    Without the guard 57 % of 100 patches are 56, since 100 * 0.57 falls just below 57.
    """
    return math.floor(patches * ratio + 1e-6)


def top_of_tubelets(scores: Tensor, tubelets: int, count: int) -> Tensor:
    """Positions of each tubelet's best tokens, in ascending order; a tie goes to the first.

    The published code leaves them in the order of their scores, which the order-dependent layers
    behind the encoder then see.

    Args:
        scores: [B, N], the same number of tokens for each tubelet.
        tubelets: of a clip.
        count: tokens to keep of each tubelet.

    Returns:
        [B, tubelets * count] int64, into the N tokens.
    """
    grouped = rearrange(scores, "b (t p) -> b t p", t=tubelets)
    best = grouped.sort(dim=-1, descending=True, stable=True).indices[..., :count]
    first = torch.arange(tubelets, device=scores.device)[:, None] * grouped.shape[-1]
    return rearrange(best.sort(dim=-1).values + first, "b t k -> b (t k)")


def gather_tokens(x: Tensor, positions: Tensor) -> Tensor:
    """The tokens at some positions: [B, N, D] and [B, K] to [B, K, D]."""
    return x.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))


def scatter_scores(
    scores: Tensor, index: Tensor, grid: ClipGrid, *, fill: float
) -> tuple[Tensor, Tensor]:
    """Put the scores of the tokens that are left back at their places in the clip.

    Args:
        scores: [B, K], one for each token that is left.
        index: [B, K] int64, the original token index, as the encoder returns it.
        grid: of the clip.
        fill: score of the pruned patches.

    Returns:
        scores [B, t, rows, columns], and which were kept, boolean, of the same shape.

    Raises:
        ShapeError: scores and index differ in shape.
    """
    if scores.ndim != 2 or scores.shape != index.shape:
        raise ShapeError("scores", expected=f"{tuple(index.shape)}, [B, K]", got=scores.shape)
    empty = scores.new_full((len(scores), grid.tokens), fill)
    kept = torch.zeros_like(empty, dtype=torch.bool).scatter(1, index, True)
    full = empty.scatter(1, index, scores)
    sizes = {"t": grid.tubelets, "h": grid.rows, "w": grid.columns}
    return (
        rearrange(full, "b (t h w) -> b t h w", **sizes),
        rearrange(kept, "b (t h w) -> b t h w", **sizes),
    )


def keep_ratio_loss(decisions: Sequence[Tensor], token_ratio: Sequence[float]) -> Tensor:
    """How far the share of kept tokens is from its target: 0-d, unweighted.

    The squared difference, averaged over clips and pruning locations. Without it nothing limits
    what is kept while training; the published code of STPVAD leaves it out.

    Args:
        decisions: for each location [B, t, P], 1 for kept tokens.
        token_ratio: for each location the share of all tokens that should be kept, 0 to 1.

    Raises:
        ConfigError: there are not as many ratios as locations, or none.

    Source: DynamicViT, its loss of the pruning ratio.
    """
    if not decisions or len(decisions) != len(token_ratio):
        text = f"{len(token_ratio)} ratios for {len(decisions)} pruning locations"
        raise ConfigError({"token_ratio": text}, what="The ratio loss")
    terms = [
        (decision.flatten(1).mean(dim=1) - ratio).square().mean()
        for decision, ratio in zip(decisions, token_ratio, strict=True)
    ]
    return torch.stack(terms).mean()


def default_ratio_weight(token_ratio: Sequence[float]) -> float:
    """Weight of the ratio loss: DynamicViT's, and 0 where everything is kept anyway."""
    return RATIO_WEIGHT if any(ratio < 1 for ratio in token_ratio) else 0.0


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean along the tokens: [..., p, d] and [..., p, 1] to [..., d]."""
    return (values * weight).sum(-2) / weight.sum(-2).clamp(min=EMPTY_FLOOR)
