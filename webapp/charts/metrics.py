"""Metrics over training steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from webapp.charts.figure import (
    Figure,
    axis,
    clean,
    layout,
    listing,
    log_ticks,
    plain,
    significant,
)
from webapp.charts.palette import style

DIGITS = 6  # significant ones of what is drawn; the legend is made from the exact values
Value = Literal["last", "min", "max"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one run.

    Args:
        x: steps, ascending.
        y: values; gaps are None or NaN.
        index: the run's place in the selection, which is its colour and dash.
        low, high: least and greatest value that each point stands for, when the curve is reduced.
        around: what `low` and `high` are called in the data that is saved.
        points: how many points there are in the store, when `x` holds fewer.
        smoothed: x and y of the smoothed curve, where it was made from more points than `x` holds.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    index: int = 0
    low: Sequence[float | None] = field(default=())
    high: Sequence[float | None] = field(default=())
    around: tuple[str, str] = ("least", "greatest")
    points: int | None = None
    smoothed: tuple[Sequence[float], Sequence[float | None]] | None = None


def metric_curves(
    series: Sequence[Series],
    *,
    title: str,
    y_title: str,
    y_unit: str = "",
    x_title: str = "Step",
    x_unit: str = "",
    log_x: bool = False,
    log_y: bool = False,
    smoothing: float = 0.0,
    value: Value = "last",
    y_range: tuple[float, float] | None = None,
    live: bool = False,
) -> Figure:
    """Curves over steps, the legend sorted by the value that matters.

    Args:
        smoothing: weight of the exponential average, 0 (off) to below 1; the raw curve stays
            visible behind.
        value: which value of each curve the legend shows and sorts by; "min" puts the least first.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}, expected 0 to below 1")
    ranked = sorted(series, key=lambda s: _rank(s, value))
    data: list[dict[str, Any]] = []
    for place, one in enumerate(ranked):
        look = style(one.index)
        x, y = clean(one.x), clean(one.y, DIGITS)
        name = f"{plain(one.name)}  {significant(_headline(one, value))}"
        group = f"{one.index} {plain(one.name)}"  # stays when value and rank change
        if len(one.low) and len(one.high):
            data += _envelope(one, x, look.rgba(0.16), group)
        if smoothing and len(y) > 2:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": x,
                    "y": y,
                    "name": f"{name} (raw)",
                    "uid": f"{group} raw",
                    "legendgroup": group,
                    "showlegend": False,
                    "hoverinfo": "skip",
                    "opacity": 0.3,
                    "line": {"color": look.color, "width": 1},
                }
            )
            if one.smoothed is None:
                y = smooth(y, smoothing)
            else:
                x, y = clean(one.smoothed[0]), clean(one.smoothed[1], DIGITS)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(x) < 3 else "lines",
                "x": x,
                "y": y,
                "name": name,
                "legendgroup": group,
                "legendrank": place + 1,
                "uid": group,
                "meta": {"label": plain(one.name)},
                "line": {"color": look.color, "dash": look.dash, "width": 1.75},
                "marker": {"color": look.color, "size": 5},
                "hovertemplate": f"{plain(one.name)} %{{y:.5~g}}<extra></extra>",
            }
        )
    full = f"{title}, smoothed {smoothing:g}" if smoothing else title
    x_scale = log_ticks(v for one in series for v in clean(one.x)) if log_x else {}
    y_scale = log_ticks(v for one in series for v in _finite(one)) if log_y else {}
    if y_range and not log_y:
        y_scale["range"] = list(y_range)
    figure = Figure(
        data=data,
        layout=layout(
            full,
            axis(x_title, x_unit, **({} if x_unit else {"hoverformat": ",.0f"}), **x_scale),
            axis(y_title, y_unit, **y_scale),
        ),
        alt=f"{full}. " + listing([_words(one, value, x_title, x_unit) for one in ranked]) + ".",
        live=live,
    )
    note = _reduced(series)
    if note:
        figure["note"] = note
    return figure


def smooth(values: Sequence[float | None], weight: float) -> list[float | None]:
    """Exponential moving average without the pull towards zero at the start; gaps stay gaps."""
    average, total = 0.0, 0.0
    smoothed: list[float | None] = []
    for value in values:
        if value is None:
            smoothed.append(None)
            continue
        average = weight * average + (1 - weight) * value
        total = weight * total + (1 - weight)
        smoothed.append(average / total)
    return smoothed


def _envelope(one: Series, x: list[Any], fill: str, group: str) -> list[dict[str, Any]]:
    """Least to greatest value behind a reduced curve, so that a one-step spike stays visible."""
    edge = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "line": {"width": 0},
        "showlegend": False,
        "legendgroup": group,
        "hoverinfo": "skip",
    }
    least, greatest = one.around
    return [
        {
            **edge,
            "y": clean(one.low, DIGITS),
            "name": f"{group} ({least})",
            "uid": f"{group} least",
        },
        {
            **edge,
            "y": clean(one.high, DIGITS),
            "fill": "tonexty",
            "fillcolor": fill,
            "name": f"{group} ({greatest})",
            "uid": f"{group} greatest",
        },
    ]


def _finite(one: Series) -> list[float]:
    return [v for v in clean(one.y) if v is not None]


def _headline(one: Series, value: Value) -> float | None:
    if value == "min":
        found = [v for v in clean(one.low) if v is not None] or _finite(one)
        return min(found, default=None)
    if value == "max":
        found = [v for v in clean(one.high) if v is not None] or _finite(one)
        return max(found, default=None)
    return next((v for v in reversed(_finite(one))), None)


def _rank(one: Series, value: Value) -> tuple[bool, float, int]:
    headline = _headline(one, value)
    if headline is None:
        return (True, 0.0, one.index)
    return (False, headline if value == "min" else -headline, one.index)


def _words(one: Series, value: Value, x_title: str, x_unit: str) -> str:
    finite = _finite(one)
    if not finite:
        return f"{one.name}: no values yet"
    x = clean(one.x)
    if x_title == "Step":
        over = f"over steps {x[0]:,.0f} to {x[-1]:,.0f}"
    else:
        over = f"over {x_title.lower()}, {x[0]:,.6g} to {x[-1]:,.6g} {x_unit}".rstrip()
    return (
        f"{one.name}: {value} {significant(_headline(one, value))}, "
        f"{significant(min(finite))} to {significant(max(finite))} {over}"
    )


def _reduced(series: Sequence[Series]) -> str:
    stored = sum(one.points or len(one.x) for one in series)
    drawn = sum(len(one.x) for one in series)
    return f"{drawn:,} of {stored:,} points" if drawn < stored else ""
