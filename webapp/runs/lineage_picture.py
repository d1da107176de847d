"""A lineage as an SVG picture: boxes and curves, in the page's own classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from webapp.runs import layers
from webapp.runs.lineage import Graph, Node

WIDTH, HEIGHT = 172, 64  # six layers, from the data to a report, fit a window of 1440
LINE = 15  # px more where a title takes a second one
NARROW = 168  # two of them fit beside each other on a phone
LETTERS_PER_PX = 1 / 7.8  # of 13 px system fonts; what is wider all the same is cut off
ARROW = 5


@dataclass(frozen=True, kw_only=True)
class Box:
    node: Node
    x: float
    y: float
    width: float
    lines: list[str]  # of the title, as much of it as fits on two
    label: str  # all of it, for those who hear the page

    @property
    def numbers_y(self) -> int:
        return 54 + LINE * (len(self.lines) - 1)

    @property
    def inner(self) -> float:
        """How far text may go."""
        return self.width - 8


@dataclass(frozen=True, kw_only=True)
class Curve:
    d: str
    arrow: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    width: int
    height: int
    box_height: int
    boxes: list[Box]
    curves: list[Curve]
    upright: bool


def picture(graph: Graph, *, upright: bool = False) -> Picture:
    """Draw from left to right, or from top to bottom for narrow windows."""
    width = NARROW if upright else WIDTH
    lines = {key: _lines(node.title, width) for key, node in graph.nodes.items()}
    height = HEIGHT + LINE * (max(map(len, lines.values()), default=1) - 1)
    along, across = (height, width) if upright else (width, height)
    spacing = layers.Spacing(
        node_along=along,
        node_across=across,
        gap_along=28 if upright else 24,
        gap_across=10 if upright else 14,
    )
    drawing = layers.draw(list(graph.nodes), list(graph.edges), spacing)

    def turned(point: tuple[float, float]) -> tuple[float, float]:
        return (point[1], point[0]) if upright else point

    size = turned(drawing.size)
    boxes = [
        _box(graph.nodes[key], *turned(drawing.places[key]), width, lines[key])
        for layer in drawing.layers
        for key in layer
    ]
    curves = [
        _curve([turned(p) for p in drawing.routes[ends]], edge.kind, upright)
        for ends, edge in graph.edges.items()
    ]
    return Picture(
        width=round(size[0]),
        height=round(size[1]),
        box_height=height,
        boxes=boxes,
        curves=curves,
        upright=upright,
    )


def _lines(title: str, width: float) -> list[str]:
    """A title on one line or two; of a longer one the end stays, since names differ there."""
    most = int((width - 20) * LETTERS_PER_PX)
    lines = wrap(title, most, break_long_words=True) or [""]
    if len(lines) < 3:
        return lines
    end = title[len(title) - most + 1 :]
    return [lines[0], f"…{end.partition(' ')[2] or end}"]


def _box(node: Node, x: float, y: float, width: float, lines: list[str]) -> Box:
    parts = (f"{node.word}: {node.title}", node.state, node.numbers)
    label = ", ".join(filter(None, parts)) + (". This run" if node.here else "")
    return Box(node=node, x=x, y=y, width=width, lines=lines, label=label)


def _curve(points: Sequence[tuple[float, float]], kind: str, upright: bool) -> Curve:
    (x, y), *rest = points
    d = f"M{x:g} {y:g}"
    for a, b in rest:
        if upright:
            middle = (y + b) / 2
            d += f"C{x:g} {middle:g} {a:g} {middle:g} {a:g} {b:g}"
        else:
            middle = (x + a) / 2
            d += f"C{middle:g} {y:g} {middle:g} {b:g} {a:g} {b:g}"
        x, y = a, b
    if upright:
        arrow = (
            f"M{x - ARROW + 1:g} {y - ARROW - 1:g}L{x:g} {y:g}L{x + ARROW - 1:g} {y - ARROW - 1:g}"
        )
    else:
        arrow = (
            f"M{x - ARROW - 1:g} {y - ARROW + 1:g}L{x:g} {y:g}L{x - ARROW - 1:g} {y + ARROW - 1:g}"
        )
    return Curve(d=d, arrow=arrow, kind=kind)
