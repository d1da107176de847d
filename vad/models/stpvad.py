"""The patch head, the detector of stage 2: which patch of a clip is abnormal.

UR-DMU over the patch tokens of one clip instead of the snippets of a video, with a cross-attention
to the features that stage 1 has for the clip in front of the classifier.

Source: the published code of STPVAD. Parameter names are those of its checkpoints; the older ones
call the cross-attention `psa`.

Shapes: B clips, N patch tokens, D width of the tokens, M snippets, C = 512 channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from vad.errors import ShapeError
from vad.models.products import Linear
from vad.models.transformer import Dropout, feed_forward
from vad.models.urdmu import WIDTH, BagOutput, SnippetOutput, UrDmu

FUSED = 2 * WIDTH
OLD_PREFIX = "psa."
PREFIX = "cross_attention."


class PatchHead(UrDmu):
    """The network.

    The cross-attention is there whether it is used or not, as in the published checkpoints. Where
    it is used, the scores that stage 1's network makes without it are made and dropped; that is a
    hundredth of the work.

    Args:
        token_dim: D, `patch_values` of the clip grid.
        memory_slots: of each of the two memory units.
        dropout: in the transformer and in the cross-attention.
        tubelets: of a clip, to look at each patch by itself, over its tubelets: nothing that a
            score depends on comes from other patches. None looks at all together, as published.
    """

    def __init__(
        self,
        token_dim: int,
        *,
        memory_slots: int = 60,
        dropout: float = 0.5,
        tubelets: int | None = None,
    ) -> None:
        super().__init__(token_dim, memory_slots=memory_slots, dropout=dropout)
        self.tubelets = tubelets
        self.cross_attention = CrossAttentionBlock(FUSED, 8, 64, FUSED // 2, dropout=dropout)
        self.register_load_state_dict_pre_hook(_rename_old_keys)

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embedding and transformer: [B, N, D] to [B, N, C]."""
        if self.tubelets is None:
            return super().encode(x, lengths)
        sizes = {"b": len(x), "t": self.tubelets}
        x = super().encode(rearrange(x, "b (t p) d -> (b p) t d", **sizes))
        return rearrange(x, "(b p) t d -> b (t p) d", **sizes)

    def forward(
        self, x: Tensor, *, snippets: Tensor | None = None, with_features: bool = False
    ) -> SnippetOutput:
        """Score the patches of clips. No noise; the same for any label.

        Args:
            x: [B, N, D] tokens in raster order; their order matters. N may be any number.
            snippets: [B, M, 2C], what stage 1 has for each clip; without it there is no
                cross-attention.
            with_features: also return what the classifier saw.

        Returns:
            scores [B, N], 0 to 1; `a_att` and `n_att` [B, N]; features [B, N, 2C] if asked for.

        Raises:
            ShapeError: tokens or snippets do not have the shapes above.
        """
        _check_tokens("x", x)
        if snippets is None:
            return super().forward(x, with_features=with_features)
        _check_snippets(snippets, clips=len(x))
        out = super().forward(x, with_features=True)
        attended = self.cross_attention(cast(Tensor, out.snippet_features), snippets)
        return replace(
            out,
            scores=self.cls_head.of_fused(attended),
            snippet_features=attended if with_features else None,
        )

    def forward_bags(
        self,
        normal: Tensor,
        abnormal: Tensor,
        *,
        snippets: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        with_features: bool = False,
        top: int | None = None,
    ) -> BagOutput:
        """The training forward over clips of normal and of abnormal videos, in one pass.

        Args:
            normal, abnormal: [B, N, D] tokens, of equal shape.
            snippets: [2B, M, 2C], what stage 1 has for each clip, normal first; without it there
                is no cross-attention.
            noise, generator, with_features, top: as of `UrDmu.forward_bags`, of patches; the
                features are what the classifier saw.

        Raises:
            ShapeError: tokens or snippets do not have the shapes above.
        """
        _check_tokens("normal", normal)
        out = super().forward_bags(
            normal,
            abnormal,
            noise=noise,
            generator=generator,
            with_features=with_features or snippets is not None,
            top=top,
        )
        if snippets is None:
            return out
        _check_snippets(snippets, clips=2 * len(normal))
        attended = self.cross_attention(cast(Tensor, out.snippet_features), snippets)
        normal_scores, abnormal_scores = self.cls_head.of_fused(attended).chunk(2)
        return replace(
            out,
            normal_scores=normal_scores,
            abnormal_scores=abnormal_scores,
            snippet_features=attended if with_features else None,
        )


class CrossAttentionBlock(nn.Module):
    """Attention of patches to snippets and a feed-forward, each with a residual.

    Patches are normalised first, snippets are not, as published. With one snippet its weight is 1
    whatever the patch is, so every patch receives the same vector.
    """

    def __init__(
        self, dim: int, heads: int, head_dim: int, hidden: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(dim, heads, head_dim, dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.ff = feed_forward(dim, hidden, dropout)

    def forward(self, query: Tensor, keyvalue: Tensor) -> Tensor:
        """[B, N, D] and [B, M, D] to [B, N, D]."""
        attended = query + self.cross_attn(self.norm1(query), keyvalue)
        return attended + self.ff(self.norm2(attended))


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another, without norm and residual.

    There are few keys, so the weights are made. Unlike the fused kernel, this gives the weight of a
    single key a gradient of exactly zero.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_dim
        self.to_q = Linear(dim, inner, bias=False)
        self.to_kv = Linear(dim, 2 * inner, bias=False)  # rows k, v
        self.to_out = nn.Sequential(Linear(inner, dim), Dropout(dropout))

    def forward(self, query: Tensor, keyvalue: Tensor) -> Tensor:
        """[B, N, D] and [B, M, D] to [B, N, D]."""
        q = rearrange(self.to_q(query), "b n (h e) -> b h n e", h=self.heads)
        k, v = rearrange(self.to_kv(keyvalue), "b m (two h e) -> two b h m e", two=2, h=self.heads)
        out = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
        return self.to_out(rearrange(out, "b h n e -> b n (h e)"))


def _rename_old_keys(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Give the keys of older checkpoints the name that the cross-attention has now."""
    old = prefix + OLD_PREFIX
    for key in [key for key in state if key.startswith(old)]:
        state[prefix + PREFIX + key.removeprefix(old)] = state.pop(key)


def _check_tokens(name: str, x: Tensor) -> None:
    if x.ndim != 3:
        raise ShapeError(name, expected="[B, N, D]", got=tuple(x.shape))


def _check_snippets(snippets: Tensor, *, clips: int) -> None:
    sizes = tuple(snippets.shape)
    if len(sizes) != 3 or sizes[0] != clips or sizes[1] == 0 or sizes[2] != FUSED:
        raise ShapeError("snippets", expected=f"[{clips}, M, {FUSED}], M from 1", got=sizes)
