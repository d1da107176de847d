from __future__ import annotations

from typing import Any

import pytest

from vad.configs import TwoStageConfig
from vad.errors import ConfigError


def test_the_seed_documents_clip_is_cut_into_8_tubelets_of_2_frames() -> None:
    grid = TwoStageConfig().grid

    assert (grid.tubelets, grid.tubelet_frames, grid.patches) == (8, 2, 64)


def test_the_published_tubelets_span_8_frames() -> None:
    grid = TwoStageConfig(num_tubelet=0, tubelet_size=8).grid

    assert (grid.tubelets, grid.tubelet_frames, grid.patch_values) == (2, 8, 6144)


@pytest.mark.parametrize(("ratios", "kind"), [((1.0, 1.0, 1.0), "none"), ((0.7, 0.5, 0.3), "hard")])
def test_patches_are_pruned_where_a_ratio_says_so(ratios: tuple[float, ...], kind: str) -> None:
    assert TwoStageConfig(token_ratio=ratios).pruning_kind == kind


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("resize", {"patch_size": 24}),
        ("resize", {"resize": (120, 100)}),
        ("num_tubelet", {"num_tubelet": 5}),
        ("tubelet_size", {"num_tubelet": 0, "tubelet_size": 5}),
        ("tubelet_size", {"tubelet_size": 8}),
        ("tubelet_size", {"num_tubelet": 0}),
        ("encoder_heads", {"encoder_heads": 7}),
        ("encoder_dim", {"encoder_dim": 64, "encoder_heads": 4, "pruning": "hard"}),
        ("pruning_places", {"encoder_depth": 6, "pruning": "soft"}),
        ("pruning_places", {"pruning_places": (3, 3, 6), "pruning": "hard"}),
        ("token_ratio", {"token_ratio": (0.3, 0.5, 0.7)}),
        ("token_ratio", {"token_ratio": (0.7, 0.5, 0.01)}),
        ("token_ratio", {"token_ratio": (0.7, 0.5, 0.3), "pruning": "none"}),
        ("motion", {"motion": "variance"}),
        ("motion", {"motion": "variance", "pruning": "soft", "num_tubelet": 1}),
        ("motion", {"motion": "time-reversal", "pruning": "soft", "num_tubelet": 16}),
        ("view_cell", {"view_cell": 4}),
        ("view_cell", {"clip_view": "energy", "view_cell": 5}),
        ("segment_length", {"clip_view": "energy", "segment_length": 1, "num_tubelet": 1}),
        ("segment_length", {"clip_view": "speed", "segment_length": 1, "num_tubelet": 1}),
        ("resize", {"clip_view": "speed", "resize": (64, 16)}),
        ("view_cell", {"clip_view": "speed", "view_cell": 4}),
        ("patch_context", {"patch_context": "patch", "token_ratio": (0.7, 0.5, 0.3)}),
        ("choice_count", {"snippet_choice": "several", "choice_count": 3, "num_segments": 32 - 1}),
        ("snippet_choice", {"snippet_choice": "second", "num_segments": 8}),
        ("patch_top", {"patch_top": 513}),
    ],
)
def test_what_does_not_fit_together_is_refused_at_its_field(
    field: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as caught:
        TwoStageConfig(**settings)
    assert field in caught.value.fields


def test_every_size_that_divides_is_accepted() -> None:
    for frames, tubelets, size, patch in ((16, 4, (96, 128), 16), (32, 8, (64, 64), 8)):
        config = TwoStageConfig(
            segment_length=frames, num_tubelet=tubelets, resize=size, patch_size=patch
        )
        assert config.grid.tokens == tubelets * (size[0] // patch) * (size[1] // patch)
