"""The motion descriptor: what moves how fast, what burns, what was left, whatever the light."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vad.features.flow import box, global_shift, lucas_kanade
from vad.features.motion import CELL_MAPS, DIM, MotionDescriptor

SIZE = (96, 128)
NOISE = 2.0


def scenery(seed: int = 0) -> np.ndarray:
    """A textured background, [96, 128, 3] float."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(12, 16)).repeat(8, axis=0).repeat(8, axis=1)
    return (120 + 18 * coarse + 6 * rng.normal(size=SIZE))[..., None].repeat(3, axis=2)


def film(frames: int, draw=None, background: np.ndarray | None = None, seed: int = 1) -> Tensor:
    """A clip of the scenery with noise; `draw(picture, t)` changes each picture in place."""
    rng = np.random.default_rng(seed)
    base = scenery() if background is None else background
    clip = []
    for t in range(frames):
        picture = base.copy()
        if draw:
            draw(picture, t)
        picture += NOISE * rng.normal(size=picture.shape)
        clip.append(np.clip(picture, 0, 255).astype(np.uint8))
    return torch.from_numpy(np.stack(clip))


def person(picture: np.ndarray, x: float, top: int = 40, height: int = 30, width: int = 10) -> None:
    left = round(x)
    a, b = max(0, left), min(SIZE[1], left + width)
    if a < b:
        rng = np.random.default_rng(9)
        grain = rng.normal(size=(height // 3 + 1, width // 3 + 1, 1))
        texture = 40 + 30 * grain.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]
        picture[top : top + height, a:b] = texture[:, a - left : b - left]


def describe(clip: Tensor, block: int = 64) -> Tensor:
    return MotionDescriptor(16, SIZE)(iter(clip.split(block)))


def value(features: Tensor, name: str, pooling: str = "top") -> Tensor:
    """One map's number for every snippet, [T]."""
    return features[:, 2 * CELL_MAPS.index(name) + (pooling == "top")]


@pytest.mark.parametrize(("frames", "snippets"), [(1, 1), (16, 1), (17, 2), (47, 3), (48, 3)])
def test_a_partial_snippet_at_the_end_counts(frames, snippets):
    features = describe(film(frames))

    assert features.shape == (snippets, DIM) and features.dtype == torch.float32
    assert torch.isfinite(features).all()


def test_the_blocks_in_which_frames_come_do_not_matter():
    clip = film(70, lambda p, t: person(p, 2 * t))

    assert torch.equal(describe(clip, 64), describe(clip, 7))


def test_the_last_frame_fills_up_the_last_snippet():
    clip = film(40, lambda p, t: person(p, 2 * t))
    filled = torch.cat((clip, clip[-1:].expand(8, -1, -1, -1)))

    assert torch.equal(describe(clip), describe(filled))


def test_flow_finds_how_far_a_picture_moved():
    rng = torch.Generator().manual_seed(0)
    large = box(torch.randn(1, 1, 80, 100, generator=rng) * 60, 5)

    flow = lucas_kanade(large[..., 10:70, 10:90], large[..., 11:71, 8:88], noise=1.0)

    inner = flow[0, :, 15:45, 15:65].flatten(1).median(dim=1).values
    assert torch.allclose(inner, torch.tensor([2.0, -1.0]), atol=0.15)


def test_a_shaking_camera_is_measured_though_a_caption_stands_still():
    rng = torch.Generator().manual_seed(0)
    large = 120 + box(torch.randn(1, 1, 70, 90, generator=rng) * 60, 3)
    still = large[..., 5:65, 5:85].clone()
    shaken = large[..., 5:65, 6:86].clone()
    for picture in (still, shaken):
        picture[..., :5, ::2] = 250

    shift = global_shift(shaken, still)

    assert torch.allclose(shift, torch.tensor([[-1.0, 0.0]]), atol=0.1)


def test_running_is_faster_than_walking_near_and_far():
    def pace(step: float, height: int) -> float:
        clip = film(64, lambda p, t: person(p, step * height * t - 20, 40, height, height // 3))
        return float(value(describe(clip), "pace_peak").max())

    for height in (24, 42):
        assert pace(0.17, height) > 1.5 * pace(0.06, height)
    assert 0.5 < pace(0.06, 24) / pace(0.06, 42) < 2


def test_nothing_moves_in_an_empty_scene_and_when_the_light_changes():
    still = describe(film(48))
    dimmed = describe(film(48, lambda p, t: p.__imul__(1 - 0.3 * t / 48)))

    for name in ("moving", "pace_peak", "agitation", "left", "burning"):
        assert value(still, name).max() < 0.35, name
        assert value(dimmed, name).max() < 0.35, name


def test_a_shaking_camera_is_no_movement():
    large = np.pad(scenery(), ((2, 2), (2, 2), (0, 0)), mode="edge")
    rng = np.random.default_rng(5)

    def shake(picture: np.ndarray, t: int) -> None:
        dy, dx = rng.integers(0, 5, 2) if t >= 48 else (2, 2)
        picture[:] = large[dy : dy + SIZE[0], dx : dx + SIZE[1]]

    features = describe(film(96, shake))
    walking = describe(film(96, lambda p, t: person(p, 2 * t - 20)))

    assert value(features, "speed_peak").max() < 0.5 * value(walking, "speed_peak").max()


def test_a_bag_that_stays_is_seen_as_long_as_it_is_there_and_not_before():
    def drop(picture: np.ndarray, t: int) -> None:
        if t >= 64:
            picture[60:72, 50:66] = (150, 40, 40)

    left = value(describe(film(192, drop)), "left_long", "max")

    assert left[:4].max() < 0.05
    assert left[4:].min() > 0.3


def test_somebody_who_waits_for_a_moment_is_not_left_behind():
    def wait(picture: np.ndarray, t: int) -> None:
        person(picture, 2 * min(t, 50) - 20 + 2 * max(0, t - 82))

    left = value(describe(film(192, wait)), "left_long", "max")

    assert left.max() < 0.3


def test_a_flame_burns_and_a_lamp_that_stays_does_not():
    rng = np.random.default_rng(3)

    def burn(picture: np.ndarray, t: int) -> None:
        if t >= 64:
            level = rng.uniform(0.3, 1.0)
            picture[50:66, 60:72] = np.array([250, 150, 40]) * level

    def shine(picture: np.ndarray, t: int) -> None:
        if t >= 64:
            picture[50:66, 60:72] = (250, 250, 250)

    fire, lamp = describe(film(128, burn)), describe(film(128, shine))

    assert value(fire, "burning")[5:].min() > 3 * value(lamp, "burning")[5:].max()
    assert value(fire, "burning")[:4].max() < 0.3


def test_a_fight_stays_at_its_place_and_passers_by_do_not():
    rng = np.random.default_rng(4)

    def fight(picture: np.ndarray, t: int) -> None:
        person(picture, 50 + rng.integers(-3, 4), 40 + rng.integers(-2, 3))
        person(picture, 60 + rng.integers(-3, 4), 40 + rng.integers(-2, 3))

    brawl = describe(film(96, fight))
    passing = describe(film(96, lambda p, t: person(p, 2 * t - 20)))

    assert value(brawl, "sustained").max() > 2 * value(passing, "sustained").max()


def test_grey_and_tiny_and_black_videos_are_described():
    black = torch.zeros(20, *SIZE, 3, dtype=torch.uint8)
    other_size = torch.zeros(20, 50, 70, 3, dtype=torch.uint8)

    for clip in (black, other_size):
        assert torch.isfinite(describe(clip)).all()


def test_a_video_without_frames_is_refused():
    with pytest.raises(ValueError, match="without frames"):
        describe(torch.zeros(0, *SIZE, 3, dtype=torch.uint8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_numbers():
    clip = film(70, lambda p, t: person(p, 2 * t))
    on_gpu = MotionDescriptor(16, SIZE, "cuda")(iter(clip.split(32)))

    assert torch.allclose(on_gpu, describe(clip), atol=2e-3)
