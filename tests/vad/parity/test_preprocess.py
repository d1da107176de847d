"""Crops, scaling and resizing against numbers that the published code computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vectors import FORWARD, frame, vector

from vad.features import preprocess


def cases(v: dict[str, np.ndarray]) -> list[int]:
    found = [int(k[5:-3]) for k in v if k.startswith("frame") and k.endswith("_hw")]
    assert found
    return found


def test_crops_begin_and_end_where_the_reference_cuts() -> None:
    corners = vector("preprocess")["crop_corners"]
    height, width = preprocess.I3D_FRAME
    row, column = np.mgrid[:height, :width]
    where = np.stack([row, column, row], axis=-1)[None]  # a frame whose pixels say where they are

    places = preprocess.crop_places(10)

    assert len(places) == len(corners)
    for place, expected in zip(places, corners, strict=True):
        cut = preprocess.crop(where, *place)[0]
        assert cut.shape == (224, 224, 3)
        got = [cut[r, c, :2].tolist() for r in (0, -1) for c in (0, -1)]
        assert got == expected.tolist()


def test_bytes_become_minus_one_to_one() -> None:
    v = vector("preprocess")
    clips = torch.from_numpy(
        np.broadcast_to(v["scale_in"][:, None, None], (1, 1, 256, 1, 3)).copy()
    )

    got = preprocess.i3d_input(clips)

    assert got.shape == (1, 3, 1, 256, 1)
    for channel in got[0, :, 0, :, 0]:
        np.testing.assert_allclose(channel, v["scale_out"], **FORWARD)


def test_pillow_resize() -> None:
    v = vector("preprocess")
    for i in cases(v):
        size = tuple(v[f"sst_resize{i}_hw"].tolist())
        got = preprocess.resize_pillow(frame(v, f"frame{i}")[None], size)[0]

        scaled = got.transpose(2, 0, 1)[:, ::4, ::4].astype(np.float32) / 255
        np.testing.assert_allclose(scaled, v[f"sst_resize{i}"], atol=1 / 255, rtol=0)


def test_torch_resize() -> None:
    v = vector("preprocess")
    for i in cases(v):
        f = frame(v, f"frame{i}")
        clip = np.stack([f, f[::-1], f[:, ::-1], 255 - f])
        got = preprocess.resize_torch(clip, tuple(v[f"sst_resize{i}_hw"].tolist()))

        np.testing.assert_allclose(
            got.numpy()[:, :, ::4, ::4], v[f"videomae_resize{i}"], atol=1e-5, rtol=0
        )


def test_the_published_order_has_the_same_crops_centre_first() -> None:
    for count in (5, 10):
        published = preprocess.crop_places(count, "published")
        assert published[0] == preprocess.crop_places(1)[0] == (16, 58, False)
        assert sorted(published) == sorted(preprocess.crop_places(count))
    assert [p[2] for p in published] == [False] * 5 + [True] * 5


@pytest.mark.parametrize(
    ("frames", "completed", "whole"), [(1, 1, 1), (15, 1, 1), (16, 1, 1), (17, 2, 1), (48, 3, 3)]
)
def test_snippets_of_a_video(frames, completed, whole) -> None:
    assert preprocess.snippet_count(frames, 16, complete_tail=True) == completed
    assert preprocess.snippet_count(frames, 16, complete_tail=False) == whole


def test_the_tail_repeats_the_last_frame() -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)

    got = preprocess.complete(frames, 5)

    assert got[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]


def test_normalising_is_by_channel() -> None:
    clip = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)

    torch.testing.assert_close(preprocess.normalise(clip), torch.zeros(1, 3, 2, 4, 4))
    torch.testing.assert_close(
        preprocess.normalise(clip + torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1, 1)),
        torch.ones(1, 3, 2, 4, 4),
    )
