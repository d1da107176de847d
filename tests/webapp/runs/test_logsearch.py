"""The whole log is searched, whatever its size, and little of it is held in memory."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from webapp.runs import logsearch
from webapp.runs.logsearch import Query, search

STAMP = "2026-11-27 10:00:00"


def write(folder: Path, lines: list[str], name: str = "log.txt") -> None:
    (folder / name).write_text("".join(f"{STAMP} {line}\n" for line in lines), encoding="utf-8")


def hits(found: logsearch.Found) -> list[int]:
    return [line.number for passage in found.passages for line in passage.lines if line.hit]


def test_any_case_is_found_and_marked(tmp_path: Path) -> None:
    write(tmp_path, ["step 1: Loss 0.5", "nothing", "step 2: LOSS 0.4, loss again"])

    found = search(tmp_path, Query(text="loss", context=0))

    assert found.hits == 2
    assert hits(found) == [1, 3]
    assert [part for part, is_hit in found.passages[1].lines[0].parts if is_hit] == ["LOSS", "loss"]


def test_lines_around_a_hit_are_shown_and_shared(tmp_path: Path) -> None:
    write(tmp_path, [f"line {i}" for i in range(1, 31)])

    found = search(tmp_path, Query(text="line 2", context=2))  # 2, 20 to 29

    assert hits(found) == [2, *range(20, 30)]
    assert [[line.number for line in p.lines] for p in found.passages] == [
        [1, 2, 3, 4], list(range(18, 31)),
    ]  # fmt: skip
    assert [line.hit for line in found.passages[0].lines] == [0, 1, 0, 0]


@pytest.mark.parametrize(("level", "numbers"), [("warning", [2, 4, 5, 6]), ("error", [4, 5, 6])])
def test_a_level_means_that_or_worse(tmp_path: Path, level: str, numbers: list[int]) -> None:
    write(
        tmp_path,
        [
            "all is well, no error here",
            "warning: the disk is nearly full",
            "a warning that somebody mentions",
            "ERROR the loss is NaN",
            "Traceback (most recent call last):",
            "ValueError: of torch",
        ],
    )

    assert hits(search(tmp_path, Query(level=level))) == numbers
    assert hits(search(tmp_path, Query(text="disk", level=level))) == [2] * (level == "warning")


def test_the_part_that_was_moved_aside_is_searched_first(tmp_path: Path) -> None:
    write(tmp_path, ["early loss"], "log-earlier.txt")
    write(tmp_path, ["late loss"])

    found = search(tmp_path, Query(text="loss"))

    assert [p.file for p in found.passages] == ["log-earlier.txt", "log.txt"]
    assert [line.hit for p in found.passages for line in p.lines] == [1, 2]


def test_a_page_has_fifty_hits_and_the_last_one_holds_what_is_asked_beyond(tmp_path: Path) -> None:
    write(tmp_path, [f"hit {i}" for i in range(1, 121)])
    query = Query(text="hit", context=0)

    assert (search(tmp_path, query).first, search(tmp_path, query).last) == (1, 50)
    third = search(tmp_path, query, hit=101)
    assert hits(third) == list(range(101, 121))
    assert search(tmp_path, query, hit=100_000).passages == third.passages
    assert search(tmp_path, query, hit=-3).first == 1


def test_letters_beyond_ascii_and_broken_bytes_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes("Über Müll İ\n".encode() + b"\xff\xfe loss\n" + b"no end")

    assert hits(search(tmp_path, Query(text="Über"))) == [1]
    assert hits(search(tmp_path, Query(text="loss"))) == [2]
    assert hits(search(tmp_path, Query(text="no end"))) == [3]


@pytest.mark.parametrize("size", [16, 33, 64, 1000])
def test_a_hit_is_found_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    write(tmp_path, [f"{'x' * (i % 7)} needle {i}" for i in range(40)])
    monkeypatch.setattr(logsearch, "BLOCK_BYTES", size)

    assert hits(search(tmp_path, Query(text="needle"))) == list(range(1, 41))


def test_no_log_and_no_question_find_nothing(tmp_path: Path) -> None:
    assert search(tmp_path, Query(text="x")).hits == 0
    write(tmp_path, ["x"])
    assert search(tmp_path, Query()).hits == 0


def test_a_line_is_shown_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [f"line {i}" for i in range(1, 1001)])
    monkeypatch.setattr(logsearch, "AROUND_BYTES", 300)
    offset = search(tmp_path, Query(text="line 500", context=0)).passages[0].lines[0].offset

    lines, here = logsearch.around(tmp_path, "log.txt", offset)

    assert lines[here].number == 500
    assert lines[here].parts[0][0].endswith("line 500")
    assert [line.number for line in lines] == list(range(lines[0].number, lines[-1].number + 1))
    assert 10 < len(lines) < 30
    assert logsearch.around(tmp_path, "../secret", 0) == ([], 0)


def test_a_hundred_megabytes_are_searched_in_a_moment_and_in_little_memory(tmp_path: Path) -> None:
    lines = [f"{STAMP} step {i}: loss {1 / (i + 1):.6f} and more words\n" for i in range(9000)]
    block = "".join(lines)
    with (tmp_path / "log.txt").open("w") as file:
        for _ in range(200):
            file.write(block)
        file.write(f"{STAMP} warning: a needle\n")
    assert (tmp_path / "log.txt").stat().st_size > 100_000_000
    begun = time.perf_counter()
    found = search(tmp_path, Query(text="Needle"))
    often = search(tmp_path, Query(text="loss"), hit=90_000)
    spent_s = time.perf_counter() - begun
    tracemalloc.start()
    warned = search(tmp_path, Query(level="warning"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (found.hits, warned.hits) == (1, 1)
    assert (often.hits, often.more) == (logsearch.MOST_HITS, True)
    assert peak < 16 << 20
    assert spent_s < 30  # some two seconds, on cores that nobody else uses
