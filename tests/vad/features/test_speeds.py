"""How fast places move: a texture of which a part is shifted by known amounts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vad.features import speeds
from vad.features.speeds import speed_map

HEIGHT, WIDTH, FRAMES = 64, 192, 9
MOVING = slice(64, 128)  # columns; cells of 64 pixels: the one in the middle


def texture(seed: int) -> Tensor:
    """Smooth spots, as flow by gradients needs them: [H, W], about 0 to 255."""
    made = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 1, HEIGHT // 4, WIDTH // 4, generator=made)
    return F.interpolate(noise, (HEIGHT, WIDTH), mode="bicubic")[0, 0] * 200 + 20


def clip(pictures: list[Tensor]) -> Tensor:
    grey = torch.stack(pictures).round().clamp(0, 255).to(torch.uint8)
    return grey[..., None].expand(-1, -1, -1, 3).contiguous()


def window(places: Sequence[float], columns: slice = MOVING) -> Tensor:
    """Behind a window in a wall that stands, a texture is so many pixels to the right."""
    wall, spots = texture(1), texture(2)
    shown = []
    for place in places:
        # in the frequency domain, where parts of a pixel are no less exact
        turn = torch.exp(-2j * torch.pi * torch.fft.fftfreq(WIDTH) * place)
        picture = wall.clone()
        picture[:, columns] = torch.fft.ifft(torch.fft.fft(spots) * turn).real[:, columns]
        shown.append(picture)
    return clip(shown)


def steady(speed: float, frames: int = FRAMES) -> list[float]:
    return [speed * at for at in range(frames)]


def cells(made: Tensor, length: int = FRAMES) -> Tensor:
    """Of the wall on the left, the window, and the wall on the right: [T, 3]."""
    return speed_map(made, rows=1, columns=3, length=length)[:, 0]


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0, 4.0])
def test_a_place_that_moves_has_its_speed_and_others_have_none(speed: float) -> None:
    left, middle, right = cells(window(steady(speed)))[0].tolist()

    assert middle == pytest.approx(speed, rel=0.15)
    assert max(left, right) < 0.3 * speed  # the window of the flow reaches over the border


def test_where_a_quarter_moves_the_mean_square_is_a_quarter() -> None:
    (found,) = cells(window(steady(2.0), slice(88, 104)))[:, 1].tolist()

    assert found == pytest.approx(2.0 * 0.25**0.5, rel=0.2)


def test_what_no_shift_explains_counts_little(monkeypatch: pytest.MonkeyPatch) -> None:
    made = torch.Generator().manual_seed(0)
    pictures = [texture(1) for _ in range(FRAMES)]
    for picture in pictures:
        picture[:, MOVING] = torch.rand(HEIGHT, 64, generator=made) * 200
    checked = cells(clip(pictures)).max()
    monkeypatch.setattr(speeds, "LEFT", float("inf"))

    assert checked < 0.5 * cells(clip(pictures)).max()
    assert cells(clip([texture(1)] * FRAMES)).max() == 0


def test_each_tubelet_has_its_own_speed_and_the_first_frame_that_of_the_second() -> None:
    places = [0.0, 2.0, 4.0, 6.0, 6.5, 7.0, 7.5, 8.0]

    both = cells(window(places), length=4)[:, 1].tolist()

    assert both == pytest.approx([2.0, 0.5], rel=0.15)
