"""The windows that pages are looked at in: each size and scheme once, all four for pictures."""

from __future__ import annotations

import os

import pytest

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}  # px
IN_ALL = bool(os.environ.get("VADLAB_SCREENSHOTS"))
LOOKS = [("wide", "light"), ("narrow", "dark")]
if IN_ALL:
    LOOKS += [("wide", "dark"), ("narrow", "light")]

in_all_looks = pytest.mark.parametrize(("size", "scheme"), LOOKS)
