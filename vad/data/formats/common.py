"""What the readers share: collecting problems, finding media below a folder, counting frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad.data.manifest import Manifest, Truth
from vad.errors import VadError
from vad.video.reader import VIDEO_SUFFIXES, VideoInfo, probe

LISTED_PROBLEMS = 1000
PROBLEM_LENGTH = 500
MAX_TEXT_BYTES = 64 * 1024 * 1024
Progress = Callable[[int, int], None]
Dataset = tuple[Manifest, dict[str, Truth]]


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a reader wants to know beside the folder. `kind`: file, folder, flag or choice."""

    name: str
    help: str
    kind: str
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """A reader, as a form or a command line shows it."""

    name: str
    title: str
    help: str
    read: Callable[..., Dataset]
    options: tuple[Option, ...] = ()


class Problems:
    """Everything that is wrong with a data set, each with its file and line."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.found: list[str] = []

    def add(self, where: Path | str, text: str, line: int | None = None) -> None:
        """Note a problem. `where` is a file (shown relative to the root when below it)."""
        if isinstance(where, Path):
            inside = where.is_relative_to(self._root) and where != self._root
            where = str(where.relative_to(self._root) if inside else where)
        said = f"{where}{f', line {line}' if line else ''}: {text}"
        # a file may hold halves of surrogate pairs and values of megabytes; no log takes either
        self.found.append(said[:PROBLEM_LENGTH].encode("utf-8", "replace").decode())

    def raise_if_any(self) -> None:
        """Refuse the data set when anything is wrong.

        Raises:
            VadError: `dataset-invalid`, with all problems.
        """
        if not self.found:
            return
        noun = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        raise VadError(
            "dataset-invalid",
            f"The data set in {self._root} has {noun}; nothing was registered. "
            f"First: {self.found[0]}",
            "Correct what is listed, then read the folder again.",
            problems=self.found[:LISTED_PROBLEMS],
        )


def read_lines(path: Path) -> list[str]:
    """The lines of a text file (UTF-8, with or without a byte order mark).

    Raises:
        VadError: `file-missing` or `annotation-invalid`.
    """
    return read_text(path).splitlines()


def read_text(path: Path) -> str:
    """A whole text file, as UTF-8.

    Raises:
        VadError: `file-missing` or `annotation-invalid`.
    """
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise VadError(
                "annotation-invalid",
                f"{path} has {path.stat().st_size / 1e6:.0f} MB, which no annotation file has.",
                "Check that the right file was named.",
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise VadError("file-missing", f"{path} does not exist.", "Check the path.") from None
    except (OSError, UnicodeDecodeError) as exc:
        reason = "it is not UTF-8 text" if isinstance(exc, UnicodeDecodeError) else exc.strerror
        raise VadError(
            "annotation-invalid", f"{path} cannot be read: {reason}.", "Save it as UTF-8 text."
        ) from exc


def find_by_name(
    root: Path,
    suffixes: Iterable[str],
    problems: Problems,
    crop_suffix: bool = False,
    without: Collection[Path] = (),
) -> dict[str, Path]:
    """Files below a folder by their name without suffix; two of one name are a problem.

    Args:
        crop_suffix: NAME__0, NAME__1, … count as one NAME (the first is kept).
        without: folders whose files do not count.
    """
    wanted = {s.lower() for s in suffixes}
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in wanted or path.name.startswith("."):
            continue
        if any(path.is_relative_to(folder) for folder in without):
            continue
        crop = re.fullmatch(r"(.+)__\d{1,2}", path.stem) if crop_suffix else None
        name = crop[1] if crop else path.stem
        if not name.isprintable():
            problems.add(path, "the name is no UTF-8 text, or has control characters; rename it")
            continue
        if name not in found:
            found[name] = path
        elif not crop or found[name].parent != path.parent:
            problems.add(path, f"there is also {found[name].relative_to(root)} of the same name")
    return found


def find_videos(root: Path, problems: Problems) -> dict[str, Path]:
    """Video files below a folder by name."""
    return find_by_name(root, VIDEO_SUFFIXES, problems)


def count_all(
    paths: Sequence[tuple[str, Path]], problems: Problems, on_progress: Progress | None
) -> dict[str, VideoInfo]:
    """Decode every video (key, path) to count its frames; one that cannot be read is a problem."""

    def count(path: Path) -> VideoInfo | VadError:
        try:
            return probe(path)
        except VadError as exc:
            return exc

    infos = {}
    with ThreadPoolExecutor(2) as pool:  # the decoder works outside Python's lock
        results = pool.map(count, (path for _, path in paths))
        for done, ((key, path), info) in enumerate(zip(paths, results, strict=True), start=1):
            if isinstance(info, VadError):
                problems.add(path, f"{info.message} ({info.code})")
            else:
                infos[key] = info
            if on_progress:
                on_progress(done, len(paths))
    return infos


def inside(root: Path, relative: str) -> Path | None:
    """The path below the root, or None when it leads out of it (`..`, absolute, a link)."""
    try:
        path = (root / relative).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return path if path.is_relative_to(root.resolve()) else None


def own_file(root: Path, name: str) -> Path:
    """A file that a data set has by a fixed name; readers quote lines, so of no other folder.

    Raises:
        VadError: `path-outside-roots`, it is a link that leads out of the data set's folder.
    """
    if inside(root, name) is None:
        raise VadError(
            "path-outside-roots",
            f"{root / name} is a link that leads out of its folder.",
            "Put the file itself there.",
        )
    return root / name


def merge(intervals: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorted and disjoint: intervals that overlap or touch become one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
