"""ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.charts.figure import (
    LEGEND_ABOVE,
    Figure,
    axis,
    clean,
    interval,
    layout,
    legend_inside,
    listing,
    plain,
    shown,
)
from webapp.charts.palette import style

DIGITS = 5  # significant ones of what is drawn; areas are made from the exact values
USUAL_WIDTH = 520  # px of a plot, to guess how much of it a legend takes
UNIT_RANGE = [-0.005, 1.005]  # a curve on the border keeps its full width


@dataclass(frozen=True, kw_only=True)
class Band:
    """What lies around a curve: its 95 % interval, unless `label` says otherwise."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    label: str = "95 % interval"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Where a curve stands at one threshold."""

    x: float
    y: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One run's curve.

    Args:
        x, y: false and true positive rate, or recall and precision.
        value: area under the curve (ROC AUC or AP), computed from all points, not from these.
        low, high: 95 % interval of `value`.
        deviation: of `value` over the seeds of a group.
        thresholds: the score at each point, when known.
        other: at each point with a threshold the rate that is on neither axis: precision along a
            ROC curve, the false-positive rate along a precision-recall curve.
        key: what the page calls the curve, so that scripts find it.
        index: the run's place in the selection.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    value: float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    thresholds: Sequence[float] | None = None
    other: Sequence[float] | None = None
    key: str = ""
    band: Band | None = None
    point: OperatingPoint | None = None
    index: int = 0


def roc(curves: Sequence[Curve], *, title: str, unit: str = "frames") -> Figure:
    """ROC curves, best AUC first, with the dotted diagonal of chance."""
    ranked = _ranked(curves)
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 1],
            "y": [0, 1],
            "name": "chance  0.500",
            "legendrank": 2000,
            "line": {"color": "var(--chart-truth)", "width": 1.25, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    words = ("false positives", "true positives", "precision")
    data += _traces(ranked, words, shape="linear")
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("False positive rate", f"share of normal {unit}", range=UNIT_RANGE, dtick=0.2),
            axis("True positive rate", f"share of anomalous {unit}", range=UNIT_RANGE, dtick=0.2),
            hovermode="closest",
            legend=_legend(curves, ("bottom right",)),
        ),
        alt=_alt(title, "AUC", ranked),
        live=False,
    )


def pr(
    curves: Sequence[Curve], *, title: str, prevalence: float | None, unit: str = "frames"
) -> Figure:
    """Precision-recall curves, best AP first, with the baseline at the share of positives."""
    ranked = _ranked(curves)
    data: list[dict[str, Any]] = []
    if prevalence is not None:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [0, 1],
                "y": [prevalence, prevalence],
                "name": f"chance  {shown(prevalence)}",
                "legendrank": 2000,
                "line": {"color": "var(--chart-truth)", "width": 1.25, "dash": "dot"},
                "hoverinfo": "skip",
            }
        )
    data += _traces(ranked, ("recall", "precision", "false positives"), shape="vh")
    baseline = "" if prevalence is None else f" Chance is {shown(prevalence)}."
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Recall", f"share of anomalous {unit} found", range=UNIT_RANGE, dtick=0.2),
            axis(
                "Precision", f"share of alarms that are right, {unit}", range=UNIT_RANGE, dtick=0.2
            ),
            hovermode="closest",
            legend=_legend(curves, ("bottom left", "top right", "bottom right")),
        ),
        alt=_alt(title, "AP", ranked) + baseline,
        live=False,
    )


def _legend(curves: Sequence[Curve], corners: Sequence[str]) -> dict[str, Any]:
    """In the corner that covers the least of the curves; above a few that leave none free."""
    longest = max((len(curve.name) for curve in curves), default=0)
    width = min(0.8, (95 + 6.5 * longest) / USUAL_WIDTH)
    height = min(0.9, 0.065 * (len(curves) + 1))
    covered = {corner: _covered(curves, corner, width, height) for corner in corners}
    best = min(corners, key=covered.__getitem__)
    return LEGEND_ABOVE if covered[best] > 0.05 and len(curves) <= 4 else legend_inside(best)


