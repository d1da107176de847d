"""UCF-Crime: the annotation file of the test videos, and a folder of features or of videos.

Labels and classes come from names, never from a place in a list. Test videos are those that the
annotation file names; all others are for training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad.data.formats.boxes import Fit, read_clips, tracks_of
from vad.data.formats.common import (
    Dataset,
    Format,
    Option,
    Problems,
    Progress,
    count_all,
    merge,
    read_lines,
)
from vad.data.formats.lists import clip, find_media, read_list, video_name
from vad.data.manifest import NORMAL, Manifest, Truth, Video

CLASSES = (
    "Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting", "RoadAccidents",
    "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism",
)  # fmt: skip
TYPOS = {"ExAplosion": "Explosion"}  # in the copy of the list that SST-WSVADL ships
SIZE = (320, 240)  # width and height of all videos, and of the box file's pixels
PUBLISHED_COUNTS = {
    "train": {"normal": 800, "abnormal": 810},
    "test": {"normal": 150, "abnormal": 140},
}
END_TOLERANCE = 2  # frames; five official intervals end one or two frames beyond the video


@dataclass(frozen=True)
class Listed:
    """One line of the annotation file."""

    key: str
    num_frames: int
    classes: tuple[str, ...]
    intervals: tuple[tuple[int, int], ...]
    clipped: int
    line: int


def class_of(name: str) -> str | None:
    """The class in a video's name (`Arson022_x264` is Arson), or None when it is not known."""
    if "Normal" in name:
        return NORMAL
    match = re.match(r"[A-Za-z]+", name)
    found = TYPOS.get(match[0], match[0]) if match else ""
    return found if found in CLASSES else None


def read_annotations(
    path: Path, problems: Problems, *, end_inclusive: bool = True
) -> dict[str, Listed]:
    """The lines `Class/NAME.mp4 frames Class s e s e`, -1 for none, by NAME.

    The official list has no frame counts (`NAME.mp4 Class s e s e`): 0 then, for unknown.
    """
    found: dict[str, Listed] = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            listed = _parse(fields, number, end_inclusive)
        except ValueError as exc:
            problems.add(path, str(exc), number)
            continue
        if listed.key in found:
            problems.add(path, f"{listed.key} was on line {found[listed.key].line} already", number)
        found.setdefault(listed.key, listed)
    if not found and not problems.found:
        problems.add(path, "it names no video")
    return found


def _parse(fields: list[str], line: int, end_inclusive: bool) -> Listed:
    counted = len(fields) % 2 == 1
    if len(fields) < 4:
        raise ValueError(
            f"expected name, frames, class and pairs of frames, got {len(fields)} fields"
        )
    if not counted:
        fields = [fields[0], "0", *fields[1:]]
    key = video_name(fields[0])
    try:
        num_frames, *marks = (int(text) for text in (fields[1], *fields[3:]))
    except ValueError:
        raise ValueError(f"{key}: a frame number is not a whole number") from None
    given = TYPOS.get(fields[2], fields[2])
    named = class_of(key)
    if given != NORMAL and given not in CLASSES:
        raise ValueError(f"{key}: the class {fields[2]!r} is not known")
    if named is not None and named != given:
        raise ValueError(f"{key}: the name says {named}, the line says {given}")
    if counted and num_frames < 1:
        raise ValueError(f"{key}: {num_frames} frames")
    intervals, clipped = [], 0
    for start, end in zip(marks[::2], marks[1::2], strict=True):
        if start == end == -1:
            continue
        stop = end + 1 if end_inclusive else end
        if start < 0 or end < start:
            raise ValueError(f"{key}: the interval {start} to {end} is reversed or negative")
        if counted and (start >= num_frames or end > num_frames + END_TOLERANCE):
            raise ValueError(f"{key}: the interval {start} to {end} leaves its {num_frames} frames")
        clipped += counted and end > num_frames
        intervals.append((start, min(stop, num_frames) if counted else stop))
    if given == NORMAL and intervals:
        raise ValueError(f"{key}: a normal video with an interval")
    if given != NORMAL and not intervals:
        raise ValueError(f"{key}: a video of class {given} without an interval")
    classes = () if given == NORMAL else (given,)
    return Listed(key, num_frames, classes, merge(intervals), clipped, line)


