"""Searching a run's whole log on the server, whatever its size, without holding it in memory.

A log is its files one after the other: `log-earlier.txt`, if the log was begun anew because of its
size, then `log.txt`. A block of whole lines at a time is looked through for words at the speed of
bytes; only lines that have one are looked at by themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from webapp.runs.log import level

FILES = ("log-earlier.txt", "log.txt")
BLOCK_BYTES = 1 << 20
LINE_BYTES = 1 << 16  # a longer line is looked at in pieces of this length
MOST_HITS = 100_000  # counted; a search that finds more says so
PAGE = 50  # hits that a page shows
CONTEXT = 2  # lines before and after a hit
AROUND_BYTES = 64 << 10  # of the log, on each side of a line that is looked at in its place
NEEDLE_CHARS = 200

# Words without which a line has no such level (see log.level), lower case.
LEVELS: dict[str, tuple[bytes, ...]] = {
    "": (),
    "warning": (b"warning", b"error", b"critical", b"traceback ", b"exception"),
    "error": (b"error", b"critical", b"traceback ", b"exception"),
}
_WANTED = {"warning": ("warning", "error"), "error": ("error",)}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, cut at what was looked for: (text, whether it is a hit)."""

    number: int  # from 1, in its file
    level: str
    parts: tuple[tuple[str, bool], ...]
    hit: int = 0  # which hit of the search it is, from 1; 0 for a line around one
    offset: int = 0  # of a hit: bytes; where it begins in its file


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Lines that follow each other; several hits may share one."""

    file: str
    lines: list[Line]


@dataclass(kw_only=True)
class Found:
    """A page of a search.

    Args:
        hits: lines that were found in all, `MOST_HITS` at most.
        more: there are more than were counted.
        first: number of the first hit on this page, from 1; 0 without hits.
    """

    hits: int = 0
    more: bool = False
    first: int = 0
    passages: list[Passage] = field(default_factory=list)

    @property
    def last(self) -> int:
        return min(self.hits, self.first + PAGE - 1) if self.first else 0


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to look for: lines that have the text (any case) and are at least this serious."""

    text: str = ""
    level: str = ""
    context: int = CONTEXT

    def __bool__(self) -> bool:
        return bool(self.text or self.level)


def search(folder: Path, query: Query, *, hit: int = 1) -> Found:
    """The page of hits that has this one on it.

    Args:
        hit: from 1; one that does not exist means the nearest that does.
    """
    found = Found()
    if not query:
        return found
    wanted = max(1, min(hit, MOST_HITS))
    start = (wanted - 1) // PAGE * PAGE + 1
    kept: deque[_Hit] = deque(maxlen=PAGE)  # of the page, or of the last one before the end
    for one in _hits(folder, query):
        found.hits += 1
        if found.hits > MOST_HITS:
            found.hits, found.more = MOST_HITS, True
            break
        if found.hits < start + PAGE:
            if (found.hits - 1) % PAGE == 0:
                kept.clear()
                found.first = found.hits
            kept.append(one)
    found.passages = _passages(folder, list(kept), query, found.first)
    return found


def around(folder: Path, file: str, offset: int) -> tuple[list[Line], int]:
    """The log on both sides of a line.

    Args:
        file: one of `FILES`.
        offset: bytes; a position within that line.

    Returns:
        Whole lines, and which of them (from 0) is the one; no lines where there is no such file.
    """
    if file not in FILES:
        return [], 0
    try:
        with (folder / file).open("rb") as stream:
            first = max(0, offset - AROUND_BYTES)
            number = _count_lines(stream, first)
            stream.seek(first)
            data = stream.read(offset - first + AROUND_BYTES)
    except OSError:
        return [], 0
    if first and (cut := data.find(b"\n") + 1):
        data, first, number = data[cut:], first + cut, number + 1
    if not data.endswith(b"\n"):
        data = data[: data.rfind(b"\n") + 1]
    here = data.count(b"\n", 0, max(0, offset - first))
    texts = data.decode(errors="replace").split("\n")[:-1]
    return [
        Line(number=number + 1 + i, level=level(text), parts=((text, False),))
        for i, text in enumerate(texts)
    ], min(here, max(0, len(texts) - 1))


# --- looking --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Hit:
    file: str
    start: int  # bytes, in the file
    number: int  # of the line, from 1


