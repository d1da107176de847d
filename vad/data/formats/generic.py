"""A team's own footage: one JSON or CSV file beside the videos. Described in docs/datasets.md."""

from __future__ import annotations

import csv
import json
import os
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vad.data.formats.common import (
    Dataset,
    Format,
    Option,
    Problems,
    Progress,
    count_all,
    inside,
    merge,
    own_file,
    read_lines,
    read_text,
)
from vad.data.manifest import NORMAL, SPLITS, Manifest, Track, Truth, Video
from vad.errors import VadError

FILES = ("dataset.json", "dataset.csv")
COLUMNS = ("key", "path", "split", "label", "class", "intervals", "masks", "num_frames", "fps")
_JSON_KEYS = (*(c for c in COLUMNS if c != "class"), "classes", "class", "tracks")
_MAX_KEY = 200
_MOST_FRAMES = 10**9
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def read(
    root: Path,
    *,
    annotations: Path | None = None,
    end_inclusive: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read a described data set.

    Args:
        annotations: the JSON or CSV file; default: dataset.json or dataset.csv in the root.
        end_inclusive: intervals include their last frame. By default they do not: [start, end).
    """
    problems = Problems(root)
    file = annotations or next((own_file(root, n) for n in FILES if (root / n).is_file()), None)
    if file is None:
        raise VadError(
            "file-missing",
            f"{root} holds neither {' nor '.join(FILES)}.",
            "Describe the videos in such a file (docs/datasets.md), or name another file.",
        )
    name = root.name
    entries: list[tuple[int, dict[str, Any]]]
    if file.suffix.lower() == ".json":
        name, entries = _json_entries(file, problems, root.name)
    else:
        entries = list(_csv_entries(file, problems))
    drafts: dict[str, _Draft] = {}
    for line, entry in entries:
        draft = _Draft(root, entry, end_inclusive)
        for text in draft.problems:
            problems.add(file, f"{draft.key or 'entry'}: {text}", line)
        draft.line = line
        if draft.key in drafts:
            first = drafts[draft.key].line
            problems.add(file, f"{draft.key}: the key was used on line {first} already", line)
        drafts.setdefault(draft.key, draft)
    if not entries and not problems.found:
        problems.add(file, "it lists no video")
    paths = [(key, root / d.path) for key, d in drafts.items() if d.path and not d.problems]
    infos = count_all(paths, problems, on_progress)
    videos, truth = [], {}
    for key, draft in drafts.items():
        info = infos.get(key)
        if info and draft.num_frames and draft.num_frames != info.num_frames:
            problems.add(
                file,
                f"{key}: num_frames is {draft.num_frames}, but {info.num_frames} can be decoded",
                draft.line,
            )
        frames = info.num_frames if info else draft.num_frames
        for start, end in draft.intervals:
            if frames and end > frames:
                last = end - 1 if end_inclusive else end
                text = f"{key}: the interval {start} to {last} leaves the {frames} frames"
                problems.add(file, text, draft.line)
        for track in draft.tracks:
            if frames and track.end_frame > frames:
                problems.add(file, f"{key}: a track leaves the {frames} frames", draft.line)
        videos.append(
            Video(
                key=key,
                split=draft.split,
                label=draft.label,
                classes=draft.classes,
                path=draft.path,
                num_frames=frames,
                fps=draft.fps or (info.fps if info else 0.0),
                width=info.width if info else 0,
                height=info.height if info else 0,
            )
        )
        if draft.split == "test" or draft.intervals or draft.tracks or draft.masks:
            truth[key] = Truth(
                intervals=merge(draft.intervals), tracks=draft.tracks, masks=draft.masks
            )
    problems.raise_if_any()
    rules = {
        "frames": "decoded" if infos else "listed",
        "interval_end": "inclusive" if end_inclusive else "exclusive",
    }
    manifest = Manifest(
        name=name, format="generic", videos=tuple(videos), media_root=str(root), rules=rules
    )
    return manifest, truth


class _Draft:
    """One entry, checked. `problems` says what is wrong with it; then its values mean nothing."""

    def __init__(self, root: Path, entry: dict[str, Any], end_inclusive: bool) -> None:
        self.problems: list[str] = []
        self.line = 0
        self.path = self._below(root, entry, "path")
        self.masks = self._below(root, entry, "masks")
        self.key = str(entry.get("key") or Path(self.path).stem)
        if not self.key or len(self.key) > _MAX_KEY or not self.key.isprintable():
            self.problems.append("a key of 1 to 200 printable characters is needed, or a path")
        self.split = str(entry.get("split") or "")
        if self.split not in SPLITS:
            self.problems.append(f"split is {self.split!r}, expected train or test")
        self.classes = self._classes(entry)
        self.label = self._label(entry)
        self.num_frames = int(self._number(entry, "num_frames", whole=True))
        self.fps = self._number(entry, "fps")
        self.intervals = self._intervals(entry.get("intervals"), end_inclusive)
        self.tracks = self._tracks(entry.get("tracks"))
        if self.label == 0 and (self.intervals or self.tracks):
            self.problems.append("a normal video has no intervals and no tracks")
        if self.split == "test":
            if self.label == 1 and not self.intervals and not self.problems:
                self.problems.append("an abnormal test video needs its intervals")
            if not self.path and not self.num_frames and not self.problems:
                self.problems.append("a test video without a path needs num_frames")

    def _below(self, root: Path, entry: dict[str, Any], field: str) -> str:
        given = str(entry.get(field) or "")
        if not given:
            return ""
        place = inside(root, given)
        if place is None:
            self.problems.append(f"{field} {given!r} leads out of the data set's folder")
            return ""
        if not os.path.exists(place):  # noqa: PTH110 (Path raises where a name is too long)
            self.problems.append(f"{field} {reprlib.repr(given)} does not exist")
        return Path(given).as_posix()

    def _classes(self, entry: dict[str, Any]) -> tuple[str, ...]:
        given = entry.get("classes") or entry.get("class") or []
        names = re.split(r"[;|]", given) if isinstance(given, str) else given
        if not isinstance(names, list) or not all(
            isinstance(n, str) and len(n) <= _MAX_KEY and n.strip().isprintable() for n in names
        ):
            self.problems.append("classes are names of at most 200 printable characters")
            return ()
        cleaned = tuple(dict.fromkeys(n.strip() for n in names if n.strip()))
        if NORMAL in cleaned and len(cleaned) > 1:
            self.problems.append(f"class {NORMAL} together with others")
        return () if NORMAL in cleaned else cleaned

    def _label(self, entry: dict[str, Any]) -> int:
        given = entry.get("label")
        if given in (None, ""):
            if self.classes:
                return 1
            given = entry.get("classes") or entry.get("class")
            if given == NORMAL or (isinstance(given, list) and NORMAL in given):
                return 0
            self.problems.append("a label (0 normal, 1 abnormal) or a class is needed")
            return 0
        if str(given) not in ("0", "1"):
            shown = reprlib.repr(given)
            self.problems.append(f"label is {shown}, expected 0 (normal) or 1 (abnormal)")
            return 0
        label = int(given)
        if label == 0 and self.classes:
            self.problems.append(f"label is 0, but the class is {', '.join(self.classes)}")
        if label == 1 and not self.classes:
            if entry.get("class") == NORMAL:
                self.problems.append(f"label is 1, but the class is {NORMAL}")
            self.classes = ("Anomaly",)
        return label

    def _number(self, entry: dict[str, Any], field: str, whole: bool = False) -> float:
        given = entry.get(field)
        if given in (None, ""):
            return 0
        try:
            value = float(given)
            if not 0 < value < _MOST_FRAMES or (whole and value != int(value)):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            kind = "a whole number" if whole else "a number"
            self.problems.append(f"{field} is {reprlib.repr(given)}, expected {kind} above 0")
            return 0
        return value

    def _intervals(self, given: Any, end_inclusive: bool) -> list[tuple[int, int]]:
        pairs = given or []
        if isinstance(pairs, str):
            pairs = [
                re.split(r"\s*[-,\s]\s*", part.strip()) for part in pairs.split(";") if part.strip()
            ]
        found = []
        for pair in pairs if isinstance(pairs, list) else [pairs]:
            try:
                start, end = (_whole(n) for n in pair)
            except (TypeError, ValueError):
                shown = reprlib.repr(pair)
                self.problems.append(f"{shown} is no interval of two whole numbers")
                continue
            if end >= _MOST_FRAMES:
                self.problems.append("an interval ends after the thousand millionth frame")
                continue
            if start < 0 or end < start or (end == start and not end_inclusive):
                self.problems.append(
                    f"the interval {start} to {end} is reversed, empty or negative"
                )
                continue
            found.append((start, end + 1 if end_inclusive else end))
        return found

    def _tracks(self, given: Any) -> tuple[Track, ...]:
        tracks: list[Track] = []
        if given and not isinstance(given, list):
            self.problems.append("tracks is no list")
            return ()
        for number, item in enumerate(given or [], start=1):
            try:
                keyframes = tuple(
                    sorted((int(k[0]), *(float(c) for c in k[1:5])) for k in item["keyframes"])
                )
                start, end = int(item["start_frame"]), int(item["end_frame"])
                boxes_fit = all(len(k) == 5 and k[1] <= k[3] and k[2] <= k[4] for k in keyframes)
                finite = all(abs(n) < _MOST_FRAMES for k in keyframes for n in k)
                if not keyframes or not boxes_fit or not finite or not 0 <= start < end:
                    raise ValueError
                tracks.append(
                    Track(
                        start_frame=start,
                        end_frame=end,
                        keyframes=keyframes,  # type: ignore[arg-type]
                        name=str(item.get("name", "")),
                    )
                )
            except (KeyError, TypeError, ValueError, IndexError, OverflowError):
                self.problems.append(
                    f"track {number} needs start_frame < end_frame and keyframes "
                    "[frame, x0, y0, x1, y1] with x0 <= x1, y0 <= y1"
                )
        return tuple(tracks)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _csv_entries(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = read_lines(path)
    reader = csv.DictReader(lines)
    try:
        given = [c.strip() for c in reader.fieldnames or ()]
    except csv.Error as exc:
        problems.add(path, f"no CSV: {exc}", 1)
        return
    unknown = [c for c in given if c not in COLUMNS]
    if len(set(given)) < len(given):
        problems.add(path, "a column is there twice", 1)
        return
    if unknown or "split" not in given:
        problems.add(
            path,
            f"unknown columns {unknown}" if unknown else "the column split is missing",
            1,
        )
        problems.add(path, f"the columns are: {', '.join(COLUMNS)}", 1)
        return
    reader.fieldnames = given
    try:
        for row in reader:
            if None in row or any(value is None for value in row.values()):
                problems.add(path, "too many or too few fields", reader.line_num)
            else:
                yield reader.line_num, {k: (v or "").strip() for k, v in row.items()}
    except csv.Error as exc:
        problems.add(path, f"no CSV: {exc}", reader.line_num)


def _json_entries(
    path: Path, problems: Problems, default_name: str
) -> tuple[str, list[tuple[int, dict[str, Any]]]]:
    """The data set's name, and its entries with the line on which each begins."""
    text = read_text(path)
    try:
        data = json.loads(text)
        if _HALF_PAIR.search(text):
            json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as exc:
        problems.add(path, f"no JSON: {exc.msg}", exc.lineno)
        return default_name, []
    except RecursionError:
        problems.add(path, "no JSON that can be read: nested too deeply")
        return default_name, []
    except ValueError as exc:  # a number of thousands of digits, half of a surrogate pair
        problems.add(path, f"no JSON that can be kept: {exc}")
        return default_name, []
    videos = data.get("videos") if isinstance(data, dict) else None
    if not isinstance(videos, list):
        problems.add(path, 'expected {"name": ..., "videos": [...]}', 1)
        return default_name, []
    for key in data:
        if key not in ("name", "videos"):
            problems.add(path, f"unknown key {key!r}")
    entries = []
    for line, entry in zip(_entry_lines(text), videos, strict=True):
        if not isinstance(entry, dict):
            shown = reprlib.repr(entry)
            problems.add(path, f"an entry is {shown}, expected an object", line)
            continue
        unknown = [k for k in entry if k not in _JSON_KEYS]
        if unknown:
            problems.add(path, f"unknown keys {', '.join(unknown)}", line)
        entries.append((line, entry))
    return str(data.get("name") or default_name), entries


def _entry_lines(text: str) -> list[int]:
    """The line on which each element of the list `videos` begins; `text` is valid JSON."""
    decoder, space = json.JSONDecoder(), re.compile(r"[\s,:]*")

    def skip(place: int) -> int:
        return space.match(text, place).end()  # type: ignore[union-attr]

    lines: list[int] = []
    line, counted = 1, 0
    place = skip(text.index("{") + 1)
    while text[place] != "}":
        key, place = decoder.raw_decode(text, place)
        place = skip(place)
        if key != "videos":
            _, place = decoder.raw_decode(text, place)
        else:
            lines = []  # of a repeated key the last one counts
            place = skip(place + 1)
            while text[place] != "]":
                line += text.count("\n", counted, place)
                counted = place
                lines.append(line)
                _, place = decoder.raw_decode(text, place)
                place = skip(place)
            place += 1
        place = skip(place)
    return lines


FORMAT = Format(
    name="generic",
    title="Own footage (JSON or CSV)",
    help="Any videos, frame folders or features, described in one file (docs/datasets.md).",
    read=read,
    options=(
        Option(
            name="annotations",
            help="The JSON or CSV file; default: dataset.json or dataset.csv in the folder.",
            kind="file",
        ),
        Option(
            name="end_inclusive",
            help="Intervals include their last frame.",
            kind="flag",
            default=False,
        ),
    ),
)
