"""Values by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.charts.figure import Figure, axis, layout, listing, plain, shown
from webapp.charts.palette import style


@dataclass(frozen=True, kw_only=True)
class ClassValues:
    """One run's value in each class, with its 95 % interval where there is one."""

    name: str
    values: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    index: int = 0


def per_class(
    runs: Sequence[ClassValues],
    *,
    title: str,
    metric: str = "AUC",
    videos: Mapping[str, int] | None = None,
    chance: float | None = 0.5,
) -> Figure:
    """Horizontal bars by class, the best class of the first run on top.

    Args:
        videos: test videos of each class; shown beside its name, so that small n is seen.
        chance: a dotted line at this value; None leaves it out.
    """
    classes = list(dict.fromkeys(name for run in runs for name in run.values))
    if runs:
        first = runs[0].values
        classes.sort(key=lambda c: (first.get(c) is not None, first.get(c) or 0.0))
    labels = [f"{plain(c)}  {videos[c]:,}" if videos and c in videos else plain(c) for c in classes]
    data: list[dict[str, Any]] = []
    for run in reversed(runs):  # plotly draws groups from below
        look = style(run.index)
        values = [run.values.get(c) for c in classes]
        trace: dict[str, Any] = {
            "type": "bar",
            "orientation": "h",
            "x": values,
            "y": labels,
            "name": plain(run.name),
            "legendrank": runs.index(run) + 1,
            "marker": {"color": look.rgba(0.75) if len(runs) == 1 else look.color},
            "hovertemplate": f"{plain(run.name)} %{{x:.3f}}<extra></extra>",
        }
        if run.intervals:
            above, below = _errors(run, classes, values)
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": above,
                "arrayminus": below,
                "thickness": 1,
                "width": 3,
                "color": "var(--chart-line)",
            }
        data.append(trace)
    more: dict[str, Any] = {"barmode": "group", "bargap": 0.35, "hovermode": "y unified"}
    if chance is not None:
        more["shapes"] = [_line_at(chance)]
    with_interval = any(run.intervals for run in runs)
    full = f"{title}, 95 % intervals" if with_interval else title
    name = "Class, number of test videos" if videos else "Class"
    return Figure(
        data=data,
        layout=layout(
            full,
            axis(metric, "0 to 1", range=[0, 1.005], dtick=0.2),
            axis(name, type="category", dtick=1, ticklabelstandoff=6, showgrid=False),
            showlegend=True,
            **more,
        ),
        alt=f"{full}. " + listing([_words(run, list(reversed(classes))) for run in runs]) + ".",
        live=False,
    )


def class_histogram(
    counts: Mapping[str, Mapping[str, int]], *, title: str, unit: str = "videos"
) -> Figure:
    """Stacked bars: how many videos of each class lie in each split.

    Args:
        counts: split -> class -> number.
    """
    classes = list(dict.fromkeys(name for split in counts.values() for name in split))
    total = {c: sum(split.get(c, 0) for split in counts.values()) for c in classes}
    classes.sort(key=lambda c: (total[c], c))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [split.get(c, 0) for c in classes],
            "y": [plain(c) for c in classes],
            "name": f"{plain(name)}  {sum(split.values()):,}",
            "legendrank": place + 1,
            "marker": {"color": style(place).color},
            "hovertemplate": f"{plain(name)} %{{x:,}}<extra></extra>",
        }
        for place, (name, split) in enumerate(counts.items())
    ]
    parts = [f"{c}: {total[c]:,}" for c in reversed(classes)]
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Count", unit),
            axis("Class", type="category", dtick=1, ticklabelstandoff=6, showgrid=False),
            barmode="stack",
            bargap=0.35,
            hovermode="y unified",
        ),
        alt=f"{title}, {sum(total.values()):,} {unit}. {listing(parts)}.",
        live=False,
    )


def _errors(
    run: ClassValues, classes: Sequence[str], values: Sequence[float | None]
) -> tuple[list[float], list[float]]:
    """Lengths of the whiskers above and below each value; zero where there is no interval."""
    above, below = [], []
    for name, value in zip(classes, values, strict=True):
        low, high = run.intervals.get(name, (value, value))
        above.append(0.0 if value is None or high is None else max(0.0, high - value))
        below.append(0.0 if value is None or low is None else max(0.0, value - low))
    return above, below


def _line_at(value: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": value,
        "x1": value,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": "var(--chart-line)", "width": 1, "dash": "dot"},
    }


def _words(run: ClassValues, classes: Sequence[str]) -> str:
    values = ", ".join(f"{c} {shown(run.values.get(c))}" for c in classes)
    return f"{run.name}: {values}"
