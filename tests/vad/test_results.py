"""What crosses the border between a run and its supervisor."""

from __future__ import annotations

import pytest

from vad import results
from vad.data.formats.common import Problems, find_by_name


@pytest.mark.parametrize(
    "record",
    [
        results.Progress(done=1, total=2, unit="videos", note="caf\udce9\0.mp4"),
        results.Failed(
            error={"message": "caf\udce9", "problems": ["\0"], "fields": {"\ud800": ""}}
        ),
    ],
)
def test_text_that_no_database_takes_never_arrives(record):
    arrived = results.parse_line(results.to_line(record))

    text = repr(arrived)
    assert "\\x00" not in text
    assert text.encode()  # a lone surrogate would not encode, and repr leaves none out
    assert "\\ud" not in text
    assert "\ufffd" in text


def test_other_text_arrives_as_it_was_sent():
    record = results.Log(level="info", message="Überfall \U0001f600 \\ud800")

    assert results.parse_line(results.to_line(record)) == record


def test_a_file_whose_name_is_no_utf8_text_is_a_problem(tmp_path):
    (tmp_path / "caf\udce9.npy").touch()
    (tmp_path / "fine.npy").touch()
    problems = Problems(tmp_path)

    found = find_by_name(tmp_path, [".npy"], problems)

    assert list(found) == ["fine"]
    assert len(problems.found) == 1