def read(
    root: Path,
    *,
    annotations: Path,
    boxes: Path | None = None,
    train_list: Path | None = None,
    end_inclusive: bool = True,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read UCF-Crime from a folder of features (.npy) or of videos.

    Args:
        root: has files named as the videos, in any subfolders. Where there are videos, features
            below the same folder are not looked at.
        annotations: the annotation file of the test videos.
        boxes: spatial truth as keyframed boxes; those of training videos go to the truth of the
            training split, which no training opens.
        train_list: names the training videos; others that are not in `annotations` are left out.
        end_inclusive: whether an interval's last frame belongs to it (as in RTFM) or not.
    """
    problems = Problems(root)
    listed = read_annotations(annotations, problems, end_inclusive=end_inclusive)
    events = read_clips(boxes, problems) if boxes else {}
    wanted = set(read_list(train_list, problems)) if train_list else None
    found_media = find_media(root, problems)
    media, files = found_media.videos, found_media.files
    splits = {}
    for name, path in files.items():
        if name not in listed and wanted is not None and name not in wanted:
            continue
        splits[name] = "test" if name in listed else "train"
        folders = {part.lower() for part in path.relative_to(root).parts[:-1]}
        if splits[name] == "train" and "test" in folders:
            problems.add(path, f"is in a test folder, but {annotations.name} does not name it")
        if splits[name] == "test" and folders & {"train", "training"}:
            problems.add(path, f"is in a training folder, but {annotations.name} names it")
        if class_of(name) is None:
            problems.add(path, "the name holds no known class")
        elif class_of(name) == NORMAL and name in events:
            problems.add(boxes or root, f"{name} is normal, but has boxes", events[name][0].line)
    if files and "test" not in splits.values():
        problems.add(annotations, f"none of its {len(listed)} videos is in {root}")
    if train_list and wanted and not wanted & splits.keys():
        problems.add(train_list, f"none of its {len(wanted)} videos is in {root}")
    problems.raise_if_any()
    infos = count_all([(n, media[n]) for n in splits if n in media], problems, on_progress)
    for name, info in infos.items():
        stops = [stop for _, stop in listed[name].intervals] if name in listed else []
        if any(stop > info.num_frames + END_TOLERANCE for stop in stops):
            problems.add(
                annotations,
                f"{name}: an interval ends at frame {max(stops)}, but {info.num_frames} frames can "
                "be decoded",
                listed[name].line,
            )
    videos = []
    for name, split in splits.items():
        found, kind = infos.get(name), class_of(name)
        frames = listed[name].num_frames if name in listed else 0
        videos.append(
            Video(
                key=name,
                split=split,
                label=int(kind != NORMAL),
                classes=(kind,) if kind and kind != NORMAL else (),
                path=str(files[name].relative_to(root).as_posix()) if name in media else "",
                num_frames=found.num_frames if found else frames,
                fps=found.fps if found else 0.0,
                width=found.width if found else 0,
                height=found.height if found else 0,
            )
        )
    problems.raise_if_any()
    truth, fitted = {}, Fit()
    for video in videos:
        seen = [(c.start_frame, c.end_frame) for c in events.get(video.key, ())]
        intervals = listed[video.key].intervals if video.key in listed else merge(seen)
        kept, _, _ = clip(intervals, video.num_frames)
        tracks, fit = tracks_of(
            events.get(video.key, ()),
            num_frames=video.num_frames,
            width=video.width or SIZE[0],
            height=video.height or SIZE[1],
            name="".join(video.classes),
        )
        fitted += fit
        if video.split == "test" or tracks:
            truth[video.key] = Truth(intervals=merge(kept), tracks=tracks)
    rules: dict[str, Any] = {
        "frames": _frames_rule(bool(media), listed),
        "interval_end": "inclusive" if end_inclusive else "exclusive",
        "intervals_clipped": sum(listed[v.key].clipped for v in videos if v.key in listed),
        "test_videos_listed": len(listed),
        "test_videos_missing": sorted(set(listed) - set(splits)),
        "published_counts": PUBLISHED_COUNTS,
        **fitted.to_rules(),
    }
    if media:
        rules["frames_listed"] = {
            name: listed[name].num_frames
            for name, info in sorted(infos.items())
            if name in listed and listed[name].num_frames not in (0, info.num_frames)
        }
    if wanted is not None:
        rules["training_videos_missing"] = len(wanted - set(splits) - set(listed))
    manifest = Manifest(
        name="UCF-Crime",
        format="ucf_crime",
        videos=tuple(sorted(videos, key=lambda v: (v.split != "train", v.key))),
        media_root=str(root),
        rules=rules,
    )
    return manifest, truth


def _frames_rule(decoded: bool, listed: Mapping[str, Listed]) -> str:
    if decoded:
        return "decoded"
    return "listed" if any(entry.num_frames for entry in listed.values()) else "unknown"


FORMAT = Format(
    name="ucf_crime",
    title="UCF-Crime",
    help="A folder of published features (.npy) or of videos, and the official annotation file.",
    read=read,
    options=(
        Option(
            name="annotations",
            help="Annotation file of the test videos: name, frames, class, start end start end.",
            kind="file",
            required=True,
        ),
        Option(name="boxes", help="Box file (JSON), for measures in space.", kind="file"),
        Option(
            name="train_list",
            help="List of the training videos; without it, all that are not in the annotations.",
            kind="file",
        ),
        Option(
            name="end_inclusive",
            help="The last frame of an interval belongs to it.",
            kind="flag",
            default=True,
        ),
    ),
)
