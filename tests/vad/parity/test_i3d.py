"""I3D against numbers that the published code computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vectors import FORWARD, LARGE, close, drawn, fill, given, vector

from vad.features.i3d import EPS_TENSORFLOW, EPS_URDMU, I3D, same_padding

CLIP = (1, 3, 16, 224, 224)


def network(eps: float = EPS_TENSORFLOW) -> I3D:
    return fill(I3D(eps=eps))


@torch.inference_mode()
def test_every_end_point_of_small_clips_in_order() -> None:
    v = vector("i3d")
    small = sorted({name.split("_")[0] for name in v if name.startswith("clip")} - {"clip224"})
    assert small
    for clip in small:
        stored = [
            name.removeprefix(f"{clip}_").removesuffix("_stats")
            for name in v
            if name.startswith(f"{clip}_") and name.endswith("_stats")
        ]
        seen = []
        for name, x in network().end_points(given(v, clip, rule="V")):
            seen.append(name)
            assert list(x.shape) == v[f"{clip}_{name}_shape"].tolist()
            stats = torch.stack([x.mean(), x.abs().max(), x.std()])
            close(stats, v[f"{clip}_{name}_stats"], FORWARD)
        assert seen == stored
        close(x[:, ::4], v[f"{clip}_Mixed_5c"], FORWARD)


@torch.inference_mode()
def test_feature_and_class_scores_of_a_whole_clip() -> None:
    v = vector("i3d")
    clip = drawn(v, "clip224", CLIP, "V")
    model = network()
    pooled = model.pooled(clip)

    close(pooled.flatten(), v["feat224"], LARGE)
    close(model.logits(pooled).flatten(), v["logits224"], LARGE)


@torch.inference_mode()
def test_the_smaller_eps_gives_the_features_of_the_urdmu_extractor() -> None:
    v = vector("i3d")
    clip = drawn(v, "clip224", CLIP, "V")
    model = network(EPS_URDMU)
    pooled = model.pooled(clip)

    close(pooled.flatten(), v["feat224_eps1e5"], FORWARD)
    close(model.logits(pooled).flatten().softmax(0), v["softmax224_eps1e5"], FORWARD)
    # the two settings are not the same numbers, so the option is felt
    assert np.abs(v["feat224_eps1e5"] - v["feat224"]).max() > 1e-4


@pytest.mark.parametrize("kernel,stride", [(7, 2), (3, 2), (3, 1), (2, 2), (1, 1)])
@pytest.mark.parametrize("length", range(1, 20))
def test_same_padding_gives_ceil_of_length_over_stride(length, kernel, stride) -> None:
    ((front, back),) = same_padding((length,), (kernel,), (stride,))

    assert (length + front + back - kernel) // stride + 1 == -(-length // stride)
    assert 0 <= back - front <= 1
    # nothing beyond what the last window needs
    last_window_end = (-(-length // stride) - 1) * stride + kernel
    assert front + back == max(0, last_window_end - length)


def test_parameters_are_the_published_ones() -> None:
    state = I3D().state_dict()
    units = {name.removesuffix(".conv3d.weight") for name in state if "conv3d.weight" in name}
    mixed = [f"Mixed_{n}" for n in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")]
    branches = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")

    assert units == {"Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "logits"} | {
        f"{m}.{b}" for m in mixed for b in branches
    }
    assert state["Conv3d_1a_7x7.conv3d.weight"].shape == (64, 3, 7, 7, 7)
    assert state["Mixed_5c.b2b.conv3d.weight"].shape == (128, 48, 3, 3, 3)
    assert state["logits.conv3d.weight"].shape == (400, 1024, 1, 1, 1)
    for unit in units - {"logits"}:
        names = {
            name.removeprefix(f"{unit}.bn.") for name in state if name.startswith(f"{unit}.bn")
        }
        assert names == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
