"""Reading a run's log.txt for its page: the end of it, and what came since."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 128 * 1024  # what a page shows at once; the whole file can be fetched

_LEVEL = re.compile(
    r"^(?:\d{4}-\d\d-\d\d[ T][\d:.,Z+]+ )?\W?(?P<level>debug|info|warning|error|critical)\b", re.I
)
_TROUBLE = re.compile(r"^(?:\d{4}-\d\d-\d\d [\d:]+ )?(?:Traceback |\w*(?:Error|Exception)\b)")


@dataclass(frozen=True)
class LogLine:
    text: str
    level: str  # debug, info, warning, error


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """Lines of a log, and where to go on reading.

    Args:
        end: bytes; the position after the last whole line that was read.
        skipped: bytes before the first line that were left out.
    """

    lines: list[LogLine]
    end: int = 0
    skipped: int = 0


def read(folder: Path, *, after: int | None = None, most: int = TAIL_BYTES) -> LogPart:
    """The whole lines after a position, or the last ones; at most about `most` bytes of them.

    A file that became shorter than `after` has been begun anew, and is read from its start.
    """
    try:
        with (folder / "log.txt").open("rb") as file:
            size = file.seek(0, 2)
            start = 0 if after is None or after > size else after
            first = max(start, size - most)
            file.seek(first)
            data = file.read(size - first)
    except OSError:
        return LogPart(lines=[])
    if first > start:  # begin with a whole line
        cut = data.find(b"\n") + 1
        first, data = first + cut, data[cut:]
    data = data[: data.rfind(b"\n") + 1]  # the last line may still be being written
    texts = data.decode(errors="replace").splitlines()
    return LogPart(
        lines=[LogLine(text, level(text)) for text in texts],
        end=first + len(data),
        skipped=first - start,
    )


def level(text: str) -> str:
    """How serious a line is, by its own words."""
    found = _LEVEL.match(text)
    if found:
        name = found["level"].lower()
        return "error" if name == "critical" else name
    return "error" if _TROUBLE.match(text) else "info"


def chunk(folder: Path, offset: int, limit: int) -> tuple[str, int, int]:
    """Text from a position on: whole lines where it can be, `limit` bytes at most.

    A file that became shorter than `offset` has been begun anew, and is read from its start.

    Returns:
        The text, the position to go on from, and the size of the log so far, both in bytes.
    """
    try:
        with (folder / "log.txt").open("rb") as file:
            size = file.seek(0, 2)
            start = 0 if offset > size else offset
            file.seek(start)
            data = file.read(limit)
    except OSError:
        return "", 0, 0
    whole = data.rfind(b"\n") + 1
    if whole:
        data = data[:whole]
    elif start + len(data) == size:
        data = b""  # a line that is still being written
    return data.decode(errors="replace"), start + len(data), size
