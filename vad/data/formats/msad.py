"""MSAD, the weakly supervised split (protocol ii): lists, frame counts and the box file.

Labels and classes come from names (`MSAD_normal_testing_4`, `People_falling_12`). When an anomaly
happens is only said by the box file: its events, ends included, are the official truth but for
three videos (`EXTRA_EVENTS`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vad.data.formats.boxes import Clip, Fit, read_clips, tracks_of
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
from vad.data.formats.lists import Splits, clip, find_media, in_order, video_name
from vad.data.manifest import NORMAL, Manifest, Truth, Video

CLASSES = (
    "Assault", "Explosion", "Fighting", "Fire", "Object_falling", "People_falling", "Robbery",
    "Shooting", "Traffic_accident", "Vandalism", "Water_incident",
)  # fmt: skip
# In these videos the box file has an earlier event that the official truth array does not hold;
# without it, the published number of abnormal frames (33,160) comes out exactly.
EXTRA_EVENTS = {"Fighting_3": 129, "Fighting_13": 816, "Robbery_8": 198}  # its last frame
PUBLISHED_COUNTS = {
    "train": {"normal": 360, "abnormal": 120},
    "test": {"normal": 120, "abnormal": 120},
}


def class_of(name: str) -> str | None:
    """The class in a video's name, or None when it is not known."""
    if "normal" in name:
        return NORMAL
    found = re.sub(r"_?\d+$", "", name)
    return found if found in CLASSES else None


def read_frame_counts(path: Path, problems: Problems) -> dict[str, int]:
    """The lines `NAME frames`; published counts are cut to whole snippets of 16 frames."""
    found: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        name = video_name(fields[0])
        if len(fields) < 2 or not fields[1].isdecimal() or int(fields[1]) < 1:
            problems.add(path, f"{name}: expected a name and a number of frames", number)
        elif name in found:
            problems.add(path, f"{name} is listed twice", number)
        else:
            found[name] = int(fields[1])
    if not found and not problems.found:
        problems.add(path, "it names no video")
    return found


def read(
    root: Path,
    *,
    boxes: Path,
    annotations: Path | None = None,
    train_list: Path | None = None,
    test_list: Path | None = None,
    all_events: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read MSAD from a folder of features (.npy) or of videos.

    Args:
        root: has files named as the videos, in any subfolders.
        boxes: the box file: events and boxes of abnormal videos.
        annotations: frame counts of the test videos; needed where there are no videos to count.
        train_list, test_list: name the videos of a split. Without a test list, test videos are
            those of `annotations`.
        all_events: keep the events that the official truth leaves out.
    """
    problems = Problems(root)
    counts = read_frame_counts(annotations, problems) if annotations else {}
    events = read_clips(boxes, problems)
    lists = Splits.read(train_list, test_list, problems)
    media = find_media(root, problems)
    splits = lists.place(media.files, root, problems, also_test=counts)
    for name, split in splits.items():
        kind = class_of(name)
        if kind is None:
            problems.add(media.files[name], "the name holds no known class")
        elif kind == NORMAL and name in events:
            problems.add(boxes, f"{name} is normal, but has an event", events[name][0].line)
        elif kind != NORMAL and split == "test" and name not in events:
            problems.add(boxes, f"{name} is an abnormal test video without an event")
    if not splits and media.files and not problems.found:
        problems.add(root, "holds no video that a list or the frame counts name")
    problems.raise_if_any()
    wanted = [(n, media.videos[n]) for n in splits if n in media.videos]
    infos = count_all(wanted, problems, on_progress)
    videos, truth = [], {}
    left_out: list[str] = []
    outside: list[str] = []
    shortened, fitted = 0, Fit()
    for name, split in splits.items():
        info, kind = infos.get(name), class_of(name) or ""
        label = int(kind != NORMAL)
        video = Video(
            key=name,
            split=split,
            label=label,
            classes=(kind,) if label else (),
            path=media.videos[name].relative_to(root).as_posix() if name in media.videos else "",
            num_frames=info.num_frames if info else counts.get(name, 0),
            fps=info.fps if info else 0.0,
            width=info.width if info else 0,
            height=info.height if info else 0,
        )
        videos.append(video)
        clips = events.get(name, [])
        if not all_events and _official(name, clips) != clips:
            clips = _official(name, clips)
            left_out.append(name)
        kept, cut, gone = clip(((c.start_frame, c.end_frame) for c in clips), video.num_frames)
        shortened += cut
        if gone and info:
            problems.add(
                boxes,
                f"{name}: an event begins at frame {clips[-1].start_frame}, but "
                f"{video.num_frames} frames can be decoded",
                clips[-1].line,
            )
        elif gone:  # the listed count leaves out what comes after the last whole snippet
            outside.append(name)
        tracks, fit = tracks_of(
            clips,
            num_frames=video.num_frames,
            width=video.width,
            height=video.height,
            name=kind,
        )
        fitted += fit
        if split == "test" or tracks:
            truth[name] = Truth(intervals=merge(kept), tracks=tracks)
    problems.raise_if_any()
    rules: dict[str, Any] = {
        "frames": "decoded" if media.videos else "listed",
        "interval_end": "inclusive",
        "events": "all" if all_events else "official",
        "events_left_out": sorted(left_out),
        "events_outside": sorted(outside),
        "intervals_clipped": shortened,
        **fitted.to_rules(),
        "published_counts": PUBLISHED_COUNTS,
        **lists.rules(splits, media.files),
    }
    if media.videos:
        rules["frames_listed"] = {
            name: counts[name]
            for name, info in sorted(infos.items())
            if name in counts and counts[name] != info.num_frames
        }
    manifest = Manifest(
        name="MSAD", format="msad", videos=in_order(videos), media_root=str(root), rules=rules
    )
    return manifest, truth


def _official(name: str, clips: list[Clip]) -> list[Clip]:
    """The events that the official truth has."""
    last = EXTRA_EVENTS.get(name)
    return [c for c in clips if last is None or c.end_frame != last + 1]


FORMAT = Format(
    name="msad",
    title="MSAD",
    help="A folder of published features (.npy) or of videos, and the box file.",
    read=read,
    options=(
        Option(
            name="boxes",
            help="Box file (JSON): when and where the anomalies are.",
            kind="file",
            required=True,
        ),
        Option(
            name="annotations",
            help="Frame counts of the test videos: name, frames. Needed with features only.",
            kind="file",
        ),
        Option(name="test_list", help="List of the test videos.", kind="file"),
        Option(name="train_list", help="List of the training videos.", kind="file"),
        Option(
            name="all_events",
            help="Keep the events of three videos that the official truth leaves out.",
            kind="flag",
            default=False,
        ),
    ),
)
