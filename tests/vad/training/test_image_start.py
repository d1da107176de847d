"""The tubelet transformer started from image weights: made-up ones in the published layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest_training import World
from conftest_two_stage import TWO_STAGE, run_both
from torch import Tensor

from vad import results
from vad.configs import TwoStageConfig
from vad.errors import ConfigError, VadError
from vad.features.weights import DEIT
from vad.models.grid import ClipGrid
from vad.models.tubelet_vit import TubeletVit
from vad.training import checkpoints, image_start

DIM, DEPTH, PATCH = 24, 4, 8  # of TWO_STAGE
State = dict[str, Tensor]


def image_weights(side: int = 4, extra: int = 1) -> State:
    """As a DeiT of a `side` x `side` grid is published; `extra` tokens in front."""
    shapes = {
        "cls_token": (1, 1, DIM),
        "pos_embed": (1, side * side + extra, DIM),
        "patch_embed.proj.weight": (DIM, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (DIM,),
        "norm.weight": (DIM,),
        "norm.bias": (DIM,),
        "head.weight": (10, DIM),
        "head.bias": (10,),
    }
    if extra == 2:
        shapes |= {"dist_token": (1, 1, DIM), "head_dist.weight": (10, DIM)}
    for i in range(DEPTH):
        for name, rows in (
            ("attn.qkv", 3 * DIM), ("attn.proj", DIM), ("mlp.fc1", 4 * DIM), ("mlp.fc2", DIM),
        ):  # fmt: skip
            columns = 4 * DIM if name == "mlp.fc2" else DIM
            shapes[f"blocks.{i}.{name}.weight"] = (rows, columns)
            shapes[f"blocks.{i}.{name}.bias"] = (rows,)
        for norm in ("norm1", "norm2"):
            shapes[f"blocks.{i}.{norm}.weight"] = shapes[f"blocks.{i}.{norm}.bias"] = (DIM,)
    generator = torch.Generator().manual_seed(side)
    return {key: torch.randn(shape, generator=generator) * 0.1 for key, shape in shapes.items()}


def encoder(frames: int = 8, height: int = 32, width: int = 32) -> TubeletVit:
    grid = ClipGrid(height=height, width=width, frames=frames, patch=PATCH, num_tubelet=2)
    return TubeletVit(grid, dim=DIM, depth=DEPTH, heads=2, locations=(1, 2, 3))


def saved(folder: Path, state: object, name: str = "vit.pth") -> str:
    torch.save(state, folder / name)
    return name


@pytest.mark.parametrize("how", ["averaging", "central"])
def test_a_still_clip_is_embedded_as_its_image(tmp_path: Path, how: image_start.Inflation) -> None:
    weights, model = image_weights(), encoder()
    image_start.start_from(model, saved(tmp_path, {"model": weights}), tmp_path, how)

    image = torch.rand(2, 3, 32, 32)
    found = model.patch_embed(image[:, :, None].expand(-1, -1, 8, -1, -1)) + model.pos_embed

    kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    expected = F.conv2d(image, kernel, bias, stride=PATCH).flatten(2).transpose(1, 2)
    expected = expected + weights["pos_embed"][:, 1:]  # the grid is the same: not resized
    torch.testing.assert_close(found, torch.cat([expected, expected], 1))


def test_blocks_are_taken_as_they_are_and_the_rest_stays(tmp_path: Path) -> None:
    weights, model = image_weights(extra=2), encoder()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    image_start.start_from(model, saved(tmp_path, weights), tmp_path)
    for key, value in model.state_dict().items():
        if key.startswith("blocks."):
            assert torch.equal(value, weights[key]), key
        elif key.startswith(("norm_recon", "head_recon", "score_predictor")):
            assert torch.equal(value, before[key]), key


def test_positions_follow_another_grid(tmp_path: Path) -> None:
    """A wide grid from a square one: a ramp stays a ramp, and each tubelet has the same."""
    weights, model = image_weights(side=14), encoder(width=64)
    ramp = torch.arange(14.0)[:, None, None].expand(14, 14, DIM).reshape(1, 196, DIM)
    weights["pos_embed"] = torch.cat([torch.full((1, 1, DIM), 99.0), ramp], 1)
    image_start.start_from(model, saved(tmp_path, weights), tmp_path)

    found = model.pos_embed.detach().reshape(2, 4, 8, DIM)
    assert torch.equal(found[0], found[1])
    # rows of the new grid lie at (i + 0.5) * 14 / 4 - 0.5 of the old one
    inner = torch.tensor([1.25, 4.75, 8.25, 11.75])[1:3, None, None].expand(2, 8, DIM)
    # torch's cubic kernel keeps a straight line up to a few hundredths of a step
    torch.testing.assert_close(found[0, 1:3], inner, atol=0.1, rtol=0)


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def with_(name: str, *shape: int) -> Callable[[State], State]:
    return lambda state: {**state, name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without("blocks.3.mlp.fc2.bias"), "blocks.3.mlp.fc2.bias: missing"),
        (without("pos_embed"), "pos_embed: missing"),
        (with_("blocks.4.norm1.weight", DIM), "blocks.4.norm1.weight: unknown"),
        (with_("patch_embed.proj.weight", DIM, 3, 16, 16), "expected [24, 3, 8, 8]"),
        (with_("patch_embed.proj.weight", DIM, 3, 2, 8, 8), "expected [24, 3, 8, 8]"),
        (with_("blocks.0.attn.qkv.weight", 96, 32), "expected [72, 24]"),
        (with_("pos_embed", 1, 20, DIM), "pos_embed: has shape [1, 20, 24]"),
        (with_("pos_embed", 1, 17, 32), "pos_embed: has shape [1, 17, 32]"),
        (
            lambda state: {**state, "patch_embed.proj.bias": torch.full((DIM,), torch.nan)},
            "infinite or not a number",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, change: Callable[[State], State], text: str
) -> None:
    model = encoder()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(VadError, match="does not fit") as refused:
        image_start.start_from(model, saved(tmp_path, change(image_weights())), tmp_path)
    assert refused.value.code == "checkpoint-invalid"
    assert text in str(refused.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_known_name_promises_a_hash(tmp_path: Path) -> None:
    name = saved(tmp_path, image_weights(), DEIT[0].file)
    with pytest.raises(VadError, match="begins a1311bcf"):
        image_start.start_from(encoder(), name, tmp_path)


def test_a_missing_file_says_who_publishes_it(tmp_path: Path) -> None:
    with pytest.raises(VadError, match="DeiT base") as refused:
        image_start.start_from(encoder(), DEIT[2].file, tmp_path)
    assert refused.value.code == "weights-missing"


def test_a_run_starts_from_them_beside_a_stage_1(clip_world: World, tmp_path: Path) -> None:
    """At a learning rate of next to nothing the run's weights are still those it began with."""
    weights = image_weights()
    point = tmp_path / saved(tmp_path, weights)
    run_both(clip_world, tmp_path / "first", num_epochs=2)
    first = tmp_path / "first" / checkpoints.name_of(2)
    settings = {"num_epochs": 2, "lr": 1e-12, "encoder_point": str(point)}
    said = run_both(clip_world, tmp_path / "second", start=first, **settings)

    held = checkpoints.read(tmp_path / "second" / checkpoints.name_of(2)).part(checkpoints.MODEL)
    for name in ("blocks.2.attn.qkv.weight", "blocks.0.mlp.fc1.weight"):
        torch.testing.assert_close(held[f"encoder.{name}"], weights[name])
    before = checkpoints.read(first).part(checkpoints.MODEL)
    stage1 = "stage1.cls_head.mlp.0.weight"
    torch.testing.assert_close(held[stage1], before[stage1])
    assert any("transformer starts from vit.pth" in line.message for line in said.of(results.Log))


def test_image_weights_do_not_fit_an_energy() -> None:
    with pytest.raises(ConfigError) as refused:
        TwoStageConfig(**{**TWO_STAGE, "clip_view": "energy", "encoder_point": "vit.pth"})
    assert "encoder_point" in refused.value.fields
