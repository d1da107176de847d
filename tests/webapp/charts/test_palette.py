import re
from itertools import combinations
from pathlib import Path

import pytest

from webapp.charts.palette import COLOURS, DASHES, SURFACES, assign, style

TOKENS = Path(__file__).parents[3] / "webapp" / "static" / "css" / "tokens.css"


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def tokens() -> dict[str, tuple[str, str]]:
    """Role -> its light and dark colour."""
    found = re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TOKENS.read_text()
    )
    return {name: (light, dark) for name, light, dark in found}


@pytest.mark.parametrize("theme", SURFACES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_run_colour_stands_out_from_the_surface(colour, theme):
    assert contrast(colour, SURFACES[theme]) >= 3


def test_the_surfaces_are_those_of_the_style_sheet():
    assert tokens()["surface"] == (SURFACES["light"], SURFACES["dark"])


@pytest.mark.parametrize("place", [0, 1])
def test_text_and_state_colours_are_readable_in_both_themes(place):
    roles = tokens()
    surface = roles["surface"][place]
    names = [n for n in roles if n in ("text", "muted", "accent") or n.startswith("state-")]

    poor = {n: round(contrast(roles[n][place], surface), 2) for n in names}

    assert len(names) >= 12
    assert {n: c for n, c in poor.items() if c < 4.5} == {}


def test_a_style_depends_on_its_place_only():
    assert style(3) == style(3)
    assert style(0).color == COLOURS[0]
    assert style(0).dash == "solid"
    assert style(len(COLOURS)).color == COLOURS[0]
    assert style(len(COLOURS)).dash == "dash"


def test_no_two_of_the_first_runs_look_alike():
    looks = [style(i) for i in range(len(COLOURS) * len(DASHES))]

    assert not [pair for pair in combinations(looks, 2) if pair[0] == pair[1]]


def test_a_run_keeps_its_place_when_others_join_or_leave():
    first = assign(["a", "b", "c"])
    later = assign(["d", "c", "b"], stored=first)

    assert first == {"a": 0, "b": 1, "c": 2}
    assert later == {"d": 0, "c": 2, "b": 1}


def test_a_colour_with_opacity():
    assert style(0).rgba(0.15) == "rgba(0,114,178,0.15)"
