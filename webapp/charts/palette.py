"""Colours of runs: one colour-blind-safe list, the same in every table, legend, curve and theme.

The hues are Okabe and Ito's (Color Universal Design, 2008). Orange and sky blue are darkened
until each colour has a contrast of at least 3:1 to the light and to the dark surface, black becomes
a mid grey, and yellow, which cannot reach that on white, is left out. After seven runs the colours
come again with another dash.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

COLOURS = (
    "#0072b2",  # blue
    "#d55e00",  # vermillion
    "#009e73",  # bluish green
    "#cc79a7",  # reddish purple
    "#b98000",  # orange
    "#3c98d0",  # sky blue
    "#7a828a",  # black, as grey
)
DASHES = ("solid", "dash", "dot", "dashdot")
SURFACES = {"light": "#ffffff", "dark": "#15191c"}  # --surface in static/css/tokens.css

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Style:
    """How a run is drawn everywhere."""

    color: str
    dash: str

    def rgba(self, alpha: float) -> str:
        """The colour with an opacity, for bands and fills."""
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{alpha:g})"

    @property
    def dasharray(self) -> str:
        """For an SVG swatch in a table."""
        return {"solid": "", "dash": "5 3", "dot": "1.5 2.5", "dashdot": "5 2 1.5 2"}[self.dash]


def style(index: int) -> Style:
    """The style of the run with this place in the selection; it never depends on the others."""
    return Style(
        COLOURS[index % len(COLOURS)],
        DASHES[(index // len(COLOURS)) % len(DASHES)],
    )


def assign(keys: Iterable[Key], stored: Mapping[Key, int] | None = None) -> dict[Key, int]:
    """A place for each key: the stored one, else the lowest that is free.

    So a run keeps its colour when others join or leave the selection.
    """
    keys = list(dict.fromkeys(keys))
    places = {key: stored[key] for key in keys if key in stored} if stored else {}
    taken = set(places.values())
    free = (i for i in range(len(keys) + len(taken)) if i not in taken)
    for key in keys:
        if key not in places:
            places[key] = next(free)
    return {key: places[key] for key in keys}
