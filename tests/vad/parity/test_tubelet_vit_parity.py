"""The tubelet transformer and its parts against numbers that the published code computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from vectors import FORWARD, GRADIENT, LARGE, SCALAR, cases, close, fill, given, vector

from vad.models.grid import ClipGrid
from vad.models.motion_embed import TubeletEmbedding, motion_score
from vad.models.pruning import (
    ScorePredictor,
    SoftScorePredictor,
    gumbel_keep,
    policy_softmax,
)
from vad.models.tubelet_vit import Block, TubeletVit

Vector = dict[str, np.ndarray]


def tensor(v: Vector, name: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(v[name]))


def encoder(v: Vector, **options: Any) -> TubeletVit:
    height, width, patch, tubelet_size, frames, dim, depth, heads = v["cfg"].tolist()
    grid = ClipGrid(
        height=height, width=width, patch=patch, tubelet_size=tubelet_size, frames=frames
    )
    options = {"locations": v["prune"].tolist(), **options}
    return fill(TubeletVit(grid, dim=dim, depth=depth, heads=heads, **options))


def predictions(model: TubeletVit) -> list[torch.Tensor]:
    """What the score predictors give, filled by each forward."""
    seen: list[torch.Tensor] = []
    for predictor in model.score_predictor:
        predictor.register_forward_hook(lambda _module, _args, out: seen.append(out))
    return seen


@pytest.mark.parametrize(("policy", "expected"), [("", "hard"), ("_soft", "soft")])
def test_policy_softmax(policy: str, expected: str) -> None:
    v = vector("blocks")
    got = policy_softmax(tensor(v, "attn"), tensor(v, f"policy{policy}")[..., 0])
    close(got, v[f"softmax_{expected}"], FORWARD)


def test_score_predictor() -> None:
    v = vector("blocks")
    width, tubelets = v["pred_cfg"].tolist()
    policy = tensor(v, "pred_policy")[..., 0]
    out = fill(ScorePredictor(width))(tensor(v, "pred_x"), policy, tubelets)
    close(out, v["pred_out"], FORWARD)


def test_soft_score_predictor() -> None:
    v = vector("blocks")
    width, tubelets = v["pred_cfg"].tolist()
    policy = tensor(v, "pred_policy")[..., 0]
    predictor = fill(SoftScorePredictor(width)).train()
    probabilities = predictor(tensor(v, "pred_x"), policy, tubelets)
    close(probabilities, v["pred_soft_prob"], FORWARD)
    close(predictor.mask(probabilities, policy)[..., None], v["pred_soft_train_mask"], FORWARD)


def test_block() -> None:
    v = vector("blocks")
    block, x = fill(Block(*v["block_cfg"].tolist())), tensor(v, "block_x")
    close(block(x), v["block_out"], FORWARD)
    close(block(x, tensor(v, "block_policy")[..., 0]), v["block_out_policy"], FORWARD)


def test_gumbel_sample_and_its_gradient() -> None:
    v = vector("blocks")
    logits, noise = tensor(v, "gumbel_logits").requires_grad_(), tensor(v, "gumbel_noise")
    hard = gumbel_keep(logits, noise)
    hard[..., 0].sum().backward()

    close((logits + noise).softmax(-1), v["gumbel_soft"], FORWARD)
    close(hard, v["gumbel_hard"], FORWARD)
    assert logits.grad is not None
    close(logits.grad, v["gumbel_grad_of_sum_keep"], FORWARD)


def test_embedding_and_motion_scores() -> None:
    v = vector("motion_embed")
    for i in cases(v, "cfg"):
        height, width, patch, tubelet_size, frames, dim = v[f"cfg{i}"].tolist()
        grid = ClipGrid(
            height=height, width=width, patch=patch, tubelet_size=tubelet_size, frames=frames
        )
        embed, clip = fill(TubeletEmbedding(grid, dim)), given(v, f"x{i}", rule="U")
        tokens = embed(clip)
        close(tokens, v[f"embed{i}"], FORWARD)
        for name, kind, reference in (
            ("reversal_score_fixed", "time-reversal", False),
            ("reversal_score", "time-reversal", True),
            ("varience_score", "variance", False),
        ):
            if f"{name}{i}" in v:
                score = motion_score(kind, embed, clip, tokens, reference=reference)
                close(score, v[f"{name}{i}"], FORWARD)


@torch.no_grad()
def test_testing_forward_without_pruning() -> None:
    v = vector("dtfe_eval")
    model, clip = encoder(v, pruning="none"), given(v, "x", rule="U")
    step = int(v["dim_step"])
    close(model.patch_embed(clip)[..., ::4], v["embed"], FORWARD)
    close(model(clip).tokens[..., ::step], v["nopruning_out"], LARGE)


@torch.no_grad()
@pytest.mark.parametrize("name", ["r100", "r753"])
def test_testing_forward(name: str) -> None:
    v = vector("dtfe_eval")
    model, clip = encoder(v, token_ratio=v[f"{name}_ratio"].tolist()), given(v, "x", rule="U")
    seen = predictions(model)
    out = model(clip)

    np.testing.assert_array_equal(out.index.numpy(), v[f"{name}_index_sorted"])
    close(out.tokens[..., :: int(v["dim_step"])], v[f"{name}_out_sorted"], LARGE)
    entering = torch.ones(len(clip), model.grid.tokens, dtype=torch.bool)
    for q, decision in enumerate(out.decisions):
        ids = torch.stack([row.nonzero()[:, 0] for row in entering])
        np.testing.assert_array_equal(ids.numpy(), v[f"{name}_enter{q}"])
        close(seen[q], v[f"{name}_pred{q}"], LARGE)
        entering = decision.flatten(1) > 0


@pytest.mark.parametrize(
    ("name", "motion"), [("plain", None), ("reversal", "time-reversal"), ("varience", "varience")]
)
def test_training_forward_and_gradient(name: str, motion: str | None) -> None:
    v = vector("dtfe_train_policy")
    model = encoder(v, motion=motion, reference_motion=True).train()
    seen = predictions(model)
    keep = [tensor(v, f"keep{q}") for q in range(len(v["prune"]))]
    out = model(given(v, "x", rule="U"), keep=keep)

    close(out.tokens[..., :: int(v["dim_step"])], v[f"{name}_out"], LARGE)
    for q, decision in enumerate(out.decisions):
        np.testing.assert_array_equal(decision.detach().numpy(), v[f"{name}_decision{q}"])
        close(seen[q], v[f"{name}_logits{q}"], LARGE)
    if motion:
        close(out.motion_loss, v[f"{name}_motion_loss"], SCALAR)

    probe = np.random.default_rng(int(v["probe_seed"])).standard_normal(out.tokens.shape)
    (out.tokens * torch.from_numpy(probe.astype(np.float32))).mean().backward()
    gradients = {k: p.grad for k, p in model.named_parameters()}
    names = [str(n) for n in v[f"{name}_grad_names"]]
    assert set(names) == set(gradients)
    norms = [0.0 if (grad := gradients[n]) is None else grad.norm().item() for n in names]
    np.testing.assert_allclose(norms, v[f"{name}_grad_norm"], **GRADIENT)


def soft_encoder(v: Vector, **options: Any) -> TubeletVit:
    model = encoder(v, pruning="soft", **options)
    with torch.no_grad():
        for predictor, more in zip(model.score_predictor, v["pred_bias_add"], strict=True):
            predictor.out_conv[4].bias[0] += float(more)
    return model


def test_soft_pruning_in_training() -> None:
    v = vector("dtfe_soft")
    model = soft_encoder(v, motion="time-reversal", reference_motion=True).train()
    out = model(given(v, "x", rule="U"))

    close(out.tokens[..., :: int(v["dim_step"])], v["train_out"], LARGE)
    for q, mask in enumerate(out.decisions):
        close(mask, v[f"train_mask{q}"], LARGE)
    close(out.motion_loss, v["train_motion_loss"], SCALAR)


@torch.no_grad()
def test_soft_pruning_in_testing() -> None:
    v = vector("dtfe_soft")
    model, clip = soft_encoder(v), given(v, "x", rule="U")
    seen = predictions(model)
    out = model(clip)

    for q, mask in enumerate(out.decisions):
        close(seen[q], v[f"eval_prob{q}"], LARGE)
        np.testing.assert_array_equal(mask.flatten(1).numpy(), v[f"eval_mask{q}"][..., 0])
    close(out.tokens[..., :: int(v["dim_step"])], v["eval_out"], LARGE)


def test_parameters_are_the_published_ones() -> None:
    grid = ClipGrid(height=128, width=128, tubelet_size=8)
    with torch.device("meta"):
        state = TubeletVit(grid).state_dict()
        soft = TubeletVit(grid, pruning="soft").state_dict()
    linear = {"head_recon": (6144, 768)}
    norms = ["norm_recon"]
    for i in range(12):
        block = f"blocks.{i}"
        norms += [f"{block}.norm1", f"{block}.norm2"]
        linear |= {f"{block}.attn.qkv": (2304, 768), f"{block}.attn.proj": (768, 768)}
        linear |= {f"{block}.mlp.fc1": (3072, 768), f"{block}.mlp.fc2": (768, 3072)}
    for q in range(3):
        predictor = f"score_predictor.{q}"
        norms.append(f"{predictor}.in_conv.0")
        linear |= {f"{predictor}.in_conv.1": (768, 768), f"{predictor}.out_conv.0": (384, 768)}
        linear |= {f"{predictor}.out_conv.2": (192, 384), f"{predictor}.out_conv.4": (2, 192)}
    sizes: dict[str, tuple[int, ...]] = {"pos_embed": (1, 128, 768)}
    sizes |= {"patch_embed.proj.weight": (768, 3, 8, 16, 16), "patch_embed.proj.bias": (768,)}
    sizes |= {f"{name}.{part}": (768,) for name in norms for part in ("weight", "bias")}
    sizes |= {f"{name}.weight": size for name, size in linear.items()}
    sizes |= {f"{name}.bias": size[:1] for name, size in linear.items()}

    assert {k: tuple(p.shape) for k, p in state.items()} == sizes
    thresholds = {f"score_predictor.{q}.keep_threshold" for q in range(3)}
    assert set(soft) == set(sizes) | thresholds
    assert round(sum(p.numel() for p in state.values()) / 1e6, 1) == 97.5
