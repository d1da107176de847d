"""The background of videos: what a fixed camera sees where nothing moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vad.data.clips import Clips

LOOKS = 16  # frames that the background is made of


class Backgrounds:
    """A picture for each video, made when it is first asked for and kept: H * W * 3 bytes.

    The median of frames from the video's first third: later, what has come to stand there would be
    background, and its absence before would be what looks strange.

    Args:
        clips: at the size that the pictures are to have.
    """

    def __init__(self, clips: Clips) -> None:
        self._clips = clips
        self._made: dict[str, np.ndarray] = {}

    def of(self, keys: Sequence[str]) -> np.ndarray:
        """[B, H, W, 3] uint8, one for each of these videos.

        Raises:
            VadError: `video-unreadable` and its kin, when no frame of a video can be had.
        """
        missing = list(dict.fromkeys(key for key in keys if key not in self._made))
        if missing:
            found = self._clips.get([(key, self._looks(key)) for key in missing])
            self._made |= {key: _median(frames) for key, frames in zip(missing, found, strict=True)}
        return np.stack([self._made[key] for key in keys])

    def _looks(self, key: str) -> np.ndarray:
        total = self._clips.num_frames(key)
        last = min(max(48, total // 3), total) - 1
        return np.linspace(0, max(0, last), LOOKS).round().astype(np.int64)


def _median(frames: np.ndarray) -> np.ndarray:
    return np.median(frames, axis=0).astype(np.uint8)