def _hits(folder: Path, query: Query) -> Iterator[_Hit]:
    needle = query.text[:NEEDLE_CHARS].encode(errors="replace").lower()  # as of the blocks: ASCII
    for file in FILES:
        try:
            stream = (folder / file).open("rb")
        except OSError:
            continue
        with stream:
            number = offset = 0
            for block in _blocks(stream):
                counted = 0  # bytes of the block whose lines are in `number`
                for start, end in _candidates(block.lower(), needle, LEVELS[query.level]):
                    if _fits(block[start:end], query.level):
                        number += block.count(b"\n", counted, start)
                        counted = start
                        yield _Hit(file, offset + start, number + 1)
                number += block.count(b"\n", counted)
                offset += len(block)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The file in blocks that end with a line, as far as its lines are not longer than a block."""
    rest = b""
    while data := stream.read(BLOCK_BYTES):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) < 4 * BLOCK_BYTES:
            rest = data
            continue
        cut = cut or len(data)
        yield data[:cut]
        rest = data[cut:]
    if rest:
        yield rest  # a line that is still being written


def _candidates(
    lowered: bytes, needle: bytes, words: tuple[bytes, ...]
) -> Iterator[tuple[int, int]]:
    """Start and end of each line that has the needle, or else one of the words, in order."""
    sought = (needle,) if needle else words
    places = [lowered.find(word) for word in sought]
    at = 0
    while True:
        for i, word in enumerate(sought):  # each word is looked for once, however many others are
            if 0 <= places[i] < at:
                places[i] = lowered.find(word, at)
        place = min((p for p in places if p >= 0), default=-1)
        if place < 0:
            return
        start = lowered.rfind(b"\n", 0, place) + 1
        end = lowered.find(b"\n", place)
        end = len(lowered) if end < 0 else end
        yield start, end
        at = end + 1


def _fits(line: bytes, wanted: str) -> bool:
    if not wanted:
        return True
    return level(line[:LINE_BYTES].decode(errors="replace")) in _WANTED[wanted]


# (file, number of a line) -> which hit it is, and where it begins
Numbers = dict[tuple[str, int], tuple[int, int]]


# --- showing --------------------------------------------------------------------------------


def _passages(folder: Path, hits: list[_Hit], query: Query, first: int) -> list[Passage]:
    """The hits with the lines around them; what touches becomes one passage."""
    found: list[Passage] = []
    numbers: Numbers = {
        (hit.file, hit.number): (first + i, hit.start) for i, hit in enumerate(hits)
    }
    for file in FILES:
        own = [hit for hit in hits if hit.file == file]
        if not own:
            continue
        with (folder / file).open("rb") as stream:
            group: list[_Hit] = []
            for hit in own:
                if group and hit.number > group[-1].number + 2 * query.context + 1:
                    found.append(_passage(stream, group, query, numbers))
                    group = []
                group.append(hit)
            found.append(_passage(stream, group, query, numbers))
    return found


def _passage(
    stream: BinaryIO,
    hits: list[_Hit],
    query: Query,
    numbers: Numbers,
) -> Passage:
    before, count = _before(stream, hits[0].start, query.context)
    stream.seek(before)
    number = hits[0].number - count
    lines = []
    for i in range(number, hits[-1].number + query.context + 1):
        data = stream.readline(LINE_BYTES)
        if not data:
            break
        while data and not data.endswith(b"\n") and (more := stream.readline(LINE_BYTES)):
            if more.endswith(b"\n"):
                break
        text = data.decode(errors="replace").rstrip("\r\n")
        hit, offset = numbers.get((hits[0].file, i), (0, 0))
        parts = _cut(text, query.text) if hit else ((text, False),)
        lines.append(Line(number=i, level=level(text), parts=parts, hit=hit, offset=offset))
    return Passage(file=hits[0].file, lines=lines)


def _before(stream: BinaryIO, start: int, count: int) -> tuple[int, int]:
    """Where the lines before a position begin, and how many there are of those asked for."""
    first = max(0, start - LINE_BYTES)
    stream.seek(first)
    data = stream.read(start - first)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    begins = [first + end for end in ends if first + end < start]
    if first == 0:
        begins = [0, *begins] if start > 0 else []
    kept = begins[-count:] if count else []
    return (kept[0], len(kept)) if kept else (start, 0)


def _cut(text: str, needle: str) -> tuple[tuple[str, bool], ...]:
    """The text in parts, of which those that match are marked."""
    lowered, wanted = text.lower(), needle[:NEEDLE_CHARS].lower()
    if not wanted or len(lowered) != len(text):  # a few letters change length in lower case
        return ((text, False),)
    parts: list[tuple[str, bool]] = []
    at = 0
    while (place := lowered.find(wanted, at)) >= 0:
        if place > at:
            parts.append((text[at:place], False))
        parts.append((text[place : place + len(wanted)], True))
        at = place + len(wanted)
    if at < len(text):
        parts.append((text[at:], False))
    return tuple(parts)


def _count_lines(stream: BinaryIO, before: int) -> int:
    """Line ends before a position."""
    stream.seek(0)
    count, left = 0, before
    while left and (data := stream.read(min(left, BLOCK_BYTES))):
        count += data.count(b"\n")
        left -= len(data)
    return count
