"""False alarms and misses of one video at a threshold, as intervals of frames. numpy only.

The rule: a false alarm is a maximal stretch of frames whose score is at or above the threshold and
that are in no anomalous interval. A miss is an anomalous interval of which no frame reaches the
threshold. Scores are compared as 64-bit numbers, so a browser that does the same agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vad.errors import ShapeError
from vad.timeline import interval_mask, mask_intervals


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Frames [start, end) that went wrong.

    Args:
        peak: the highest score in it.
        beside: a false alarm that touches an anomalous interval: the score rose early or fell late.
    """

    start: int
    end: int
    peak: float
    beside: bool = False


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """What is wrong in one video, in the order of its frames.

    Args:
        intervals: anomalous intervals, of which `misses` were never reached.
        wrong_frames: frames of the false alarms, and of truth below the threshold.
    """

    false_alarms: tuple[Alarm, ...]
    misses: tuple[Alarm, ...]
    intervals: int
    wrong_frames: int

    @property
    def count(self) -> int:
        return len(self.false_alarms) + len(self.misses)


def video_alarms(
    scores: np.ndarray,
    frames: np.ndarray,
    intervals: Sequence[tuple[int, int]],
    threshold: float,
) -> Alarms:
    """The false alarms and misses of a video.

    Args:
        scores: [T], one a snippet, held over its frames.
        frames: [T], frames of each snippet; F is their sum.
        intervals: anomalous frames [start, end); what lies after F was not scored and is left out.
        threshold: a score that equals it reaches it.

    Raises:
        ShapeError: `scores` and `frames` do not have the same length.
    """
    if scores.ndim != 1 or scores.shape != frames.shape:
        raise ShapeError("scores", expected=f"[T], T {len(frames)}", got=scores.shape)
    held = np.repeat(scores.astype(np.float64), frames)
    high = held >= threshold
    mask = interval_mask(tuple(intervals), len(held))
    truth = mask_intervals(mask)
    edges = {end for _, end in truth} | {start for start, _ in truth}
    return Alarms(
        false_alarms=tuple(
            Alarm(
                start=start,
                end=end,
                peak=float(held[start:end].max()),
                beside=start in edges or end in edges,
            )
            for start, end in mask_intervals(high & ~mask)
        ),
        misses=tuple(
            Alarm(start=start, end=end, peak=float(held[start:end].max()))
            for start, end in truth
            if not high[start:end].any()
        ),
        intervals=len(truth),
        wrong_frames=int((high != mask).sum()),
    )
