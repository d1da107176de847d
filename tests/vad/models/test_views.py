"""The view of stage 2 that is made of the motion descriptor: what moves how, and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vad.configs import TwoStageConfig
from vad.errors import ConfigError
from vad.features.map_names import CLIP_MAPS
from vad.features.motion_maps import clip_maps
from vad.models.grid import ClipGrid
from vad.models.two_stage import Architecture, TwoStage, motion_maps
from vad.models.views import seen_grid

GRID = ClipGrid(height=64, width=96, frames=16, patch=16, num_tubelet=2)
SMALL = {"resize": (64, 96), "patch_size": 16, "num_tubelet": 2, "patch_context": "patch"}
SMALL |= {"encoder_dim": 24, "encoder_depth": 1, "encoder_heads": 2}


def scene() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(16, 24)).repeat(4, axis=0).repeat(4, axis=1)
    return (110 + 12 * coarse)[..., None].repeat(3, axis=2)


def clip(*movers: tuple[int, float, int], noise: float = 1.0) -> Tensor:
    """[16, 64, 96, 3] uint8: squares that go to the right, as (row, pixels a frame, contrast)."""
    rng = np.random.default_rng(1)
    texture = rng.normal(size=(12, 12, 1))
    frames = []
    for t in range(16):
        picture = scene()
        for row, speed, contrast in movers:
            at = round(8 + speed * t)
            picture[row : row + 12, at : at + 12] = 110 + contrast * (1 + 0.5 * texture)
        picture += noise * rng.normal(size=picture.shape)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return torch.from_numpy(np.stack(frames))


def background() -> Tensor:
    return torch.from_numpy(np.clip(scene(), 0, 255).astype(np.uint8))


def speeds(frames: Tensor) -> np.ndarray:
    """The strongest speed in each row of patches, [4], over both tubelets."""
    found = motion_maps(frames[None], background()[None], GRID)
    assert found.shape == (1, len(CLIP_MAPS), 2, 4, 6)
    return found[0, CLIP_MAPS.index("speed_peak")].amax(dim=(0, 2)).numpy()


def test_speed_does_not_depend_on_how_much_something_stands_out():
    # the slow one changes more of the picture than the fast one
    found = speeds(clip((2, 1.0, 70), (34, 3.0, -35)))

    assert found[2] > 1.5 * found[0] > 0


def test_a_still_picture_has_no_speed():
    assert speeds(clip()).max() < 0.05


def test_what_stands_there_and_not_in_the_background_has_colour_and_does_not_move():
    frames = clip((34, 0.0, 80))
    frames[:, 34:46, 8:20, 2] = 0
    found = motion_maps(frames[None], background()[None], GRID)[0]
    maps = {name: found[i].mean(dim=0) for i, name in enumerate(CLIP_MAPS)}

    assert int(maps["colour"].argmax()) in (12, 13)  # row 2, columns 0 and 1
    assert int(maps["still"].argmax()) in (12, 13)
    assert maps["moving"][2].max() < 0.05


def test_each_clip_of_a_batch_is_looked_at_by_itself():
    clips = torch.stack([clip((2, 1.0, 70)), clip((34, 3.0, -35)), clip()])
    stills = background().expand(3, -1, -1, -1)

    together = motion_maps(clips, stills, GRID)
    for i in range(3):
        alone = motion_maps(clips[i : i + 1], stills[:1], GRID)
        assert torch.equal(together[i : i + 1], alone)


def test_maps_are_finite_and_not_negative_whatever_the_picture():
    rng = np.random.default_rng(3)
    noise = torch.from_numpy(rng.integers(0, 256, (16, 64, 96, 3), dtype=np.uint8))
    for frames in (noise, torch.zeros_like(noise), torch.full_like(noise, 255)):
        for still in (noise[0], torch.zeros_like(noise[0])):
            found = clip_maps(frames, still, 8)
            assert found.shape == (2, len(CLIP_MAPS), 8, 12)
            assert torch.isfinite(found).all()
            assert (found >= 0).all()


def test_a_network_that_sees_maps_is_built_again_and_scores_the_same():
    torch.manual_seed(3)
    config = TwoStageConfig(**SMALL, clip_view="motion")  # type: ignore[arg-type]
    model = TwoStage(Architecture.of(config, feature_dim=6), dropout=0.0).eval()
    again = TwoStage(Architecture.from_dict(model.architecture.to_dict()), dropout=0.0).eval()
    again.load_state_dict(model.state_dict())
    clips, stills = clip((2, 1.0, 70))[None], background()[None]

    assert model.needs_backgrounds
    with torch.no_grad():
        scores, kept = model.patch_maps(clips, None, stills)
        others, _ = again.patch_maps(clips, None, stills)
    assert scores.shape == (1, 2, 24)
    assert kept.all()
    assert torch.equal(scores, others)


def test_the_grid_that_is_seen_has_a_pixel_a_patch_and_a_channel_a_map():
    seen = seen_grid(GRID, "motion", 1)

    assert (seen.rows, seen.columns, seen.tubelets) == (GRID.rows, GRID.columns, GRID.tubelets)
    assert (seen.patch, seen.channels, seen.patch_values) == (1, 18, 18)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"resize": (60, 96), "patch_size": 12}, "patch_size"),
        ({"num_tubelet": 8}, "num_tubelet"),
        ({"view_cell": 8}, "view_cell"),
        ({"encoder_point": "vit.safetensors"}, "encoder_point"),
    ],
)
def test_what_maps_cannot_be_made_of_is_refused_by_name(settings, field):
    with pytest.raises(ConfigError) as caught:
        TwoStageConfig(**{**SMALL, "clip_view": "motion", **settings})  # type: ignore[arg-type]

    assert field in caught.value.fields
