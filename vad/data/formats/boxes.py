"""Box files as the SST authors publish them for UCF-Crime, MSAD and XD-Violence.

A list of clips: {"file_name", "start_frame", "end_frame", "bounding_boxes": [{"start_frame",
"end_frame", "keyframes": {"FRAME": [[x, y] x 4]}}]}, pixels of the source, ends included. Ids
repeat in the published files and are not used. The files hold no frame size.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad.data.formats.common import Problems, read_text
from vad.data.formats.lists import video_name
from vad.data.manifest import Track


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One event of a video: frames [start_frame, end_frame), and its boxes over time."""

    start_frame: int
    end_frame: int
    tracks: tuple[Track, ...]
    line: int


@dataclass(frozen=True)
class Fit:
    """What was done to tracks so that they fit a video."""

    clamped: int = 0  # keyframes with a corner outside the frame
    shortened: int = 0  # tracks that ended behind the last frame
    outside: int = 0  # tracks that lay behind the last frame, and were left out

    def __add__(self, other: Fit) -> Fit:
        return Fit(
            self.clamped + other.clamped,
            self.shortened + other.shortened,
            self.outside + other.outside,
        )

    def to_rules(self) -> dict[str, int]:
        """The counts that are not zero, as the manifest notes them."""
        return {f"boxes_{name}": n for name, n in dataclasses.asdict(self).items() if n}


def read_clips(path: Path, problems: Problems) -> dict[str, list[Clip]]:
    """The events of every video, by video name, in order of time. Each problem has its line."""
    found: dict[str, list[Clip]] = {}
    for line, entry in _entries(path, problems):
        try:
            name = video_name(_text(entry, "file_name"))
            start, end = _frames(entry, "the event")
            tracks = tuple(
                _track(box, number)
                for number, box in enumerate(_list(entry, "bounding_boxes"), start=1)
            )
        except ValueError as exc:
            problems.add(path, str(exc), line)
            continue
        clip = Clip(start_frame=start, end_frame=end, tracks=tracks, line=line)
        found.setdefault(name, []).append(clip)
    for clips in found.values():
        clips.sort(key=lambda c: (c.start_frame, c.end_frame))
    return found


def tracks_of(
    clips: Sequence[Clip], *, num_frames: int, width: int, height: int, name: str
) -> tuple[tuple[Track, ...], Fit]:
    """The tracks of a video, cut to its frames and clamped to its size where these are known."""
    kept: list[Track] = []
    total = Fit()
    for track in (t for clip in clips for t in clip.tracks):
        if num_frames and track.start_frame >= num_frames:
            total += Fit(outside=1)
            continue
        if num_frames and track.end_frame > num_frames:
            track = dataclasses.replace(track, end_frame=num_frames)
            total += Fit(shortened=1)
        if width and height:
            keyframes = tuple(_clamp(k, width, height) for k in track.keyframes)
            moved = sum(a != b for a, b in zip(keyframes, track.keyframes, strict=True))
            total += Fit(clamped=moved)
            track = dataclasses.replace(track, keyframes=keyframes)
        kept.append(dataclasses.replace(track, name=name))
    return tuple(kept), total


Keyframe = tuple[int, float, float, float, float]


def _clamp(keyframe: Keyframe, width: int, height: int) -> Keyframe:
    frame, x0, y0, x1, y1 = keyframe
    return (
        frame,
        min(max(x0, 0.0), width),
        min(max(y0, 0.0), height),
        min(max(x1, 0.0), width),
        min(max(y1, 0.0), height),
    )


def _track(box: Any, number: int) -> Track:
    what = f"box {number}"
    if not isinstance(box, Mapping):
        raise ValueError(f"{what} is {type(box).__name__}, expected an object")
    start, end = _frames(box, what)
    keyframes = box.get("keyframes")
    if not isinstance(keyframes, Mapping) or not keyframes:
        raise ValueError(f"{what} has no keyframes")
    rows = sorted(_keyframe(frame, corners, what) for frame, corners in keyframes.items())
    return Track(start_frame=start, end_frame=end, keyframes=tuple(rows))


def _keyframe(frame: str, corners: Any, what: str) -> Keyframe:
    try:
        at = int(frame)
        points = [(float(x), float(y)) for x, y in corners]
    except (TypeError, ValueError, OverflowError):
        points, at = [], -1
    finite = all(math.isfinite(value) for point in points for value in point)
    if at < 0 or len(points) != 4 or not finite:
        raise ValueError(f"{what}: keyframe {frame!r} is no frame number with four corners [x, y]")
    xs, ys = zip(*points, strict=True)
    return at, min(xs), min(ys), max(xs), max(ys)


def _frames(entry: Mapping[str, Any], what: str) -> tuple[int, int]:
    """[start, end) of an entry whose end is included."""
    start, end = entry.get("start_frame"), entry.get("end_frame")
    if type(start) is not int or type(end) is not int:
        raise ValueError(f"{what} needs whole numbers start_frame and end_frame")
    if start < 0 or end < start:
        raise ValueError(f"{what} goes from frame {start} to {end}: reversed or negative")
    return start, end + 1


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing")
    return value


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key} is missing, or no list")
    return value


def _entries(path: Path, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of the list, each with the line on which it begins."""
    text = read_text(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as exc:
        problems.add(path, f"no JSON: {exc.msg}", exc.lineno)
        return
    except RecursionError:
        problems.add(path, "no JSON that can be read: nested too deeply")
        return
    except ValueError as exc:  # a number of thousands of digits
        problems.add(path, f"no JSON that can be read: {exc}")
        return
    if not isinstance(data, list):
        problems.add(path, "expected a list of events with file_name and bounding_boxes", 1)
        return
    decoder, space = json.JSONDecoder(), re.compile(r"[\s,]*")
    place, line, counted = text.index("[") + 1, 1, 0
    for entry in data:
        place = space.match(text, place).end()  # type: ignore[union-attr]
        line += text.count("\n", counted, place)
        counted = place
        _, place = decoder.raw_decode(text, place)
        if isinstance(entry, Mapping):
            yield line, entry
        else:
            problems.add(path, f"an entry is {type(entry).__name__}, expected an object", line)
