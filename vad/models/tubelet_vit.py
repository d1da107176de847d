"""The tubelet transformer, the encoder of stage 2: a clip to one vector for each patch of it.

A plain vision transformer over the patches of a clip's tubelets that prunes tokens at a few of its
blocks. Called DTFE in the published code of STPVAD.

Source: STPrivacy (Li et al., "STPrivacy: Spatio-Temporal Privacy-Preserving Action Recognition",
ICCV 2023), which is built on DynamicViT (Rao et al., NeurIPS 2021). Parameter names are those of
the published checkpoints.

Shapes: B clips, F frames, H W pixels, N tokens, t tubelets, P patches of a tubelet, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vad.errors import ConfigError, ShapeError
from vad.models import motion_embed as motions
from vad.models.grid import ClipGrid
from vad.models.motion_embed import TubeletEmbedding
from vad.models.products import Linear
from vad.models.pruning import (
    ScorePredictor,
    SoftScorePredictor,
    gather_tokens,
    gumbel_keep,
    gumbel_noise,
    kept_count,
    policy_softmax,
    straight_through,
    top_of_tubelets,
)

Pruning = Literal["hard", "soft", "none"]
Context = Literal["clip", "patch"]
NORM_EPS = 1e-6
MLP_RATIO = 4


@dataclass(frozen=True)
class TubeletOutput:
    """What the encoder gives."""

    tokens: Tensor  # [B, K, values of a patch]; K = N unless hard pruning removed some in testing
    index: Tensor  # [B, K] int64, each token's place among the N, ascending
    decisions: tuple[Tensor, ...]  # per location [B, t, P] float32, how much of a token is left
    motion_loss: Tensor  # [], weighted; 0 without a motion score and when not training


@dataclass
class _State:
    """What changes from block to block."""

    x: Tensor  # [B, K, D]
    index: Tensor  # [B, K]
    left: Tensor  # [B, K] float32, how much of each token is left
    policy: Tensor | None = None  # [B, K], for the attention; None before the first location


class TubeletVit(nn.Module):
    """The network.

    Args:
        grid: sizes of the clips.
        dim: D.
        depth: blocks.
        heads: of the attention.
        pruning: `hard` removes tokens, `soft` weighs them, `none` has no score predictors.
        locations: blocks in front of which tokens are pruned, from 0, rising.
        token_ratio: for each location the share of **all** patches that stays, when testing with
            hard pruning.
        motion: kind of motion score, see `motion_score`; None for no motion loss.
        motion_weight: of the motion loss, summed over the locations.
        reference_motion: the published forms of motion score and loss, see there.
        context: what a token attends to: `clip`, to all of them, as published; `patch`, to the
            tokens of its own patch alone, and it has no position. Needs pruning `none`.

    Raises:
        ConfigError: a value that does not fit; all such fields at once.
    """

    def __init__(
        self,
        grid: ClipGrid,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        pruning: Pruning = "hard",
        locations: Sequence[int] = (3, 6, 9),
        token_ratio: Sequence[float] = (0.7, 0.5, 0.3),
        motion: str | None = None,
        motion_weight: float = 0.01,
        reference_motion: bool = False,
        context: Context = "clip",
    ) -> None:
        super().__init__()
        kind = None if motion is None else motions.motion_kind(motion)
        wrong = _misfits(grid, dim, depth, heads, pruning, locations, token_ratio)
        if kind == "variance" and grid.tubelets == 1:
            wrong["motion"] = "variance compares tubelets, and a clip has only one"
        if kind == "time-reversal" and grid.tubelet_frames == 1 and not reference_motion:
            wrong["motion"] = "time-reversal compares frames of a tubelet, which has only one"
        if context == "patch" and pruning != "none":
            wrong["context"] = "each patch by itself cannot be weighed against others"
        if wrong:
            raise ConfigError(wrong, what="The tubelet transformer")
        self.grid = grid
        self.context = context
        self.pruning = pruning
        self.locations = tuple(locations) if pruning != "none" else ()
        self.token_ratio = tuple(token_ratio) if pruning == "hard" else ()
        self.motion = kind
        self.motion_weight = motion_weight
        self.reference_motion = reference_motion

        self.patch_embed = TubeletEmbedding(grid, dim)
        self.pos_embed = nn.Parameter(
            torch.zeros(1, grid.tokens, dim), requires_grad=context == "clip"
        )
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        predictor = SoftScorePredictor if pruning == "soft" else ScorePredictor
        self.score_predictor = nn.ModuleList(predictor(dim) for _ in self.locations)
        self.norm_recon = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head_recon = Linear(dim, grid.patch_values)
        self._initialise()

    def forward(
        self,
        clip: Tensor,
        *,
        generator: torch.Generator | None = None,
        keep: Sequence[Tensor] | None = None,
    ) -> TubeletOutput:
        """Encode clips; prunes by sampling in training mode, by removing in evaluation mode.

        As published, all N tokens come out in training, the dropped ones too, so the head behind
        sees more of them than in evaluation. `decisions[-1]` tells which were dropped.

        Args:
            clip: [B, 3, F, H, W], RGB from 0 to 1, not normalised.
            generator: for the samples of hard pruning, on the device of the clip.
            keep: for each location [B, N], 1 to keep and 0 to drop, in place of the samples of
                hard pruning in training; the gradient is then that of the probabilities.

        Raises:
            ShapeError: the clip or a decision in `keep` is not of the model's size.
            ConfigError: `keep` is not for this mode, or not one for each location.
        """
        if keep is not None:
            self._check_keep(clip, keep)
        embedded = self.patch_embed(clip)
        if self.context == "patch":
            return self._each_patch(embedded)
        state = _State(
            x=embedded + self.pos_embed,
            index=torch.arange(self.grid.tokens, device=clip.device).expand(len(clip), -1),
            left=torch.ones(embedded.shape[:2], device=clip.device),
        )
        score = None
        if self.training and self.motion and self.locations:
            score = motions.motion_score(
                self.motion, self.patch_embed, clip, embedded, reference=self.reference_motion
            )
        decisions: list[Tensor] = []
        motion_loss = torch.zeros((), device=clip.device)
        for i, block in enumerate(self.blocks):
            if i in self.locations:
                q = self.locations.index(i)
                if self.pruning == "soft":
                    self._weigh(q, state)
                elif self.training:
                    self._sample(q, state, generator, None if keep is None else keep[q])
                else:
                    self._remove(q, state)
                decisions.append(self._placed(state))
                if score is not None:
                    motion_loss = motion_loss + self._motion_loss(state.left, score)
            state.x = block(state.x, state.policy)
        tokens = self.head_recon(self.norm_recon(state.x))
        return TubeletOutput(
            tokens, state.index, tuple(decisions), self.motion_weight * motion_loss
        )

    def _each_patch(self, embedded: Tensor) -> TubeletOutput:
        """The blocks over one patch through time: nothing comes from the other patches."""
        sizes = {"b": len(embedded), "t": self.grid.tubelets}
        x = rearrange(embedded, "b (t p) d -> (b p) t d", **sizes)
        for block in self.blocks:
            x = block(x)
        tokens = self.head_recon(self.norm_recon(rearrange(x, "(b p) t d -> b (t p) d", **sizes)))
        index = torch.arange(self.grid.tokens, device=x.device).expand(len(embedded), -1)
        return TubeletOutput(tokens, index, (), torch.zeros((), device=x.device))

    def _sample(
        self, q: int, state: _State, generator: torch.Generator | None, keep: Tensor | None
    ) -> None:
        """Hard pruning in training: hide what a Gumbel sample drops. Nothing leaves."""
        logits = self.score_predictor[q](state.x, state.left, self.grid.tubelets)
        if keep is None:
            sample = gumbel_keep(logits, gumbel_noise(logits, generator))
        else:
            keep = keep.to(logits)
            sample = straight_through(torch.stack([keep, 1 - keep], -1), logits.exp())
        state.left = state.policy = sample[..., 0] * state.left

    def _remove(self, q: int, state: _State) -> None:
        """Hard pruning in testing: only the best tokens of each tubelet go on."""
        logits = self.score_predictor[q](state.x, state.left, self.grid.tubelets)
        count = kept_count(self.grid.patches, self.token_ratio[q])
        at = top_of_tubelets(logits[..., 0], self.grid.tubelets, count)
        state.x = gather_tokens(state.x, at)
        state.index = state.index.gather(1, at)
        state.left = state.left.gather(1, at)

    def _weigh(self, q: int, state: _State) -> None:
        """Soft pruning: a policy between 0 and 1 in training; zeros, once, in testing.

        As published, a token set to zero still takes part in this and the following blocks.
        """
        predictor = cast(SoftScorePredictor, self.score_predictor[q])
        probabilities = predictor(state.x, state.left, self.grid.tubelets)
        state.left = predictor.mask(probabilities, state.left)
        if self.training:
            state.policy = state.left
        else:
            state.x = state.x * state.left[..., None].to(state.x)

    def _placed(self, state: _State) -> Tensor:
        """What is left, [B, t, P], with 0 for tokens that were removed."""
        full = state.left.new_zeros(len(state.left), self.grid.tokens)
        full = full.scatter(1, state.index, state.left)
        return rearrange(full, "b (t p) -> b t p", t=self.grid.tubelets)

    def _motion_loss(self, left: Tensor, score: Tensor) -> Tensor:
        if self.pruning == "soft":
            return motions.soft_motion_loss(left, score)
        return motions.hard_motion_loss(left, score, reference=self.reference_motion)

    def _check_keep(self, clip: Tensor, keep: Sequence[Tensor]) -> None:
        if not self.training or self.pruning != "hard" or len(keep) != len(self.locations):
            text = f"{len(keep)} decisions; needed in training with hard pruning only, "
            raise ConfigError({"keep": text + f"one for each of {len(self.locations)} locations"})
        for q, decision in enumerate(keep):
            if tuple(decision.shape) != (len(clip), self.grid.tokens):
                expected = f"[{len(clip)}, {self.grid.tokens}]"
                raise ShapeError(f"keep[{q}]", expected=expected, got=tuple(decision.shape))

    def _initialise(self) -> None:
        """Linear maps and position: truncated normal, 0.02; the convolution as torch has it."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)


