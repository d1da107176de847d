"""What is wrong with a filter, and where."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from vad.errors import VadError

SHOWN = 60  # characters of the filter on each side of the place


class FilterError(VadError):
    """A filter that cannot be read.

    `fields` names the place for a program: the message under `q`, and the first character of it and
    the one after it, from 0, under `q.from` and `q.to`. `problems` shows it to a person.
    """

    def __init__(self, text: str, start: int, end: int, message: str, hint: str = "") -> None:
        left, right = max(0, start - SHOWN), min(len(text), end + SHOWN)
        before, after = "…" if left else "", "…" if right < len(text) else ""
        line = " ".join(text[left:right].split(" "))
        mark = " " * (start - left + len(before)) + "^" * max(1, min(end, right) - start)
        super().__init__(
            "filter-invalid",
            message,
            hint,
            problems=[before + line.replace("\n", " ").replace("\t", " ") + after, mark],
            fields={"q": message, "q.from": str(start), "q.to": str(end)},
        )
        self.text, self.start, self.end = text, start, end
        self.before = before + text[left:start]
        self.token = text[start : min(end, right)]
        self.after = text[min(end, right) : right] + after


def meant(word: str, known: Iterable[str]) -> str:
    """' Did you mean a or b?', or nothing when no known word is near."""
    near = get_close_matches(word.lower(), list(known), n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""
