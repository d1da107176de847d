"""Scores over the frames of one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.charts.figure import Figure, axis, clean, layout, listing, plain, shown
from webapp.charts.palette import style


@dataclass(frozen=True, kw_only=True)
class ScoreTrack:
    """One run's scores of a video.

    Args:
        starts: first frame of each snippet, ascending.
        scores: 0 to 1, one a snippet; held until the next one starts.
        index: the run's place in the selection.
        of_patch: one patch's scores, not the snippet's: dotted and thin, in the run's colour.
    """

    name: str
    starts: Sequence[int]
    scores: Sequence[float]
    index: int = 0
    of_patch: bool = False


def score_timeline(
    tracks: Sequence[ScoreTrack],
    *,
    title: str,
    num_frames: int,
    truth: Sequence[tuple[int, int]] = (),
    threshold: float | None = None,
) -> Figure:
    """Scores of n runs over one video, the truth as a hatched band that hides no score.

    Args:
        truth: anomalous intervals in frames, [start, end).
    """
    data: list[dict[str, Any]] = []
    if truth:
        data.append(_truth(truth))
    for track in tracks:
        look = style(track.index)
        starts, scores = clean(track.starts), clean(track.scores)
        if starts:  # the last snippet holds to the end of the video
            starts, scores = [*starts, num_frames], [*scores, scores[-1]]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": starts,
                "y": scores,
                "name": plain(track.name),
                "line": {
                    "color": look.color,
                    "dash": "dot" if track.of_patch else look.dash,
                    "width": 1 if track.of_patch else 1.5,
                    "shape": "hv",
                },
                "hovertemplate": f"{plain(track.name)} %{{y:.3f}}<extra></extra>",
            }
        )
    more: dict[str, Any] = {}
    if threshold is not None:
        more["shapes"] = [
            {
                "type": "line",
                "x0": 0,
                "x1": 1,
                "xref": "paper",
                "y0": threshold,
                "y1": threshold,
                "line": {"color": "var(--chart-line)", "width": 1, "dash": "dash"},
                "name": "threshold",
            }
        ]
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Frame", range=[0, num_frames], hoverformat=",.0f", showgrid=False),
            axis("Anomaly score", "0 to 1", range=[0, 1.02], dtick=0.25),
            **more,
        ),
        alt=_alt(title, tracks, num_frames, truth, threshold),
        live=False,
    )


def _truth(intervals: Sequence[tuple[int, int]]) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[float | None] = []
    for start, end in intervals:
        x += [start, start, end, end, start, None]
        y += [0, 1.02, 1.02, 0, 0, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": "anomaly (truth)",
        "legendrank": 2000,
        "line": {"width": 0.5, "color": "var(--chart-truth)"},
        "fill": "toself",
        "fillcolor": "rgba(128,128,128,0.06)",
        "fillpattern": {
            "shape": "/",
            "size": 7,
            "solidity": 0.12,
            "fgcolor": "var(--chart-truth)",
            "bgcolor": "rgba(128,128,128,0.06)",
        },
        "hoverinfo": "skip",
    }


def _alt(
    title: str,
    tracks: Sequence[ScoreTrack],
    num_frames: int,
    truth: Sequence[tuple[int, int]],
    threshold: float | None,
) -> str:
    spans = ", ".join(f"{start:,} to {end:,}" for start, end in truth) or "none"
    parts = []
    for track in tracks:
        scores = [s for s in clean(track.scores) if s is not None]
        if scores:
            peak = max(range(len(scores)), key=scores.__getitem__)
            parts.append(
                f"{track.name}: highest {shown(scores[peak], 2)} at frame {track.starts[peak]:,}"
            )
    limit = "" if threshold is None else f" Threshold {threshold:.2f}."
    return f"{title}, {num_frames:,} frames. Anomalous frames: {spans}. {listing(parts)}.{limit}"