class Block(nn.Module):
    """Pre-norm attention and pre-norm feed-forward, each with a residual. Norm eps is 1e-6."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, MLP_RATIO * dim)

    def forward(self, x: Tensor, policy: Tensor | None = None) -> Tensor:
        """[B, N, D] to [B, N, D]; `policy` as of `Attention`."""
        x = x + self.attn(self.norm1(x), policy)
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Multi-head attention, plain or under a policy."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)  # rows q, k, v, each head-major
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, policy: Tensor | None = None) -> Tensor:
        """[B, N, D] to [B, N, D], without norm and residual.

        Args:
            x: [B, N, D].
            policy: [B, N], see `policy_softmax`, which makes an N x N matrix. None is a policy of
                ones, up to 1e-6, and makes none; the published code uses ones before the first
                pruning location.
        """
        q, k, v = rearrange(self.qkv(x), "b n (three h e) -> three b h n e", three=3, h=self.heads)
        if policy is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
            out = policy_softmax(logits, policy) @ v
        return self.proj(rearrange(out, "b h n e -> b n (h e)"))


class Mlp(nn.Module):
    """Linear, GELU (exact), Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return self.fc2(F.gelu(self.fc1(x)))


def _misfits(
    grid: ClipGrid,
    dim: int,
    depth: int,
    heads: int,
    kind: str,
    locations: Sequence[int],
    token_ratio: Sequence[float],
) -> dict[str, str]:
    """What does not fit together: field to text."""
    wrong: dict[str, str] = {}
    for name, value in (("dim", dim), ("depth", depth), ("heads", heads)):
        if value < 1:
            wrong[name] = f"{value} is not a positive number"
    if not wrong and dim % heads:
        wrong["heads"] = f"{dim} channels cannot be shared equally by {heads} heads"
    if kind not in get_args(Pruning):
        wrong["pruning"] = f"{kind!r} is unknown; known are {', '.join(get_args(Pruning))}"
    if kind == "none":
        return wrong
    if dim % 3 or dim < 6:
        wrong["dim"] = f"{dim} cannot be cut in three, as the score predictors do"
    if list(locations) != sorted(set(locations) & set(range(depth))):
        wrong["locations"] = f"{list(locations)} are not rising blocks from 0 to {depth - 1}"
    if kind == "soft":
        return wrong
    if len(token_ratio) != len(locations):
        wrong["token_ratio"] = f"{len(token_ratio)} ratios for {len(locations)} locations"
    elif not all(0 < ratio <= 1 and kept_count(grid.patches, ratio) for ratio in token_ratio):
        wrong["token_ratio"] = f"{list(token_ratio)} of {grid.patches} patches leave none, or more"
    elif list(token_ratio) != sorted(token_ratio, reverse=True):
        wrong["token_ratio"] = f"{list(token_ratio)} rise, but what is pruned does not return"
    return wrong
