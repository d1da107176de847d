"""The embedding of a clip's tubelets, and a motion score for each token.

Source: STPrivacy (Li et al., "STPrivacy: Spatio-Temporal Privacy-Preserving Action Recognition",
ICCV 2023) for the embedding; the two motion scores are those of the published code of STPVAD, with
its faults repaired and kept under `reference`.

Shapes: B clips, F frames, H W pixels, P patches of a tubelet, N tokens of a clip, D width.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vad.errors import ConfigError, ShapeError
from vad.models.grid import ClipGrid
from vad.models.products import linear

Motion = Literal["time-reversal", "variance"]
SOFT_TEMPERATURE = 0.3  # of the motion scores, in the loss of soft pruning


class TubeletEmbedding(nn.Module):
    """A 3-d convolution whose kernel and stride are one patch of one tubelet.

    Computed as one matrix product over the patches, which is what it is. `proj` is the published
    name of the parameters.

    Args:
        grid: of the clips.
        dim: D.
    """

    def __init__(self, grid: ClipGrid, dim: int) -> None:
        super().__init__()
        self.grid = grid
        kernel = (grid.tubelet_frames, grid.patch, grid.patch)
        self.proj = nn.Conv3d(grid.channels, dim, kernel, stride=kernel)

    def forward(self, clip: Tensor) -> Tensor:
        """[B, 3, F, H, W], RGB from 0 to 1, to tokens [B, N, D] without position.

        Raises:
            ShapeError: the clip is not of the grid's size.
        """
        return linear(self._cut(clip), self.proj.weight.flatten(1), self.proj.bias)

    def reversed(self, clip: Tensor) -> Tensor:
        """The tokens of the clip with the frames of each tubelet in reversed order: [B, N, D].

        The published code reverses the clip, so that its tubelets come out in reversed order, too.
        """
        weight = self.proj.weight.flip(2).flatten(1)
        return linear(self._cut(clip), weight, self.proj.bias)

    def _cut(self, clip: Tensor) -> Tensor:
        """[B, 3, F, H, W] to [B, N, values of a patch]."""
        grid = self.grid
        sizes = (grid.channels, grid.frames, grid.height, grid.width)
        if clip.ndim != 5 or tuple(clip.shape[1:]) != sizes:
            expected = f"[B, {', '.join(str(n) for n in sizes)}]"
            raise ShapeError("clip", expected=expected, got=tuple(clip.shape))
        return rearrange(
            clip,
            "b c (t f) (h y) (w x) -> b (t h w) (c f y x)",
            f=grid.tubelet_frames,
            y=grid.patch,
            x=grid.patch,
        )


def motion_kind(name: str) -> Motion:
    """The kind of motion score by its name; the published spelling `varience` is accepted.

    Raises:
        ConfigError: there is no such kind.
    """
    kind = "variance" if name == "varience" else name
    if kind not in get_args(Motion):
        known = " and ".join(get_args(Motion))
        raise ConfigError({"motion": f"{name!r} is unknown; known are {known}"})
    return cast(Motion, kind)


def motion_score(
    kind: Motion, embedding: TubeletEmbedding, clip: Tensor, tokens: Tensor, *, reference: bool
) -> Tensor:
    """How much each patch moves: [B, N], 0 and up, in units of the embedding.

    Args:
        kind: `time-reversal` compares a tubelet with itself played backwards, `variance` with the
            tubelet before it.
        embedding: that made the tokens.
        clip: [B, 3, F, H, W].
        tokens: [B, N, D], without position.
        reference: `time-reversal` in the published form, which compares a tubelet with the one at
            the other end of the clip. No effect on `variance`.
    """
    tubelets = embedding.grid.tubelets
    if kind == "variance":
        return variance_score(tokens, tubelets)
    backwards = embedding.reversed(clip)
    if reference:
        backwards = rearrange(
            rearrange(backwards, "b (t p) d -> b t p d", t=tubelets).flip(1), "b t p d -> b (t p) d"
        )
    return ((tokens - backwards) / 2).norm(dim=-1)


def variance_score(tokens: Tensor, tubelets: int) -> Tensor:
    """Distance of a token to the same patch one tubelet earlier: [B, N, D] to [B, N].

    The first tubelet takes the score of the second; there must be two. The published form fits
    exactly two tubelets, and there gives the same numbers.
    """
    steps = rearrange(tokens, "b (t p) d -> b t p d", t=tubelets).diff(dim=1).norm(dim=-1)
    return rearrange(torch.cat([steps[:, :1], steps], dim=1), "b t p -> b (t p)")


def hard_motion_loss(decision: Tensor, score: Tensor, *, reference: bool) -> Tensor:
    """Rewards keeping what moves, for one pruning location. 0-d, falls with more motion kept.

    Args:
        decision: [B, N], 1 for kept tokens.
        score: [B, N], of `motion_score`.
        reference: the published form, a sum over clips and tokens whose gradient also reaches the
            embedding through the score. Otherwise the mean, and the score is a constant.
    """
    if reference:
        return -(decision * score).sum()
    return -(decision * score.detach()).mean()


def soft_motion_loss(mask: Tensor, score: Tensor) -> Tensor:
    """KL divergence from the soft mask to where the motion is, for one pruning location. 0-d.

    Args:
        mask: [B, N], 0 to 1.
        score: [B, N], of `motion_score`; a constant here.
    """
    score = score.detach()
    spread = score.std(dim=-1, keepdim=True) + 1e-6
    target = ((score - score.mean(dim=-1, keepdim=True)) / spread / SOFT_TEMPERATURE).softmax(-1)
    share = mask / (mask.sum(dim=-1, keepdim=True) + 1e-8)
    return F.kl_div(torch.log(share + 1e-8), target, reduction="batchmean")
