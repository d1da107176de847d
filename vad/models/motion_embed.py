"""How a clip is cut into tubelets, their embedding, and a motion score for each token.

A tubelet is a stretch of frames; a patch is a square of one tubelet; each patch is one token. Token
index = tubelet * P + row * columns + column.

Source: STPrivacy (Li et al., "STPrivacy: Spatio-Temporal Privacy-Preserving Action Recognition",
ICCV 2023) for the embedding; the two motion scores are those of the published code of STPVAD, with
its faults repaired and kept under `reference`.

Shapes: B clips, F frames, H W pixels, P patches of a tubelet, N tokens of a clip, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vad.errors import ConfigError, ShapeError

Motion = Literal["time-reversal", "variance"]
CHANNELS = 3
SOFT_TEMPERATURE = 0.3  # of the motion scores, in the loss of soft pruning


@dataclass(frozen=True, kw_only=True)
class ClipGrid:
    """The sizes of a clip and how it is cut. Exactly one of the two tubelet fields is given.

    The published option `num_tubelet` is handed to a parameter that means frames per tubelet; here
    each name has one meaning.

    Args:
        height, width: pixels, multiples of `patch`.
        frames: of a clip.
        patch: side of a patch in pixels.
        tubelet_size: frames of a tubelet.
        num_tubelet: tubelets of a clip.

    Raises:
        ConfigError: a size is not positive or not divisible; all such fields at once.
    """

    height: int
    width: int
    frames: int = 16
    patch: int = 16
    tubelet_size: int | None = None
    num_tubelet: int | None = None

    def __post_init__(self) -> None:
        wrong = {
            name: f"{value} is not a positive number"
            for name, value in vars(self).items()
            if value is not None and value < 1
        }
        if (self.tubelet_size is None) == (self.num_tubelet is None):
            wrong["tubelet_size"] = "give exactly one of tubelet_size and num_tubelet"
        if not wrong:
            for name, whole, part in (
                ("height", self.height, self.patch),
                ("width", self.width, self.patch),
                ("tubelet_size", self.frames, self.tubelet_size or 1),
                ("num_tubelet", self.frames, self.num_tubelet or 1),
            ):
                if whole % part:
                    what = f"{self.frames} frames" if "tubelet" in name else f"{whole} pixels"
                    wrong[name] = f"{what} cannot be cut into equal parts by {part}"
        if wrong:
            raise ConfigError(wrong, what="The clip grid")

    @property
    def tubelets(self) -> int:
        """Tubelets of a clip."""
        return self.num_tubelet or self.frames // cast(int, self.tubelet_size)

    @property
    def tubelet_frames(self) -> int:
        """Frames of a tubelet."""
        return self.frames // self.tubelets

    @property
    def rows(self) -> int:
        """Patches from top to bottom."""
        return self.height // self.patch

    @property
    def columns(self) -> int:
        """Patches from left to right."""
        return self.width // self.patch

    @property
    def patches(self) -> int:
        """P, patches of a tubelet."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """N, patches of a clip."""
        return self.tubelets * self.patches

    @property
    def patch_values(self) -> int:
        """Numbers in a patch of a tubelet: pixels times frames times channels."""
        return self.patch**2 * self.tubelet_frames * CHANNELS


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
        self.proj = nn.Conv3d(CHANNELS, dim, kernel, stride=kernel)

    def forward(self, clip: Tensor) -> Tensor:
        """[B, 3, F, H, W], RGB from 0 to 1, to tokens [B, N, D] without position.

        Raises:
            ShapeError: the clip is not of the grid's size.
        """
        return F.linear(self._cut(clip), self.proj.weight.flatten(1), self.proj.bias)

    def reversed(self, clip: Tensor) -> Tensor:
        """The tokens of the clip with the frames of each tubelet in reversed order: [B, N, D].

        The published code reverses the clip, so that its tubelets come out in reversed order, too.
        """
        weight = self.proj.weight.flip(2).flatten(1)
        return F.linear(self._cut(clip), weight, self.proj.bias)

    def _cut(self, clip: Tensor) -> Tensor:
        """[B, 3, F, H, W] to [B, N, values of a patch]."""
        grid = self.grid
        sizes = (CHANNELS, grid.frames, grid.height, grid.width)
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
