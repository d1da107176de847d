"""A lineage as an SVG picture: boxes and curves, in the page's own classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.runs import layers
from webapp.runs.lineage import Graph, Node

WIDTH, HEIGHT = 196, 64
NARROW = 168  # two of them fit beside each other on a phone
LETTERS_PER_PX = 1 / 7.8  # of 13 px system fonts; what is wider all the same is cut off
ARROW = 5


@dataclass(frozen=True, kw_only=True)
class Box:
    node: Node
    x: float
    y: float
    width: float
    title: str  # as much of it as fits
    label: str  # all of it, for those who hear the page

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
    along, across = (HEIGHT, width) if upright else (width, HEIGHT)
    spacing = layers.Spacing(
        node_along=along,
        node_across=across,
        gap_along=28,
        gap_across=10 if upright else 14,
    )
    drawing = layers.draw(list(graph.nodes), list(graph.edges), spacing)

    def turned(point: tuple[float, float]) -> tuple[float, float]:
        return (point[1], point[0]) if upright else point

    size = turned(drawing.size)
    boxes = [
        _box(graph.nodes[key], *turned(drawing.places[key]), width)
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
        box_height=HEIGHT,
        boxes=boxes,
        curves=curves,
        upright=upright,
    )


def _box(node: Node, x: float, y: float, width: float) -> Box:
    most = int((width - 20) * LETTERS_PER_PX)
    title = node.title if len(node.title) <= most else f"{node.title[: most - 1].rstrip()}…"
    parts = (f"{node.word}: {node.title}", node.state, node.numbers)
    label = ", ".join(filter(None, parts)) + (". This run" if node.here else "")
    return Box(node=node, x=x, y=y, width=width, title=title, label=label)


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
