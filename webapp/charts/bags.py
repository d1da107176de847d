"""A training video as a bag: its segments at several steps of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.charts.figure import Figure, axis, clean, layout, plain, shown
from webapp.charts.palette import style

# Inferno (van der Walt and Smith, CC0) at even places, without its darkest tenth.
INFERNO = (
    "#150b37", "#3b0964", "#61136e", "#85216b", "#a92e5e", "#cb4149",
    "#e65d2f", "#f78410", "#fcae12", "#f5db4c", "#fcffa4",
)  # fmt: skip
SCALE = [[i / (len(INFERNO) - 1), colour] for i, colour in enumerate(INFERNO)]
FAINTEST = 0.5  # opacity of the earliest of several steps


@dataclass(frozen=True, kw_only=True)
class BagStep:
    """The segments of a bag at one step.

    Args:
        values: [S], 0 to 1.
        chosen: segments that the loss averages.
    """

    step: int
    values: Sequence[float]
    chosen: Sequence[int] = ()


def bag_curves(
    steps: Sequence[BagStep],
    *,
    title: str,
    y_title: str,
    y_unit: str,
    index: int,
    top: float | None,
) -> Figure:
    """One curve a step, the later the stronger; rings on the segments that the loss averages.

    Args:
        index: the run's place in the selection.
        top: upper end of the y axis; None follows the values.
    """
    look = style(index)
    data: list[dict[str, Any]] = []
    for place, one in enumerate(steps):
        alpha = FAINTEST + (1 - FAINTEST) * (place + 1) / len(steps)
        common = {"legendgroup": str(one.step), "type": "scatter"}
        values = clean(one.values, 5)
        data.append(
            {
                **common,
                "mode": "lines",
                "x": list(range(len(values))),
                "y": values,
                "name": f"step {one.step:,}",
                "line": {"color": look.rgba(round(alpha, 3)), "width": 1.75, "shape": "hvh"},
                "hovertemplate": f"step {one.step:,}: %{{y:.3f}}<extra></extra>",
            }
        )
        if len(one.chosen):
            chosen = sorted(int(i) for i in one.chosen)
            data.append(
                {
                    **common,
                    "mode": "markers",
                    "x": chosen,
                    "y": [values[i] for i in chosen],
                    "name": f"step {one.step:,}, averaged by the loss",
                    "showlegend": False,
                    "hoverinfo": "skip",
                    "marker": {
                        "symbol": "circle-open",
                        "size": 8,
                        "color": look.rgba(round(alpha, 3)),
                        "line": {"width": 2},
                    },
                }
            )
    last = steps[-1] if steps else None
    best = max(range(len(last.values)), key=lambda i: last.values[i]) if last else 0
    said = (
        f" At step {last.step:,} segment {best} is highest, {shown(last.values[best])}."
        if last
        else ""
    )
    y_range = {"range": [0, top]} if top is not None else {"rangemode": "tozero"}
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Segment", "in time order", hoverformat=",.0f"),
            axis(y_title, y_unit, **y_range),
        ),
        alt=f"{title}, at {len(steps)} steps.{said}",
        live=False,
    )


def bag_history(steps: Sequence[BagStep], *, title: str) -> Figure:
    """Steps down, segments across, coloured by score; rings on what the loss averages."""
    rows = [f"{one.step:,}" for one in steps]
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "x": list(range(len(steps[0].values))) if steps else [],
            "y": rows,
            "z": [clean(one.values, 4) for one in steps],
            "zmin": 0,
            "zmax": 1,
            "colorscale": SCALE,
            "colorbar": {"title": {"text": "score, 0 to 1", "side": "right"}, "thickness": 10},
            "hovertemplate": "step %{y}, segment %{x}: %{z:.3f}<extra></extra>",
            "name": "score",
            "showlegend": False,
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": [int(i) for one in steps for i in one.chosen],
            "y": [row for row, one in zip(rows, steps, strict=True) for _ in one.chosen],
            "name": "averaged by the loss",
            "marker": {
                "symbol": "circle-open",
                "size": 7,
                "color": "#6fd3ff",  # inferno has no blue
                "line": {"width": 1.5},
            },
            "hoverinfo": "skip",
        },
    ]
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Segment", "in time order", showgrid=False),
            axis("Step", type="category", showgrid=False, autorange="reversed"),
            hovermode="closest",
        ),
        alt=f"{title}. {len(steps)} steps from {rows[0]} to {rows[-1]}." if rows else title,
        live=False,
    )


def bag_memory(
    abnormal: Sequence[Sequence[float]], normal: Sequence[Sequence[float]], *, title: str
) -> Figure:
    """The weights of both memories' slots over the segments, the abnormal memory on top.

    Args:
        abnormal, normal: [K][S], 0 to 1.
    """
    data: list[dict[str, Any]] = []
    for name, rows, on in (("abnormal", abnormal, "y2"), ("normal", normal, "y")):
        data.append(
            {
                "type": "heatmap",
                "z": [clean(row, 3) for row in rows],
                "yaxis": on,
                "zmin": 0,
                "zmax": 1,
                "colorscale": SCALE,
                "showscale": on == "y2",
                "colorbar": {"title": {"text": "weight, 0 to 1", "side": "right"}, "thickness": 10},
                "name": f"{name} memory",
                "hovertemplate": f"{name} memory, slot %{{y}}, segment %{{x}}: %{{z:.2f}}"
                "<extra></extra>",
            }
        )
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Segment", "in time order", showgrid=False),
            axis("Normal memory", "slot", domain=[0, 0.47], showgrid=False),
            yaxis2=axis("Abnormal memory", "slot", domain=[0.53, 1], showgrid=False),
            hovermode="closest",
            showlegend=False,
        ),
        alt=f"{plain(title)}. {len(abnormal)} slots of the abnormal memory unit, {len(normal)} of "
        "the normal one; lighter where a segment resembles a slot.",
        live=False,
    )
