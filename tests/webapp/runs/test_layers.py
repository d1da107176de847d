"""Where nodes and edges of a lineage are drawn."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.runs import layers

SPACING = layers.Spacing(node_along=100, node_across=40, gap_along=50, gap_across=20)


def draw(nodes: str, *edges: str) -> layers.Drawing[str]:
    return layers.draw(list(nodes), [(e[0], e[1]) for e in edges], SPACING)


def test_a_chain_is_a_row() -> None:
    found = draw("abc", "ab", "bc")

    assert found.layers == [["a"], ["b"], ["c"]]
    assert [found.places[n] for n in "abc"] == [(4, 4), (154, 4), (304, 4)]
    assert found.size == (408, 48)
    assert found.routes["a", "b"] == [(104, 24), (154, 24)]


def test_a_source_stands_right_before_what_it_leads_to() -> None:
    found = draw("abcx", "ab", "bc", "xc")

    assert found.layers == [["a"], ["b", "x"], ["c"]]


def test_a_long_edge_passes_beside_the_nodes() -> None:
    found = draw("abc", "ab", "bc", "ac")

    _, first, second, _ = found.routes["a", "c"]
    top = found.places["b"][1]
    assert first[1] == second[1]
    assert not top <= first[1] <= top + 40
    assert (first[0], second[0]) == (154, 254)


def test_edges_are_untangled() -> None:
    edges = [("a", "y"), ("b", "x")]
    found = layers.draw(list("abxy"), edges, SPACING)

    assert layers.crossings(found.layers, edges) == 0


def test_a_circle_and_an_edge_to_nowhere_are_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        draw("ab", "ab", "ba")
    with pytest.raises(ValueError, match="no such node"):
        draw("a", "ab")


def test_nothing_is_drawn_of_nothing() -> None:
    found = draw("")

    assert (found.layers, found.size[0]) == ([], 0)


@st.composite
def graphs(make: st.DrawFn) -> tuple[list[int], list[tuple[int, int]]]:
    nodes = list(range(make(st.integers(1, 9))))
    pairs = list(itertools.combinations(nodes, 2))
    return nodes, make(st.lists(st.sampled_from(pairs), unique=True, max_size=14)) if pairs else []


@given(graphs())
def test_edges_run_forward_and_no_two_nodes_touch(
    graph: tuple[list[int], list[tuple[int, int]]],
) -> None:
    nodes, edges = graph
    found = layers.draw(nodes, edges, SPACING)

    assert sorted(found.places) == nodes
    for a, b in itertools.combinations(found.places.values(), 2):
        assert abs(a[0] - b[0]) >= 150 or abs(a[1] - b[1]) >= 60 - 1e-9
    for start, end in edges:
        route = found.routes[start, end]
        assert [p[0] for p in route] == sorted(p[0] for p in route)
        assert route[0][0] == found.places[start][0] + 100
        assert route[-1][0] == found.places[end][0]
        for (x, y), node in itertools.product(route[1:-1], nodes):
            left, top = found.places[node]
            assert not (left < x < left + 100 and top < y < top + 40)
    for left, top in found.places.values():
        assert 0 <= left <= left + 100 <= found.size[0]
        assert 0 <= top <= top + 40 <= found.size[1] + 1e-9
