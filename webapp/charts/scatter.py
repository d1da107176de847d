"""One run against another, video by video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.charts.figure import Figure, axis, clean, layout, plain, shown

LOOKS = {  # by label: colours of the palette that no theme makes look alike, and a mark each
    "normal": {"color": "#3c98d0", "symbol": "circle-open"},
    "anomalous": {"color": "#d55e00", "symbol": "diamond"},
}


@dataclass(frozen=True, kw_only=True)
class VideoPoint:
    """A video's number in both runs.

    Args:
        kind: `normal` or `anomalous`.
        href: where a click goes.
    """

    name: str
    kind: str
    x: float
    y: float
    href: str = ""


def videos_scatter(
    points: Sequence[VideoPoint], *, title: str, what: str, first: str, second: str
) -> Figure:
    """Each video by its number in two runs; on the diagonal both agree.

    Args:
        what: the number, with its range: 'highest score (0 to 1)'.
        first, second: names of the runs, x and y.
    """
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 1],
            "y": [0, 1],
            "name": "both agree",
            "legendrank": 2000,
            "line": {"color": "var(--chart-truth)", "width": 1.25, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    for kind, look in LOOKS.items():
        own = [point for point in points if point.kind == kind]
        if own:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": clean([p.x for p in own], 5),
                    "y": clean([p.y for p in own], 5),
                    "name": f"{kind} video ({len(own)})",
                    "text": [plain(p.name) for p in own],
                    "customdata": [p.href for p in own],
                    "marker": {**look, "size": 8, "opacity": 0.8, "line": {"width": 1.5}},
                    "hovertemplate": "%{text}<br>%{x:.3f} and %{y:.3f}<extra></extra>",
                }
            )
    above = sum(p.y > p.x for p in points)
    below = sum(p.y < p.x for p in points)
    most = max(points, key=lambda p: abs(p.y - p.x), default=None)
    farthest = f" Farthest apart: {most.name}, {shown(most.x)} and {shown(most.y)}." if most else ""
    span = [-0.03, 1.03]
    return Figure(
        data=data,
        layout=layout(
            title,
            axis(_short(first), what, range=span, dtick=0.2),
            axis(_short(second), what, range=span, dtick=0.2),
            hovermode="closest",
        ),
        alt=f"{title}. {len(points)} videos: {above} are higher in {second}, {below} in {first}."
        + farthest,
        live=False,
        csv={
            "columns": ["video", "kind", first, second],
            "rows": [[p.name, p.kind, p.x, p.y] for p in points],
        },
    )


def _short(name: str, most: int = 34) -> str:
    """Both ends of a long name: what runs differ in often stands last."""
    half = most // 2
    return name if len(name) <= most else f"{name[: half - 1]}\u2026{name[-half:]}"
