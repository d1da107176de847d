"""The transformer of VideoMAE V2 against numbers that the published code computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vectors import FORWARD, cases, close, fill, given, vector

from vad.features.videomae import VARIANTS, Variant, VideoMae, position_table


def variant(v: dict[str, np.ndarray], i: int) -> Variant:
    image, patch, width, depth, heads, frames, tubelet, classes = v[f"cfg{i}"].tolist()
    return Variant(
        image_size=image,
        patch=patch,
        width=width,
        depth=depth,
        heads=heads,
        hidden=width * 48 // 11,
        frames=frames,
        tubelet=tubelet,
        num_classes=classes,
    )


@torch.inference_mode()
def test_features_and_class_scores() -> None:
    v = vector("videomae")
    for i in cases(v, "cfg"):
        model, clips = fill(VideoMae(variant(v, i))), given(v, f"x{i}", rule="U")
        features = model(clips)

        close(features, v[f"features{i}"], FORWARD)
        close(model.classify(clips), v[f"logits{i}"], FORWARD)
        close(model.pos_embed, v[f"pos_embed{i}"], FORWARD)


def test_parameters_are_the_published_ones_in_order() -> None:
    v = vector("videomae")
    for i in cases(v, "cfg"):
        state = VideoMae(variant(v, i)).state_dict()

        assert [f"{k} {tuple(t.shape)}" for k, t in state.items()] == [
            str(k) for k in v[f"keys{i}"]
        ]


def test_the_giant_has_the_published_shapes() -> None:
    with torch.device("meta"):
        model = VideoMae(VARIANTS["giant"][0])
    shapes = {k: tuple(t.shape) for k, t in model.state_dict().items()}

    assert shapes["patch_embed.proj.weight"] == (1408, 3, 2, 14, 14)
    assert shapes["blocks.39.attn.qkv.weight"] == (4224, 1408)
    assert shapes["blocks.39.attn.q_bias"] == (1408,)
    assert shapes["blocks.39.mlp.fc1.weight"] == (6144, 1408)
    assert shapes["fc_norm.weight"] == (1408,)
    assert shapes["head.weight"] == (710, 1408)
    assert not any(k.startswith(("blocks.40", "norm.", "pos_embed")) for k in shapes)
    assert VARIANTS["giant"][0].num_tokens == 2048
    # 4.05 GB in float32
    assert sum(t.numel() for t in model.parameters()) * 4 == pytest.approx(4.05e9, rel=2e-3)


@pytest.mark.parametrize(("name", "width", "heads"), [("small", 384, 6), ("base", 768, 12)])
def test_the_distilled_ones_have_the_published_shapes(name, width, heads) -> None:
    with torch.device("meta"):
        model = VideoMae(VARIANTS[name][0])

    assert model.patch_embed.proj.weight.shape == (width, 3, 2, 16, 16)
    assert len(model.blocks) == 12
    assert model.blocks[0].attn.heads == heads
    assert model.blocks[0].mlp.fc1.weight.shape == (4 * width, width)
    assert model.head.weight.shape == (710, width)


def test_a_position_by_hand() -> None:
    table = position_table(2048, 1408).double().numpy()

    for n, j in [(0, 0), (0, 1), (1, 0), (1, 1), (2047, 700), (2047, 701), (1000, 1407)]:
        angle = n / 10000 ** (2 * (j // 2) / 1408)
        expected = np.cos(angle) if j % 2 else np.sin(angle)
        assert table[n, j] == pytest.approx(expected, abs=1e-6)
