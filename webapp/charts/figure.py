"""What all figures share: clean numbers, escaped names, axes with units, the dict that is sent."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from webapp.core.numbers import true_minus


class _Required(TypedDict):
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    alt: str
    live: bool


class Figure(_Required, total=False):
    """See the contract in `webapp.charts`."""

    note: str
    csv: dict[str, Any]
    x_scale: float


def clean(values: Iterable[Any] | None, digits: int | None = None) -> list[Any]:
    """A list of plain numbers; what is not finite becomes None. Takes numpy arrays too.

    Args:
        digits: significant digits to keep; half the bytes of a long curve are digits unseen.
    """
    if values is None:
        return []
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    finite = [None if isinstance(v, float) and not math.isfinite(v) else v for v in listed]
    if digits is None:
        return finite
    return [float(f"{v:.{digits}g}") if isinstance(v, float) else v for v in finite]


def plain(text: str) -> str:
    """A name as plotly.js text: it reads a few HTML tags, which a name must not bring."""
    return html.escape(str(text), quote=False)


def shown(value: float | None, decimals: int = 3) -> str:
    """A number for a legend; an en dash when there is none."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    return true_minus(f"{value:.{decimals}f}")


def significant(value: float | None, digits: int = 4) -> str:
    """A number of unknown size: '0.1230', '12.30', '1.2e-05'."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 10**digits:
        return true_minus(f"{value:#.{digits}g}".rstrip("."))
    return true_minus(f"{value:.{digits - 1}g}")


def interval(low: float | None, high: float | None, decimals: int = 3) -> str:
    """'0.81 to 0.87', or empty when there is no interval."""
    if low is None or high is None:
        return ""
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def axis(title: str, unit: str = "", **more: Any) -> dict[str, Any]:
    """An axis with its unit in the title."""
    text = f"{plain(title)} ({plain(unit)})" if unit else plain(title)
    return {"title": {"text": text}, "automargin": True, **more}


def log_ticks(values: Iterable[float | None]) -> dict[str, Any]:
    """Ticks of a logarithmic axis that do not run into each other: 1, 2, 5 or decades only.

    Within less than a factor of ten they are as on a linear axis: 1, 2 and 5 might all be missing.
    """
    positive = [v for v in values if v is not None and v > 0]
    ratio = max(positive) / min(positive) if positive else 1.0
    if ratio < 10:
        return {"type": "log", "tickformat": "~g"}
    return {"type": "log", "dtick": 1 if ratio > 300 else "D2", "tickformat": "~g"}


def layout(title: str, x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The common layout. `uirevision` keeps zoom and hidden curves when live data comes."""
    return {
        "title": {"text": plain(title)},
        "xaxis": x,
        "yaxis": y,
        "hovermode": "x unified",
        "uirevision": "kept",
        "showlegend": True,
        "legend": LEGEND_ABOVE,
        **more,
    }


LEGEND_ABOVE: dict[str, Any] = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1.0,
    "yanchor": "bottom",
    "traceorder": "normal",  # stacked bars would be listed in reverse
}


def legend_inside(corner: str) -> dict[str, Any]:
    """A legend within the plot: 'bottom right', 'bottom left', 'top right'."""
    vertical, horizontal = corner.split()
    return {
        "x": 0.99 if horizontal == "right" else 0.01,
        "xanchor": horizontal,
        "y": 0.99 if vertical == "top" else 0.01,
        "yanchor": vertical,
    }


def listing(parts: Sequence[str], most: int = 6) -> str:
    """Parts for a text alternative, cut after a few."""
    left = len(parts) - most
    return "; ".join(parts[:most]) + (f"; and {left} more" if left > 0 else "")
