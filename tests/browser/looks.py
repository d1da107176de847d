"""The windows that pages are looked at in: one, each size and scheme once, or all for pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}  # px
IN_ALL = bool(os.environ.get("VADLAB_SCREENSHOTS"))
LOOKS = [("wide", "light"), ("narrow", "dark")]
if IN_ALL:
    LOOKS += [("wide", "dark"), ("narrow", "light")]

# The first alone, unless long tests are asked for.
in_all_looks = pytest.mark.parametrize(
    ("size", "scheme"),
    [
        LOOKS[0],
        *(pytest.param(*look, marks=() if IN_ALL else pytest.mark.long) for look in LOOKS[1:]),
    ],
)
each_half_in_a_look = pytest.mark.parametrize(("size", "scheme"), LOOKS)


def picture(page: Page, name: str, **options: Any) -> None:
    """Save the page in the folder VADLAB_SCREENSHOTS, where that is named."""
    if folder := os.environ.get("VADLAB_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, **options)
