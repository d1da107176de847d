"""A file over HTTP, whole or one range of it, so that a browser can play a video and seek in it.

Django itself knows no ranges, and without them Safari plays nothing and nobody can seek. A range
without an end is answered with its first `OPEN_ENDED` bytes: a browser asks for the rest when it
needs it, and no thread of the server is held for the length of a playback. Who may have which file
is the view's matter; nothing here comes from an address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date, parse_etags, parse_http_date_safe

from vad.errors import VadError

BLOCK = 64 << 10
OPEN_ENDED = 4 << 20
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*")


class Unsatisfiable(Exception):
    """A range that the file does not reach."""


@dataclass(frozen=True)
class _Version:
    """What tells one content of a file from the next."""

    size: int
    changed_ns: int

    @property
    def etag(self) -> str:
        return f'"{self.changed_ns:x}-{self.size:x}"'

    @property
    def changed_s(self) -> int:
        return self.changed_ns // 1_000_000_000


def ranged(request: HttpRequest, path: Path, content_type: str) -> HttpResponseBase:
    """The file, or the one range of it that was asked for; GET and HEAD.

    Several ranges at once, and a range that cannot be read, are answered with the whole file, as
    the standard allows.

    Args:
        path: from a row or a manifest, never from the client.

    Raises:
        VadError: `file-missing`.

    Source: RFC 9110, sections 13 and 14.
    """
    try:
        file = path.open("rb")
        status = os.fstat(file.fileno())
    except OSError:
        raise VadError(
            "file-missing", f"{path.name} is no longer there.", "Put the file back."
        ) from None
    version = _Version(status.st_size, status.st_mtime_ns)
    try:
        asked = _asked(request, version)
    except Unsatisfiable:
        file.close()
        answer: HttpResponseBase = HttpResponse(status=416)
        answer["Content-Range"] = f"bytes */{version.size}"
        return _described(answer, version)
    if _is_known(request, version):
        file.close()
        return _described(HttpResponse(status=304), version)
    start, stop = asked or (0, version.size)
    if request.method == "HEAD":
        file.close()
        answer = HttpResponse(status=206 if asked else 200)
    else:
        answer = StreamingHttpResponse(_Part(file, start, stop), status=206 if asked else 200)
    if asked:
        answer["Content-Range"] = f"bytes {start}-{stop - 1}/{version.size}"
    answer["Content-Length"] = str(stop - start)
    answer["Content-Type"] = content_type
    return _described(answer, version)


def parse(header: str, size: int) -> tuple[int, int] | None:
    """The bytes [start, stop) that a Range header asks for; None where the whole file is meant.

    Raises:
        Unsatisfiable: the file has none of these bytes.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[0].strip() == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first and not last:
        return None
    if not first:
        start, stop = max(0, size - int(last)), size
    elif not last:
        start = int(first)
        stop = min(start + OPEN_ENDED, size)
    else:
        start, stop = int(first), min(int(last) + 1, size)
        if int(last) < start:
            return None
    if start >= size or stop <= start:
        raise Unsatisfiable
    return start, stop


def _asked(request: HttpRequest, version: _Version) -> tuple[int, int] | None:
    header = request.headers.get("Range", "")
    if not header or not _still(request, version):
        return None
    return parse(header, version.size)


def _still(request: HttpRequest, version: _Version) -> bool:
    """Whether the range is of this content: If-Range names it, or is not there."""
    given = request.headers.get("If-Range", "").strip()
    if not given:
        return True
    if given.startswith(('"', "W/")):
        return given == version.etag  # a weak one never fits
    return parse_http_date_safe(given) == version.changed_s


def _is_known(request: HttpRequest, version: _Version) -> bool:
    """Whether the client has this very content already."""
    given = request.headers.get("If-None-Match")
    if given is not None:
        known = [etag.removeprefix("W/") for etag in parse_etags(given)]
        return "*" in known or version.etag in known
    since = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
    return since is not None and version.changed_s <= since


def _described(answer: HttpResponseBase, version: _Version) -> HttpResponseBase:
    answer["Accept-Ranges"] = "bytes"
    answer["ETag"] = version.etag
    answer["Last-Modified"] = http_date(version.changed_s)
    # Footage stays off the disks of those who look at it. And Chromium, where it may keep parts of
    # a file, asks for the missing ones by their ends, which would hold a thread while it pauses.
    answer["Cache-Control"] = "private, no-store"
    return answer


class _Part:
    """The bytes [start, stop) of an open file in blocks; closes it, even if never read."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._left = file, stop - start
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self._file.read(min(BLOCK, self._left)) if self._left else b""
        if not block:
            self.close()
            raise StopIteration
        self._left -= len(block)
        return block

    def close(self) -> None:
        self._left = 0
        self._file.close()
