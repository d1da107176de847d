"""Both stages in one module: UR-DMU over the snippets of videos, STPVAD over the patches of clips.

The parts do not call each other; training and scoring decide which clips stage 2 sees. What this
module adds is how a network is described, so that a checkpoint can be built again, and how a clip
becomes a map of scores.

Shapes: B clips, F frames, H W pixels, t tubelets, P patches of a tubelet, M snippets, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from vad.features.motion_maps import clip_maps
from vad.features.speeds import speed_map
from vad.models.grid import ClipGrid
from vad.models.pruning import scatter_scores
from vad.models.stpvad import PatchHead
from vad.models.tubelet_vit import Context, Pruning, TubeletVit
from vad.models.urdmu import UrDmu
from vad.models.views import seen_grid
from vad.training_configs import TwoStageConfig

NAME = "two-stage"
STAGE1 = "stage1."  # of parameter names
ENERGY_GAIN = 20.0  # brings walking and faster to about the scale of a picture, 0 to 1
PRUNED_SCORE = 0.0  # of a patch that was pruned away: it was not worth looking at


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that decides the shapes of the weights and what the network computes from them."""

    feature_dim: int
    memory_slots: int
    grid: ClipGrid
    dim: int
    depth: int
    heads: int
    pruning: Pruning
    places: tuple[int, ...]
    token_ratio: tuple[float, ...]
    cross_attention: bool
    context: Context = "clip"
    view: str = "rgb"
    view_cell: int = 1

    @classmethod
    def of(cls, config: TwoStageConfig, feature_dim: int) -> Self:
        return cls(
            feature_dim=feature_dim,
            memory_slots=config.memory_slots,
            grid=config.grid,
            dim=config.encoder_dim,
            depth=config.encoder_depth,
            heads=config.encoder_heads,
            pruning=cast(Pruning, config.pruning_kind),
            places=config.pruning_places,
            token_ratio=config.token_ratio,
            cross_attention=config.cross_attention,
            context=cast(Context, config.patch_context),
            view=config.clip_view,
            view_cell=config.view_cell,
        )

    @property
    def encoder_grid(self) -> ClipGrid:
        """How what the encoder sees is cut; patches and tubelets are those of `grid`."""
        return seen_grid(self.grid, self.view, self.view_cell)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        data = {"name": NAME, **dataclasses.asdict(self)}
        del data["grid"]["channels"]  # of the clips: always those of a picture
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `to_dict`. Raises KeyError, TypeError, ValueError or ConfigError."""
        known = {k: v for k, v in data.items() if k != "name"}
        for name in ("places", "token_ratio"):
            known[name] = tuple(known[name])
        return cls(**{**known, "grid": ClipGrid(**known["grid"])})


class TwoStage(nn.Module):
    """The network.

    Args:
        architecture: sizes and switches.
        dropout: of stage 1 and of the patch head.
        motion, motion_weight, reference_motion: as of `TubeletVit`; training only.
        frozen: stage 1 gets no gradient and stays in evaluation mode.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        dropout: float = 0.5,
        motion: str | None = None,
        motion_weight: float = 0.01,
        reference_motion: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.frozen = frozen
        self.stage1 = UrDmu(a.feature_dim, memory_slots=a.memory_slots, dropout=dropout)
        seen = a.encoder_grid
        self.encoder = TubeletVit(
            seen,
            dim=a.dim,
            depth=a.depth,
            heads=a.heads,
            pruning=a.pruning,
            locations=a.places,
            token_ratio=a.token_ratio,
            motion=motion,
            motion_weight=motion_weight,
            reference_motion=reference_motion,
            context=a.context,
        )
        self.head = PatchHead(
            seen.patch_values,
            memory_slots=a.memory_slots,
            dropout=dropout,
            tubelets=seen.tubelets if a.context == "patch" else None,
        )
        self.stage1.requires_grad_(not frozen)
        # It has no part in the loss, and weight decay would shrink it to nothing.
        self.head.cross_attention.requires_grad_(a.cross_attention)

    @property
    def needs_backgrounds(self) -> bool:
        """Whether the view compares clips with their video's background."""
        return self.architecture.view == "motion"

    @property
    def keeps_views(self) -> bool:
        """Whether a view is dear to make and small to keep. It is made clip by clip then."""
        return self.architecture.view in ("speed", "motion")

    @property
    def feature_dim(self) -> int:
        """D of the features that stage 1 takes."""
        return self.architecture.feature_dim

    def train(self, mode: bool = True) -> Self:
        """A frozen stage 1 stays in evaluation mode: without dropout its choices are stable."""
        super().train(mode)
        if self.frozen:
            self.stage1.eval()
        return self

    def view(self, clips: Tensor, backgrounds: Tensor | None = None) -> Tensor:
        """What the encoder sees of clips, of the size of its grid.

        Args:
            clips: [B, F, H, W, 3] uint8.
            backgrounds: [B, H, W, 3] uint8, of their videos, if `needs_backgrounds`.
        """
        a = self.architecture
        if a.view == "rgb":
            return to_input(clips)
        if a.view == "energy":
            return motion_energy(clips, a.grid, a.view_cell)
        if a.view == "speed":
            return speeds(clips, a.grid)
        return motion_maps(clips, cast(Tensor, backgrounds), a.grid)

    def patch_maps(
        self, clips: Tensor, snippets: Tensor | None, backgrounds: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score every patch of clips; in evaluation mode.

        Args:
            clips: [B, F, H, W, 3] uint8.
            snippets: [B, M, 2C], what stage 1 has for each clip; needed with cross-attention.
            backgrounds: as of `view`.

        Returns:
            Scores [B, t, P] float32, 0 to 1, `PRUNED_SCORE` where a patch was pruned; and which
            were kept, boolean, of the same shape.
        """
        encoded = self.encoder(self.view(clips, backgrounds))
        context = snippets if self.architecture.cross_attention else None
        scores = self.head(encoded.tokens, snippets=context).scores
        if self.architecture.pruning == "soft":
            # Nothing is removed; a patch that was weighed to zero counts as pruned.
            kept = encoded.decisions[-1] > 0
            scores = scores.view_as(kept).masked_fill(~kept, PRUNED_SCORE)
            return scores.float(), kept
        full, kept = scatter_scores(
            scores, encoded.index, self.architecture.encoder_grid, fill=PRUNED_SCORE
        )
        return full.flatten(2).float(), kept.flatten(2)


def to_input(clips: Tensor) -> Tensor:
    """[B, F, H, W, 3] uint8 to [B, 3, F, H, W] float32, 0 to 1, not normalised."""
    return rearrange(clips, "b f h w c -> b c f h w").to(torch.float32) / 255


def motion_energy(clips: Tensor, grid: ClipGrid, cell: int) -> Tensor:
    """How much each tubelet moves, by colour: mean square of the differences between frames.

    Squares, so that the noise of a still picture counts next to nothing beside what moves.

    Args:
        clips: [B, F, H, W, 3] uint8. The first frame takes the difference of the second.
        grid: of the clips.
        cell: side of the squares of pixels that are averaged.

    Returns:
        [B, 3, t, H / cell, W / cell], about 0 to 1; see `ClipGrid.averaged`.
    """
    steps = clips.to(torch.float32).diff(dim=1).square_()
    means = reduce(steps, "b f (h y) (w x) c -> b c f h w", "mean", y=cell, x=cell)
    means = torch.cat([means[:, :, :1], means], dim=2)
    energy = reduce(means, "b c (t f) h w -> b c t h w", "mean", f=grid.tubelet_frames)
    return energy * (ENERGY_GAIN / 255**2)


@torch.no_grad()
def speeds(clips: Tensor, grid: ClipGrid) -> Tensor:
    """How fast each patch of each tubelet moves, in pixels per frame; see `speed_map`.

    Flow looks at the surroundings of a pixel, up to about 12 pixels away.

    Args:
        clips: [B, F, H, W, 3] uint8.
        grid: of the clips.

    Returns:
        [B, 1, t, rows, columns].
    """
    cells = {"rows": grid.rows, "columns": grid.columns, "length": grid.tubelet_frames}
    return torch.stack([speed_map(clip, **cells) for clip in clips])[:, None]


@torch.no_grad()
def motion_maps(clips: Tensor, backgrounds: Tensor, grid: ClipGrid) -> Tensor:
    """The maps of the motion descriptor, averaged over each patch of each tubelet.

    A few of them look at the surroundings of a cell, up to 16 pixels away, which may belong to the
    next patch.

    Args:
        clips: [B, F, H, W, 3] uint8.
        backgrounds: [B, H, W, 3] uint8.
        grid: of the clips.

    Returns:
        [B, maps of `CLIP_MAPS`, t, rows, columns], about 0 to 3.
    """
    both = zip(clips, backgrounds, strict=True)
    found = torch.stack([clip_maps(clip, still, grid.tubelet_frames) for clip, still in both])
    sizes = {"h": grid.rows, "w": grid.columns}
    return reduce(found, "b t c (h y) (w x) -> b c t h w", "mean", **sizes)