def _covered(curves: Sequence[Curve], corner: str, width: float, height: float) -> float:
    """The share of points of the curves in a corner of this size, of a plot of 1 by 1."""
    count = inside = 0
    for curve in curves:
        every = max(1, len(curve.x) // 60)
        for x, y in zip(curve.x[::every], curve.y[::every], strict=True):
            count += 1
            from_side = 1 - x if corner.endswith("right") else x
            inside += from_side < width and (1 - y if corner.startswith("top") else y) < height
    return inside / count if count else 0.0


def _traces(
    ranked: Sequence[Curve], words: tuple[str, str, str], *, shape: str
) -> list[dict[str, Any]]:
    """Bands, curves and rings; `words` for x, y and the rate that is on neither axis."""
    x_word, y_word, other_word = words
    data: list[dict[str, Any]] = []
    for place, one in enumerate(ranked):
        look = style(one.index)
        spread = "" if one.deviation is None else f" \u00b1 {shown(one.deviation)}"
        label = f"{plain(one.name)}  {shown(one.value)}{spread}"
        group = f"{one.key or one.index} {plain(one.name)}"
        if one.band:
            data += _band(one, one.band, group, look.rgba(0.15))
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "lines",
            "x": clean(one.x, DIGITS),
            "y": clean(one.y, DIGITS),
            "name": label,
            "legendgroup": group,
            "legendrank": place + 1,
            "line": {"color": look.color, "dash": look.dash, "width": 1.75, "shape": shape},
            "hovertemplate": f"{plain(one.name)}<br>{x_word} %{{x:.3f}}, {y_word} %{{y:.3f}}",
        }
        if one.key:
            trace["meta"] = {"key": one.key}
        if one.thresholds is not None and one.other is not None:
            pairs = zip(clean(one.thresholds, DIGITS), clean(one.other, DIGITS), strict=True)
            trace["customdata"] = [list(pair) for pair in pairs]
            trace["hovertemplate"] += (
                f"<br>threshold %{{customdata[0]:.3f}}, {other_word} %{{customdata[1]:.3f}}"
            )
        trace["hovertemplate"] += "<extra></extra>"
        data.append(trace)
        if one.point:
            data.append(_ring(one, one.point, group, look.color, x_word, y_word))
    return data


def _band(one: Curve, band: Band, group: str, fill: str) -> list[dict[str, Any]]:
    edge = {
        "type": "scatter",
        "mode": "lines",
        "x": clean(band.x, DIGITS),
        "legendgroup": group,
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [
        {
            **edge,
            "y": clean(band.low, DIGITS),
            "name": f"{plain(one.name)} low",
            "showlegend": False,
        },
        {
            **edge,
            "y": clean(band.high, DIGITS),
            "name": band.label,
            "showlegend": False,
            "fill": "tonexty",
            "fillcolor": fill,
        },
    ]


def _ring(
    one: Curve, point: OperatingPoint, group: str, color: str, x_word: str, y_word: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [point.x],
        "y": [point.y],
        "name": f"{plain(one.name)} at {point.threshold:.2f}",
        "legendgroup": group,
        "showlegend": False,
        "meta": {"ring": one.key},
        "marker": {"symbol": "circle-open", "size": 11, "color": color, "line": {"width": 2}},
        "hovertemplate": f"{plain(one.name)}<br>threshold {point.threshold:.3f}<br>{x_word} "
        f"%{{x:.3f}}, {y_word} %{{y:.3f}}<extra></extra>",
    }


def _ranked(curves: Sequence[Curve]) -> list[Curve]:
    return sorted(curves, key=lambda c: (c.value is None, -(c.value or 0), c.index))


def _alt(title: str, metric: str, ranked: Sequence[Curve]) -> str:
    parts = []
    for one in ranked:
        spread = interval(one.low, one.high)
        parts.append(
            f"{one.name}: {metric} {shown(one.value)}" + (f", 95 % {spread}" if spread else "")
        )
    return f"{title}. {listing(parts)}."
