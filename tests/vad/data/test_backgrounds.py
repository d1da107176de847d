"""The background of a video is what its first third shows where nothing moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vad.data.backgrounds import LOOKS, Backgrounds


class Footage:
    """Videos in memory: a bright square walks over grey, and from frame 150 on a box stands there.

    Attributes:
        asked: how often each video was read.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.asked: list[str] = []
        self.seen: list[np.ndarray] = []

    def num_frames(self, key: str) -> int:
        return self.frames

    def get(self, wanted: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
        self.asked += [key for key, _ in wanted]
        self.seen += [numbers for _, numbers in wanted]
        return np.stack([np.stack([self.frame(int(n)) for n in numbers]) for _, numbers in wanted])

    def frame(self, number: int) -> np.ndarray:
        picture = np.full((8, 64, 3), 90, np.uint8)
        at = number % 56
        picture[2:6, at : at + 8] = 250
        if number >= 150:
            picture[:, 60:] = 10
        return picture


def test_neither_who_walks_nor_what_came_later_is_background():
    footage = Footage(300)

    made = Backgrounds(footage).of(["a"])  # type: ignore[arg-type]

    assert made.shape == (1, 8, 64, 3)
    assert made.dtype == np.uint8
    assert (made == 90).all()


def test_a_video_is_read_once_and_in_rising_order():
    footage = Footage(300)
    backgrounds = Backgrounds(footage)  # type: ignore[arg-type]

    both = backgrounds.of(["a", "b", "a"])
    again = backgrounds.of(["b"])

    assert footage.asked == ["a", "b"]
    assert np.array_equal(both[1], again[0])
    for numbers in footage.seen:
        assert len(numbers) == LOOKS
        assert (np.diff(numbers) > 0).all()
        assert numbers[0] == 0
        assert numbers[-1] == 99


def test_a_video_of_one_frame_has_a_background():
    footage = Footage(1)

    made = Backgrounds(footage).of(["a"])  # type: ignore[arg-type]

    assert np.array_equal(made[0], footage.frame(0))
