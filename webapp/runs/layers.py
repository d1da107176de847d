"""A layered drawing of a small directed graph: pure geometry, no words and no colours.

Sugiyama's method in its plain form: layers by the longest way from a source, an edge that spans
several layers gets a bend in each of them, the order within a layer follows the neighbours' mean
place, and every layer is centred. Enough for some tens of nodes.

Source: K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system
structures", IEEE Trans. SMC 11(2), 1981.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
SWEEPS = 8


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """Sizes in px. `along` is the way that edges run, `across` the other."""

    node_along: float
    node_across: float
    gap_along: float
    gap_across: float
    bend_across: float = 10.0  # room of an edge that passes a layer
    margin: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Drawing(Generic[Key]):
    """Where things are.

    Args:
        size: (along, across).
        places: the corner of each node that is nearest to the origin: (along, across).
        routes: for each edge its points from the end of one node to the beginning of the next.
        layers: the nodes of each layer, in their order.
    """

    size: tuple[float, float]
    places: Mapping[Key, tuple[float, float]]
    routes: Mapping[tuple[Key, Key], list[tuple[float, float]]]
    layers: list[list[Key]]


@dataclass(frozen=True)
class _Bend:
    """Where an edge passes through a layer."""

    edge: Hashable
    layer: int


def draw(nodes: Sequence[Key], edges: Sequence[tuple[Key, Key]], spacing: Spacing) -> Drawing[Key]:
    """Lay the graph out.

    Args:
        nodes: each once; those of a layer that nothing else decides keep this order.
        edges: from, to; each once, between nodes.

    Raises:
        ValueError: an edge leads to no node, or the edges lead in a circle.
    """
    levels = _levels(nodes, edges)
    layers: list[list[Hashable]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for node in nodes:
        layers[levels[node]].append(node)
    chains: dict[tuple[Key, Key], list[Hashable]] = {}
    links: list[tuple[Hashable, Hashable]] = []
    for edge in edges:
        bends = [_Bend(edge, i) for i in range(levels[edge[0]] + 1, levels[edge[1]])]
        for bend in bends:
            layers[bend.layer].append(bend)
        chains[edge] = [edge[0], *bends, edge[1]]
        links += zip(chains[edge], chains[edge][1:], strict=False)
    _order(layers, links)
    return _placed(layers, chains, spacing)


def crossings(layers: Sequence[Sequence[Hashable]], links: Sequence[tuple]) -> int:
    """How often links between neighbouring layers cross."""
    place = {node: (i, j) for i, layer in enumerate(layers) for j, node in enumerate(layer)}
    count = 0
    for n, (a, b) in enumerate(links):
        for c, d in links[n + 1 :]:
            if place[a][0] == place[c][0]:
                count += (place[a][1] - place[c][1]) * (place[b][1] - place[d][1]) < 0
    return count


def _levels(nodes: Sequence[Key], edges: Sequence[tuple[Key, Key]]) -> dict[Key, int]:
    """The longest way from a source to each node; a source stands right before what it leads to."""
    after: dict[Key, list[Key]] = {node: [] for node in nodes}
    missing = dict.fromkeys(nodes, 0)
    for start, end in edges:
        if start not in after or end not in after:
            raise ValueError(f"the edge {start!r} to {end!r} has no such node")
        after[start].append(end)
        missing[end] += 1
    ready = [node for node in nodes if not missing[node]]
    level = dict.fromkeys(ready, 0)
    done: list[Key] = []
    while ready:
        node = ready.pop(0)
        done.append(node)
        for end in after[node]:
            level[end] = max(level.get(end, 0), level[node] + 1)
            missing[end] -= 1
            if not missing[end]:
                ready.append(end)
    if len(done) < len(nodes):
        raise ValueError("the edges lead in a circle")
    sources = [node for node in nodes if not any(end == node for _, end in edges)]
    for node in sources:
        if after[node]:
            level[node] = min(level[end] for end in after[node]) - 1
    return level


def _order(layers: list[list[Hashable]], links: Sequence[tuple[Hashable, Hashable]]) -> None:
    """Sort each layer by the mean place of what it is linked with, from both sides in turn."""
    before: dict[Hashable, list[Hashable]] = {}
    after: dict[Hashable, list[Hashable]] = {}
    for a, b in links:
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    best, fewest = [list(layer) for layer in layers], crossings(layers, links)
    for sweep in range(SWEEPS):
        neighbours = before if sweep % 2 == 0 else after
        walk = layers if sweep % 2 == 0 else layers[::-1]
        place = {node: j for layer in layers for j, node in enumerate(layer)}
        for layer in walk:
            means = {
                node: sum(place[n] for n in near) / len(near)
                if (near := neighbours.get(node))
                else float(place[node])
                for node in layer
            }
            layer.sort(key=means.__getitem__)  # a stable sort: equals keep their order
            place |= {node: j for j, node in enumerate(layer)}
        now = crossings(layers, links)
        if now < fewest:
            best, fewest = [list(layer) for layer in layers], now
    layers[:] = best


def _placed(
    layers: list[list[Hashable]],
    chains: Mapping[tuple[Key, Key], list[Hashable]],
    spacing: Spacing,
) -> Drawing[Key]:
    def height(node: Hashable) -> float:
        return spacing.bend_across if isinstance(node, _Bend) else spacing.node_across

    lengths = [
        sum(height(n) for n in layer) + spacing.gap_across * (len(layer) - 1) for layer in layers
    ]
    across = max(lengths, default=0.0) + 2 * spacing.margin
    step = spacing.node_along + spacing.gap_along
    middle: dict[Hashable, tuple[float, float]] = {}  # along: of the layer's beginning
    for i, layer in enumerate(layers):
        at = (across - lengths[i]) / 2
        for node in layer:
            middle[node] = (spacing.margin + i * step, at + height(node) / 2)
            at += height(node) + spacing.gap_across
    routes = {edge: _route(chain, middle, spacing) for edge, chain in chains.items()}
    shown = [[n for n in layer if not isinstance(n, _Bend)] for layer in layers]
    places = {
        node: (middle[node][0], middle[node][1] - spacing.node_across / 2)
        for layer in shown
        for node in layer
    }
    along = len(layers) * step - spacing.gap_along + 2 * spacing.margin if layers else 0.0
    return Drawing(size=(along, across), places=places, routes=routes, layers=shown)  # type: ignore[arg-type]


def _route(
    chain: list[Hashable], middle: Mapping[Hashable, tuple[float, float]], spacing: Spacing
) -> list[tuple[float, float]]:
    """Through a layer an edge runs straight, so that it passes beside the nodes there."""
    start, *bends, end = chain
    points = [(middle[start][0] + spacing.node_along, middle[start][1])]
    for bend in bends:
        along, across = middle[bend]
        points += [(along, across), (along + spacing.node_along, across)]
    return [*points, middle[end]]
