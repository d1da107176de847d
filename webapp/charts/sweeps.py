"""Trials of a sweep: their objective over time, their settings, and what matters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.charts.figure import Figure, axis, clean, layout, listing, plain, significant

LOOKS = {  # by how a trial stands: a colour of the palette and a mark
    "done": ("#0072b2", "circle"),
    "pruned": ("#d55e00", "x-thin-open"),
    "active": ("#7a828a", "circle-open"),
}
WORDS = {"done": "ended", "pruned": "stopped early", "active": "under way, so far"}
# Even steps of hue; each has a contrast of 3:1 to the light and to the dark surface.
SCALE = ("#7a828a", "#5a80d6", "#9a66cc", "#c7508f", "#d9483b")
LEVELS = 10
BEST_WIDTH, WIDTH = 2.5, 1.25


@dataclass(frozen=True, kw_only=True)
class TrialPoint:
    """A trial.

    Args:
        number: from 1.
        kind: `done`, `pruned` or `active`.
        params: what it tried, as people write it.
        href: where a click goes.
    """

    number: int
    kind: str
    value: float
    params: str = ""
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A swept setting.

    Args:
        values: of a choice, in order; empty for a number from `low` to `high`.
    """

    name: str
    low: float = 0
    high: float = 1
    log: bool = False
    values: Sequence[str] = field(default=())

    def place(self, value: Any) -> float:
        """0 to 1 along the axis; a choice is known by its words."""
        if self.values:
            return self.values.index(value) / max(1, len(self.values) - 1)
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low) if high > low else 0.5


def trial_history(
    points: Sequence[TrialPoint], *, title: str, objective: str, falling: bool, live: bool
) -> Figure:
    """The objective of each trial by its number, and the best of those that ended so far."""
    data: list[dict[str, Any]] = []
    for kind, (color, symbol) in LOOKS.items():
        own = [p for p in points if p.kind == kind]
        if own:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [p.number for p in own],
                    "y": clean([p.value for p in own], 6),
                    "name": f"{WORDS[kind]} ({len(own)})",
                    "uid": kind,
                    "text": [f"trial {p.number}<br>{plain(p.params)}" for p in own],
                    "customdata": [p.href for p in own],
                    "marker": {
                        "color": color,
                        "symbol": symbol,
                        "size": 8,
                        "line": {"width": 2, "color": color},
                    },
                    "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
                }
            )
    best_x, best_y = _best_so_far(points, falling)
    if best_x:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": best_x,
                "y": clean(best_y, 6),
                "name": f"best so far  {significant(best_y[-1])}",
                "uid": "best",
                "line": {"color": "#009e73", "width": 2, "shape": "hv"},
                "hoverinfo": "skip",
            }
        )
    done = [p.value for p in points if p.kind == "done"]
    best = (min if falling else max)(done) if done else None
    said = f" The best of {len(done)} that ended is {significant(best)}." if done else ""
    return Figure(
        data=data,
        layout=layout(
            title,
            axis("Trial", tickformat="d", rangemode="tozero"),
            axis(objective),
            hovermode="closest",
        ),
        alt=f"{title}. {len(points)} trials.{said}",
        live=live,
        csv={
            "columns": ["trial", "state", objective, "settings"],
            "rows": [[p.number, WORDS[p.kind], p.value, p.params] for p in points],
        },
    )


def _best_so_far(points: Sequence[TrialPoint], falling: bool) -> tuple[list[int], list[float]]:
    x: list[int] = []
    y: list[float] = []
    for point in sorted(points, key=lambda p: p.number):
        if point.kind == "done":
            better = not y or (point.value < y[-1] if falling else point.value > y[-1])
            x.append(point.number)
            y.append(point.value if better else y[-1])
    return x, y


