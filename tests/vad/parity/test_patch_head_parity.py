"""The patch head and a step of both stages against numbers that the published code computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vectors import (
    FORWARD,
    GRADIENT,
    KL,
    LARGE,
    SCALAR,
    TERMS,
    cases,
    close,
    drawn,
    fill,
    given,
    vector,
)

from vad.losses import ad_loss
from vad.models.grid import ClipGrid
from vad.models.stpvad import CrossAttentionBlock, PatchHead
from vad.models.tubelet_vit import TubeletVit
from vad.models.urdmu import WIDTH, UrDmu
from vad.training.choice import (
    choose_segments,
    chosen_features,
    rank_segments,
    segment_frames,
    segment_snippets,
)

SEGMENTS = 200  # of the vector snippet_map


def normal(
    v: dict[str, np.ndarray], name: str, shape: tuple[int, ...] | None = None
) -> torch.Tensor:
    """An input by rule N whose first values the vectors do not store."""
    generator = np.random.default_rng(int(v[f"{name}_seed"]))
    sizes = v[f"{name}_shape"].tolist() if shape is None else shape
    return torch.from_numpy(generator.standard_normal(sizes).astype(np.float32))


def losses_match(losses: dict[str, Tensor], v: dict[str, np.ndarray], prefix: str) -> None:
    for ours, theirs in TERMS.items():
        close(losses[ours], v[f"{prefix}{theirs}"], KL if ours in ("kl_loss", "total") else SCALAR)


def test_cross_attention_block() -> None:
    v = vector("blocks")
    for i in cases(v, "ca_cfg"):
        dim, heads, head_dim, hidden = v[f"ca_cfg{i}"].tolist()
        query, keyvalue = (torch.from_numpy(v[f"ca_{k}{i}"]) for k in ("query", "keyvalue"))
        block = fill(CrossAttentionBlock(dim, heads, head_dim, hidden))
        close(block(query, keyvalue), v[f"ca_out{i}"], FORWARD)


@pytest.mark.parametrize("form", ["plain", "cross"])
def test_training_forward_loss_and_gradient(form: str) -> None:
    v = vector("patch_head")
    for i in cases(v, "eval_plain"):
        x, noise, snippets = given(v, f"x{i}"), normal(v, f"noise{i}"), normal(v, f"snip{i}")
        model = fill(PatchHead(x.shape[-1]))
        out = model.forward_bags(
            *x.chunk(2),
            snippets=snippets if form == "cross" else None,
            noise=noise,
            with_features=True,
        )
        name = f"{form}{i}"

        close(torch.cat([out.normal_scores, out.abnormal_scores]), v[f"{name}_frame"], FORWARD)
        for ours, theirs in (
            (out.a_att, "A_att"),
            (out.n_att, "N_att"),
            (out.a_natt, "A_Natt"),
            (out.n_aatt, "N_Aatt"),
        ):
            close(ours, v[f"{name}_{theirs}"], FORWARD)
        assert out.snippet_features is not None
        close(out.snippet_features[:, ::9, ::64], v[f"{name}_cross_attended"], FORWARD)
        close(out.distance, v[f"{name}_distance"], SCALAR)

        losses = ad_loss(out)
        losses_match(losses, v, f"{name}_loss_")
        losses["total"].backward()
        gradients = {k: p.grad for k, p in model.named_parameters()}
        names = [str(n) for n in v["grad_names"]]
        assert set(names) == set(gradients)
        norms = [0.0 if (grad := gradients[n]) is None else grad.norm().item() for n in names]
        np.testing.assert_allclose(norms, v[f"{name}_grad_norm"], **GRADIENT)


@torch.no_grad()
def test_testing_forward() -> None:
    v = vector("patch_head")
    for i in cases(v, "eval_plain"):
        x, snippets = given(v, f"x{i}"), normal(v, f"snip{i}")
        model = fill(PatchHead(x.shape[-1]))
        close(model(x).scores, v[f"eval_plain{i}"], FORWARD)
        close(model(x, snippets=snippets).scores, v[f"eval_cross{i}"], FORWARD)


def test_older_checkpoints_load() -> None:
    model = PatchHead(8)
    state = {
        k.replace("cross_attention.", "psa."): torch.full_like(p, 0.5)
        for k, p in model.state_dict().items()
    }
    assert len(state) == 46
    assert "psa.cross_attn.to_q.weight" in state
    model.load_state_dict(state, strict=True)

    assert all((p == 0.5).all() for p in model.parameters())


def test_segment_to_frames() -> None:
    v = vector("snippet_map")
    for (segment, snippets, window), fixed in zip(v["query"].tolist(), v["fixed"], strict=True):
        frames = segment_frames(
            segment, snippets, 16 * snippets, num_segments=SEGMENTS, window=window
        )
        got = (*segment_snippets(segment, snippets, SEGMENTS), frames[0], frames[-1] + 1)
        np.testing.assert_array_equal(got, fixed)
        np.testing.assert_array_equal(np.diff(frames), 1)


@pytest.mark.parametrize("form", ["nocross", "cross_fixed", "cross_reference"])
def test_a_step_of_both_stages(form: str) -> None:
    v = vector("two_stage")
    dim, segments, pairs, image, patch, tubelet_size, frames, width, depth, heads = v[
        "cfg"
    ].tolist()
    grid = ClipGrid(
        height=image, width=image, patch=patch, tubelet_size=tubelet_size, frames=frames
    )
    features = drawn(v, "x", (2 * pairs, segments, dim), "N")
    clips = drawn(v, "clips", (2 * pairs, 3, frames, image, image), "U")
    noise1 = normal(v, "noise1", (pairs, segments, WIDTH))
    noise2 = normal(v, "noise2", (pairs, grid.tokens, WIDTH))
    keep = [torch.from_numpy(v[f"keep{q}"]) for q in range(3)]
    stage1 = fill(UrDmu(dim))
    encoder = fill(
        TubeletVit(grid, dim=width, depth=depth, heads=heads, locations=(1, 2, 3))
    ).train()
    head = fill(PatchHead(grid.patch_values))

    first = stage1.forward_bags(*features.chunk(2), noise=noise1, with_features=True)
    np.testing.assert_array_equal(first.a_index.numpy(), v["A_index"])
    np.testing.assert_array_equal(first.n_index.numpy(), v["N_index"])
    ranked = rank_segments(first)
    np.testing.assert_array_equal(ranked[0].numpy(), v["N_index"])
    np.testing.assert_array_equal(ranked[1].numpy(), v["A_index"])
    chosen = choose_segments(*ranked)
    assert first.snippet_features is not None
    snippets = None
    if form == "cross_fixed":
        snippets = chosen_features(first.snippet_features, chosen)
    elif form == "cross_reference":
        # As published: abnormal first, and every clip sees the positions of all videos.
        swapped = torch.cat(chosen.chunk(2)[::-1])
        snippets = first.snippet_features[:, swapped[:, 0]]
    tokens = encoder(clips, keep=keep).tokens
    second = head.forward_bags(*tokens.chunk(2), snippets=snippets, noise=noise2)
    losses = [ad_loss(first), ad_loss(second)]
    total = losses[0]["total"] + losses[1]["total"]
    total.backward()

    close(torch.cat([second.normal_scores, second.abnormal_scores]), v[f"{form}_frame2"], LARGE)
    close(losses[0]["total"], v[f"{form}_stage1"], KL)
    close(losses[1]["total"], v[f"{form}_stage2"], KL)
    close(total, v[f"{form}_total"], KL)
    losses_match(losses[1], v, f"{form}_stage2_loss_")
    for part, model in (("stage1", stage1), ("dtfe", encoder), ("head", head)):
        np.testing.assert_allclose(norm(model), v[f"{form}_gradsum_{part}"], **GRADIENT)


def norm(model: nn.Module) -> float:
    """Of all gradients of a model together."""
    return (
        sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None) ** 0.5
    )
