from __future__ import annotations

import numpy as np
import pytest
import torch

from vad.configs import TwoStageConfig
from vad.models.grid import ClipGrid
from vad.models.two_stage import ENERGY_GAIN, Architecture, TwoStage, motion_energy, to_input

SMALL = {"resize": (32, 48), "patch_size": 8, "segment_length": 8, "num_tubelet": 2}
SMALL |= {"encoder_dim": 24, "encoder_depth": 4, "encoder_heads": 2, "pruning_places": (1, 2, 3)}
ALONE = {"clip_view": "energy", "view_cell": 4, "patch_context": "patch"}


def network(**settings: object) -> TwoStage:
    torch.manual_seed(3)
    config = TwoStageConfig(**{**SMALL, **settings})  # type: ignore[arg-type]
    return TwoStage(Architecture.of(config, feature_dim=6), dropout=0.0).eval()


def clips(count: int = 2) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (count, 8, 32, 48, 3), dtype=np.uint8)
    )


def test_energy_is_the_mean_square_of_differences_in_each_cell_of_each_tubelet() -> None:
    grid = ClipGrid(height=32, width=48, frames=8, patch=8, num_tubelet=2)
    made = clips()
    frames = to_input(made).numpy().astype(np.float64)
    steps = np.square(np.diff(frames, axis=2))
    steps = np.concatenate([steps[:, :, :1], steps], axis=2)
    expected = steps.reshape(2, 3, 2, 4, 8, 4, 12, 4).mean(axis=(3, 5, 7)) * ENERGY_GAIN

    got = motion_energy(made, grid, 4)
    assert got.shape == (2, 3, 2, 8, 12)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4)


def test_a_still_clip_has_no_energy() -> None:
    still = clips()[:, :1].expand(-1, 8, -1, -1, -1)
    grid = ClipGrid(height=32, width=48, frames=8, patch=8, num_tubelet=2)

    assert (motion_energy(still, grid, 8) == 0).all()


SPEED = {"clip_view": "speed", "patch_context": "patch"}


@pytest.mark.parametrize("settings", [{}, ALONE, SPEED, {"token_ratio": (0.7, 0.5, 0.3)}])
def test_a_network_is_built_again_from_what_its_checkpoint_says(settings: dict) -> None:
    model = network(**settings)
    again = TwoStage(Architecture.from_dict(model.architecture.to_dict()), dropout=0.0).eval()
    again.load_state_dict(model.state_dict())

    with torch.no_grad():
        for ours, theirs in zip(
            model.patch_maps(clips(), None), again.patch_maps(clips(), None), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_with_the_context_of_a_patch_no_other_patch_changes_its_score() -> None:
    model, made = network(**ALONE), clips(1)
    with torch.no_grad():
        before, kept = model.patch_maps(made, None)
        made[:, :, 8:16, 16:24] = 255 - made[:, :, 8:16, 16:24].flip(1) // 2  # patch (1, 2)
        after, _ = model.patch_maps(made, None)

    changed = (before != after).any(dim=1)[0].nonzero().flatten().tolist()
    assert changed == [1 * 6 + 2]
    assert kept.all()


def test_with_the_context_of_a_clip_all_scores_may_change() -> None:
    model, made = network(), clips(1)
    with torch.no_grad():
        before, _ = model.patch_maps(made, None)
        made[:, :, 8:16, 16:24] = 0
        after, _ = model.patch_maps(made, None)

    assert (before != after).all()


def test_pruned_patches_are_put_back_with_the_stated_score() -> None:
    model = network(token_ratio=(0.75, 0.5, 0.25))
    with torch.no_grad():
        scores, kept = model.patch_maps(clips(), None)

    assert scores.shape == kept.shape == (2, 2, 24)
    assert kept.sum(dim=-1).unique().tolist() == [6]  # a quarter of 24, in each tubelet
    assert (scores[~kept] == 0).all()
    assert (scores[kept] > 0).all()
