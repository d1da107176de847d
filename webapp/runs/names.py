"""What runs are called where several stand side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence


def short_names(names: Sequence[str]) -> list[str]:
    """Names without the parts that all of them begin with, so that what differs can be read.

    Parts end with a comma, a colon or a dot in the middle: the words of one part stay together.
    """
    parts = [re.findall(r".+?(?:[,:\u00b7]\s+|$)", name) for name in names]
    if len(names) < 2 or not all(parts):
        return list(names)
    most = min(len(own) for own in parts) - 1
    same = next((i for i in range(most) if len({own[i] for own in parts}) > 1), max(most, 0))
    return ["".join(own[same:]) for own in parts]
