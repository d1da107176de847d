"""A file over HTTP, whole and in ranges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from django.utils.http import http_date

from vad.errors import VadError
from webapp.core import ranges

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
SIZE = len(CONTENT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(CONTENT)
    return path


def ask(path: Path, method: str = "get", **headers: str) -> HttpResponseBase:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = getattr(RequestFactory(), method)("/", headers=headers)
    return ranges.ranged(request, path, "video/mp4")


def body(answer: Any) -> bytes:
    return b"".join(answer) if answer.streaming else answer.content


def test_without_a_range_the_whole_file_is_sent(file: Path) -> None:
    answer = ask(file)

    assert (answer.status_code, body(answer)) == (200, CONTENT)
    assert answer["Content-Length"] == str(SIZE)
    assert answer["Content-Type"] == "video/mp4"
    assert answer["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=10-", 10, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-100", SIZE - 100, SIZE),
        (f"bytes=-{SIZE + 5}", 0, SIZE),  # a longer suffix is all of it
        (f"bytes=5-{SIZE + 5}", 5, SIZE),  # a later end is the last byte
        ("bytes = 3 - 7".replace(" ", ""), 3, 8),
    ],
)
def test_a_range_is_exactly_its_bytes(file: Path, header: str, start: int, stop: int) -> None:
    answer = ask(file, Range=header)

    assert (answer.status_code, body(answer)) == (206, CONTENT[start:stop])
    assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", "bytes=-0"])
def test_a_range_behind_the_end_is_refused_with_the_size(file: Path, header: str) -> None:
    answer = ask(file, Range=header)

    assert (answer.status_code, body(answer)) == (416, b"")
    assert answer["Content-Range"] == f"bytes */{SIZE}"


def test_an_empty_file_has_no_ranges(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()

    assert ask(path, Range="bytes=0-").status_code == 416
    assert ask(path, Range="bytes=-5").status_code == 416
    assert (ask(path).status_code, body(ask(path))) == (200, b"")


@pytest.mark.parametrize(
    "header",
    ["bytes=-", "bytes=9-3", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=" + 40 * "9" + "-",
     "bytes=\u0661-\u0662", "0-5"],
)  # fmt: skip
def test_what_is_no_single_range_gets_the_whole_file(file: Path, header: str) -> None:
    assert ranges.parse(header, SIZE) is None


def test_a_range_without_an_end_is_cut_so_that_no_thread_is_held(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "OPEN_ENDED", 1000)

    answer = ask(file, Range="bytes=100-")

    assert answer["Content-Range"] == f"bytes 100-1099/{SIZE}"
    assert body(answer) == CONTENT[100:1100]
    assert len(body(ask(file, Range="bytes=100-5000"))) == 4901  # one with an end is not


def test_a_head_says_the_same_without_the_bytes(file: Path) -> None:
    whole, part = ask(file, "head"), ask(file, "head", Range="bytes=0-9")

    assert (whole.status_code, whole["Content-Length"]) == (200, str(SIZE))
    assert (part.status_code, part["Content-Length"]) == (206, "10")
    assert isinstance(whole, HttpResponse)
    assert isinstance(part, HttpResponse)
    assert whole.content == part.content == b""


def test_a_range_of_another_content_gets_the_whole_new_one(file: Path) -> None:
    old = ask(file)["ETag"]
    assert ask(file, Range="bytes=0-9", If_Range=old).status_code == 206
    file.write_bytes(CONTENT[::-1])
    os.utime(file, (1, 1))

    changed = ask(file, Range="bytes=0-9", If_Range=old)

    assert (changed.status_code, body(changed)) == (200, CONTENT[::-1])
    assert ask(file, Range="bytes=0-9", If_Range=f"W/{changed['ETag']}").status_code == 200
    assert ask(file, Range="bytes=0-9", If_Range=http_date(1)).status_code == 206
    assert ask(file, Range="bytes=0-9", If_Range=http_date(2)).status_code == 200


def test_what_the_client_has_is_not_sent_again(file: Path) -> None:
    etag = ask(file)["ETag"]

    assert ask(file, If_None_Match=etag).status_code == 304
    assert ask(file, If_None_Match='"other"', If_Modified_Since=http_date()).status_code == 200
    assert ask(file, If_Modified_Since=http_date(file.stat().st_mtime + 1)).status_code == 304


def test_the_file_is_closed_even_if_nobody_reads_it(file: Path, db: None) -> None:
    answer = ask(file)
    part = answer._iterator  # type: ignore[attr-defined]

    answer.close()

    assert part._file.closed


def test_the_file_is_closed_at_its_end(file: Path) -> None:
    answer = ask(file, Range="bytes=0-99")
    part = answer._iterator  # type: ignore[attr-defined]
    body(answer)

    assert part._file.closed


def test_a_file_that_is_gone_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(VadError, match=r"gone\.mp4") as caught:
        ask(tmp_path / "gone.mp4")

    assert caught.value.code == "file-missing"
    assert str(tmp_path) not in caught.value.message
