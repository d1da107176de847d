"""The small strip under a video: its truth as bands, and a run's score as a curve, both over time.

Only numbers for an SVG: positions in percent of its width, so that bands keep their hatching at
any size, and a path in a box of `WIDTH` x `HEIGHT` that is stretched over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vad.evaluation.scores import VideoScores

WIDTH, HEIGHT = 200, 100
POINTS = 120  # of a curve; a strip is about 240 pixels wide


@dataclass(frozen=True, kw_only=True)
class Strip:
    """What is drawn.

    Args:
        bands: (left, width) of each interval, in percent of the video.
        line, area: `d` attributes; empty without scores.
        peak: (left, top) of the highest score, in percent; None without scores.
        label: the same in words.
    """

    bands: tuple[tuple[str, str], ...]
    line: str = ""
    area: str = ""
    peak: tuple[str, str] | None = None
    label: str = ""


def strip(
    num_frames: int, intervals: Sequence[tuple[int, int]], video: VideoScores | None = None
) -> Strip | None:
    """The strip of a video; None where its length is unknown, or there is nothing to draw.

    Args:
        num_frames: of the video; 0 is unknown, and then the scores' own length counts.
        intervals: anomalous frames [start, end).
        video: a run's scores of it.
    """
    length = num_frames or (video.num_frames if video else 0)
    if not length or not (intervals or video):
        return None
    bands = tuple(
        (_percent(start / length), _percent(max(0, min(end, length) - start) / length))
        for start, end in intervals
        if start < length
    )
    said = [f"anomalous: {spans(intervals)}"] if intervals else []
    if video is None:
        return Strip(bands=bands, label="; ".join(said).capitalize())
    starts, ends, values = envelope(video)
    x = np.stack([starts, ends], axis=1).ravel() * (WIDTH / length)
    y = np.repeat((1 - np.clip(values, 0, 1)) * HEIGHT, 2)
    line = "M" + " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    top = int(values.argmax())
    said.insert(0, f"score up to {values[top]:.3f} at frame {starts[top]:,}")
    return Strip(
        bands=bands,
        line=line,
        area=f"{line} {x[-1]:.1f},{HEIGHT} {x[0]:.1f},{HEIGHT}Z",
        peak=(_percent((starts[top] + ends[top]) / 2 / length), _percent(y[2 * top] / HEIGHT)),
        label="; ".join(said).capitalize(),
    )


def envelope(video: VideoScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First frames, ends and scores [n], n at most `POINTS`: the highest score of each stretch.

    Every maximum survives, and so does the order in time.
    """
    starts, values = video.start_frames, video.scores
    ends = starts + video.frames
    if len(values) > POINTS:
        first = np.unique(np.linspace(0, len(values), POINTS, endpoint=False).astype(np.int64))
        last = np.append(first[1:], len(values)) - 1
        starts, ends, values = starts[first], ends[last], np.maximum.reduceat(values, first)
    return starts, ends, values


def spans(intervals: Sequence[tuple[int, int]]) -> str:
    """Intervals in words, the last frame included, as a person reads them."""
    shown = ", ".join(f"{start:,} to {end - 1:,}" for start, end in intervals[:4])
    more = f" and {len(intervals) - 4} more" if len(intervals) > 4 else ""
    return f"frames {shown}{more}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