def parallel_coordinates(
    points: Sequence[TrialPoint],
    rows: Sequence[Sequence[Any]],
    axes: Sequence[Axis],
    *,
    title: str,
    objective: str,
    falling: bool,
    live: bool,
) -> Figure:
    """A line a trial through the values of its settings, coloured by the objective.

    Drawn as scatter lines: the cartesian bundle of plotly.js has no `parcoords`.

    Args:
        rows: by trial its value on each axis, in their order.
    """
    values = [p.value for p in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    scale = _Scale.of(values, falling)
    last = Axis(name=objective, low=low, high=high)
    lines = [
        [a.place(v) for a, v in zip(axes, row, strict=True)] + [last.place(p.value)]
        for p, row in zip(points, rows, strict=True)
    ]
    best = _best(points, falling)
    x = list(range(len(axes) + 1))
    data: list[dict[str, Any]] = []
    for level in range(LEVELS):
        own = [n for n, p in enumerate(points) if scale.level(p.value) == level]
        if own:
            data.append(_level_trace(level, own, points, lines, x))
    data.append(_scale_trace(scale, objective))
    if best is not None:
        data.append(_best_trace(points[best], lines[best], x))
    return Figure(
        data=data,
        layout=layout(
            title,
            axis(
                "",
                tickvals=x,
                ticktext=[plain(a.name) for a in (*axes, last)],
                range=[-0.35, len(axes) + 0.35],
                side="bottom",
                showgrid=False,
                zeroline=False,
            ),
            axis("", range=[-0.09, 1.09], visible=False),
            hovermode="closest",
            shapes=[_axis_line(at) for at in x],
            annotations=[note for at, a in enumerate((*axes, last)) for note in _ticks(at, a)],
        ),
        alt=_alt(title, points, axes, rows, best),
        live=live,
        note=scale.note,
        csv={
            "columns": ["trial", *(a.name for a in axes), objective],
            "rows": [[p.number, *row, p.value] for p, row in zip(points, rows, strict=True)],
        },
    )


def _best(points: Sequence[TrialPoint], falling: bool) -> int | None:
    done = [n for n, p in enumerate(points) if p.kind == "done"]
    pick = min if falling else max
    return pick(done, key=lambda n: points[n].value) if done else None


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Which values the colours stand for.

    The worst quarter shares the first colour: a few trials that failed to learn would else leave
    one colour for all the others.
    """

    low: float
    high: float
    falling: bool
    note: str = ""

    @classmethod
    def of(cls, values: Sequence[float], falling: bool) -> _Scale:
        ranked = sorted(values, reverse=falling) or [0.0, 1.0]
        worst = ranked[len(ranked) // 4]
        low, high = sorted((worst, ranked[-1]))
        note = f"{'above' if falling else 'below'} {significant(worst)} in one colour"
        return cls(low=low, high=high, falling=falling, note="" if worst == ranked[0] else note)

    def level(self, value: float) -> int:
        """0 for the worst, to `LEVELS` - 1."""
        if self.high <= self.low:
            return LEVELS - 1
        part = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return min(LEVELS - 1, int((1 - part if self.falling else part) * LEVELS))


def _color(part: float) -> str:
    """The colour at a part of the scale, 0 to 1."""
    at = part * (len(SCALE) - 1)
    n = min(int(at), len(SCALE) - 2)
    a, b = ([int(SCALE[k][i : i + 2], 16) for i in (1, 3, 5)] for k in (n, n + 1))
    mixed = (round(p + (q - p) * (at - n)) for p, q in zip(a, b, strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def _level_trace(
    level: int,
    own: Sequence[int],
    points: Sequence[TrialPoint],
    lines: Sequence[Sequence[float]],
    x: Sequence[int],
) -> dict[str, Any]:
    """The lines of one colour, with a gap between two of them."""
    places: dict[str, list[Any]] = {"x": [], "y": [], "text": [], "customdata": []}
    for n in own:
        p = points[n]
        said = f"trial {p.number}: {significant(p.value)}<br>{plain(p.params)}"
        places["x"] += [*x, None]
        places["y"] += [*clean(lines[n], 4), None]
        places["text"] += [said] * len(x) + [""]
        places["customdata"] += [p.href] * len(x) + [""]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        **places,
        "name": f"level {level}",
        "uid": f"level {level}",
        "showlegend": False,
        "opacity": 0.45 + 0.5 * level / (LEVELS - 1),
        "line": {"color": _color(level / (LEVELS - 1)), "width": WIDTH},
        "marker": {"size": 4, "color": _color(level / (LEVELS - 1))},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _best_trace(point: TrialPoint, line: Sequence[float], x: Sequence[int]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": clean(line, 4),
        "name": f"best: trial {point.number}  {significant(point.value)}",
        "uid": "best",
        "line": {"color": "var(--text)", "width": BEST_WIDTH},
        "hoverinfo": "skip",
    }


def _scale_trace(scale: _Scale, objective: str) -> dict[str, Any]:
    """Nothing but the colour scale beside the figure."""
    steps, low, high = len(SCALE) - 1, scale.low, scale.high
    colours = list(reversed(SCALE)) if scale.falling else SCALE
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "showlegend": False,
        "hoverinfo": "skip",
        "marker": {
            "color": [low],
            "cmin": low,
            "cmax": high if high > low else low + 1e-9,
            "colorscale": [[n / steps, color] for n, color in enumerate(colours)],
            "showscale": True,
            "colorbar": {
                "title": {"text": plain(objective), "side": "right"},
                "thickness": 10,
                "len": 0.9,
                "outlinewidth": 0,
            },
        },
    }


def _axis_line(at: int) -> dict[str, Any]:
    line = {"color": "var(--line-strong)", "width": 1}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _ticks(at: int, a: Axis) -> list[dict[str, Any]]:
    """The ends of a range, or every choice, beside the axis."""
    if a.values:
        words = [(n / max(1, len(a.values) - 1), v) for n, v in enumerate(a.values)]
    else:
        words = [(0.0, f"{a.low:.4g}"), (1.0, f"{a.high:.4g}")]
    shift = {0.0: -9, 1.0: 9} if not a.values else {}
    return [
        {
            "x": at,
            "y": y,
            "text": plain(word if len(word) <= 18 else f"{word[:17]}\u2026"),
            "showarrow": False,
            "xshift": 5 if a.values else 0,
            "xanchor": "left" if a.values else "center",
            "yshift": shift.get(y, 0),
            "font": {"size": 11},
            "bgcolor": "var(--surface)",
            "borderpad": 1,
        }
        for y, word in words
    ]


def _alt(
    title: str,
    points: Sequence[TrialPoint],
    axes: Sequence[Axis],
    rows: Sequence[Sequence[Any]],
    best: int | None,
) -> str:
    text = f"{title}. {len(points)} trials over {', '.join(a.name for a in axes)}."
    if best is None:
        return text
    own = ", ".join(f"{a.name} {v}" for a, v in zip(axes, rows[best], strict=True))
    return f"{text} The best, {significant(points[best].value)}, had {own}."


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a setting explains.

    Args:
        share: of the variance, 0 to 1.
        error: its standard error.
        chance: the probability of as much by chance alone.
    """

    name: str
    share: float
    error: float
    chance: float


def importance_bars(shares: Sequence[Share], *, title: str, trials: int, live: bool) -> Figure:
    """Bars by setting, the one that explains most on top, with two standard errors."""
    shown = list(reversed(shares))  # plotly draws from below
    trace: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": clean([s.share for s in shown], 4),
        "y": [f"{plain(s.name)}  p {s.chance:.3f}" for s in shown],
        "name": "share of the variance, \u00b1 2 standard errors",
        "marker": {"color": "rgba(0,114,178,0.75)"},
        "hovertemplate": "%{y}<br>share %{x:.3f}<extra></extra>",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": clean([min(2 * s.error, 1 - s.share) for s in shown], 4),
            "arrayminus": clean([min(2 * s.error, s.share) for s in shown], 4),
            "thickness": 1,
            "width": 3,
            "color": "var(--chart-line)",
        },
    }
    said = [f"{s.name} {s.share:.2f} \u00b1 {2 * s.error:.2f}, p {s.chance:.3f}" for s in shares]
    return Figure(
        data=[trace] if shares else [],
        layout=layout(
            title,
            axis("Share of the variance", "0 to 1", range=[0, 1.005], dtick=0.2),
            axis(
                "p: as much by chance",
                type="category",
                dtick=1,
                ticklabelstandoff=6,
                showgrid=False,
            ),
            hovermode="closest",
            bargap=0.4,
        ),
        alt=f"{title}, {trials} trials. {listing(said)}.",
        live=live,
        note=f"{trials} trials",
        csv={
            "columns": ["setting", "share", "standard error", "p by chance", "trials"],
            "rows": [[s.name, s.share, s.error, s.chance, trials] for s in shares],
        },
    )
