"""From snippets to frames, and from long curves to what a screen can show. numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad.errors import ShapeError

RULES = ("hold", "stretch")


@dataclass(frozen=True)
class SnippetRule:
    """How the T snippets of a video cover its F frames. Part of the protocol fingerprint.

    `hold`: snippet t covers frames [t*L, (t+1)*L) for L = `snippet_len`; frames after the last
    whole snippet keep its score. T must be F / L, rounded down or up, give or take `slack`
    snippets: where some are missing the last score is kept, those behind the last frame cover
    nothing. `stretch`: frame f takes snippet floor(T*f / F), for features that were sampled evenly
    over the video whatever its length.
    """

    rule: str = "hold"
    snippet_len: int = 16
    slack: int = 0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown snippet rule {self.rule!r}; known: {', '.join(RULES)}")
        if self.snippet_len < 1 or self.slack < 0:
            raise ValueError("a snippet has at least one frame, and the slack is not negative")

    def bounds(self, num_snippets: int, num_frames: int) -> np.ndarray:
        """First frame of each snippet, and the end: [T+1] int64, from 0 to F, never falling.

        Raises:
            ShapeError: under `hold`, T does not fit F.
        """
        if self.rule == "stretch":
            # the first f with floor(T*f/F) >= t is ceil(t*F/T)
            return -(-np.arange(num_snippets + 1, dtype=np.int64) * num_frames // num_snippets)
        low = max(1, num_frames // self.snippet_len - self.slack)
        high = math.ceil(num_frames / self.snippet_len) + self.slack
        if not low <= num_snippets <= max(low, high):
            raise ShapeError(
                "scores",
                expected=f"[T], T {low} to {high} for {num_frames} frames",
                got=(num_snippets,),
            )
        starts = np.minimum(
            np.arange(num_snippets + 1, dtype=np.int64) * self.snippet_len, num_frames
        )
        starts[-1] = num_frames
        return starts

    def middle(self, snippet: int, num_snippets: int, num_frames: int) -> int:
        """The frame in the middle of a snippet; under `hold` of a whole one, wherever F ends."""
        if self.rule == "stretch":
            return (2 * snippet + 1) * num_frames // (2 * num_snippets)
        return snippet * self.snippet_len + self.snippet_len // 2

    def to_dict(self) -> dict[str, Any]:
        slack = {"slack": self.slack} if self.slack else {}  # 0 was all there was at first
        return {"rule": self.rule, "snippet_len": self.snippet_len, **slack}


def suggest_rule(frames: np.ndarray, snippets: np.ndarray) -> SnippetRule | None:
    """The rule that fits the lengths of all videos, or None when none does.

    Args:
        frames, snippets: [V], F and T of each video.

    Returns:
        `hold` with the usual 16 frames if that fits, else with the one length that does; `stretch`
        when T is the same for videos of different lengths.
    """
    if len(frames) == 0:
        return None
    guess = int(np.rint(np.median(frames / snippets)))
    near = sorted(range(max(1, guess - 2), guess + 3), key=lambda length: abs(length - guess))
    for length in dict.fromkeys((SnippetRule.snippet_len, *near)):
        low, high = np.maximum(1, frames // length), -(-frames // length)
        if ((low <= snippets) & (snippets <= high)).all():
            return SnippetRule("hold", length)
    return SnippetRule("stretch") if len(set(snippets.tolist())) == 1 else None


def snippet_to_frame(
    scores: np.ndarray, num_frames: int, rule: SnippetRule | None = None
) -> np.ndarray:
    """Hold each snippet's score over the frames that the snippet covers.

    Args:
        scores: [T], 0 to 1, in time order.
        num_frames: F, counted by decoding, never read from the container.
        rule: how snippets cover frames; 16 frames each by default.

    Returns:
        [F], same dtype.

    Raises:
        ShapeError: `scores` is not 1-D, or T does not fit F.

    Source: the protocol of Sultani et al. 2018.
    """
    if scores.ndim != 1:
        raise ShapeError("scores", expected="[T]", got=scores.shape)
    starts = (rule or SnippetRule()).bounds(len(scores), num_frames)
    return np.repeat(scores, np.diff(starts))


def interval_mask(intervals: tuple[tuple[int, int], ...], num_frames: int) -> np.ndarray:
    """[F] bool: frames inside any interval [start, end), clipped to the video."""
    mask = np.zeros(num_frames, dtype=bool)
    for start, end in intervals:
        mask[max(0, start) : max(0, end)] = True
    return mask


def mask_intervals(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The runs of True in [F] bool, as [start, end) pairs in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2))


def thin(x: np.ndarray, y: np.ndarray, max_points: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `max_points` of a curve, keeping the least and greatest of every bucket.

    Args:
        x, y: [n], in drawing order.
        max_points: at least 4; the first and last points are always kept.

    Returns:
        The chosen points, in order. The global extremes of y are among them, so a spike of one
        point stays visible. A bucket without a finite value keeps one of its points, so a gap
        stays a gap.
    """
    n = len(x)
    if n <= max_points:
        return x, y
    groups = max(1, (max_points - 2) // 2)
    edges = np.linspace(0, n, groups + 1).astype(np.int64)
    within = np.arange(np.diff(edges).max())
    index = np.minimum(edges[:-1, None] + within, edges[1:, None] - 1)  # [groups, longest group]
    part = y[index]
    finite = np.isfinite(part)
    at = np.arange(groups)
    low = index[at, np.where(finite, part, np.inf).argmin(axis=1)]
    high = index[at, np.where(finite, part, -np.inf).argmax(axis=1)]
    keep = np.unique(np.concatenate([[0, n - 1], low, high]))
    return x[keep], y[keep]
