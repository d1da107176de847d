"""XD-Violence: the interval list of the violent test videos, and a folder of features or of videos.

Labels and classes come from the codes in the names: `NAME_label_B2-G-0` shows a shooting and an
explosion. Test videos are those of the test list; without one, those of the interval list and of a
test folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from vad.data.manifest import Manifest, Truth, Video

CODES = {
    "B1": "Fighting",
    "B2": "Shooting",
    "B4": "Riot",
    "B5": "Abuse",
    "B6": "Car accident",
    "G": "Explosion",
}
NORMAL_CODE = "A"
PUBLISHED_COUNTS = {
    "train": {"normal": 2049, "abnormal": 1905},
    "test": {"normal": 300, "abnormal": 500},
}


@dataclass(frozen=True)
class Listed:
    """One line of the interval list: [start, end) pairs as given, sorted."""

    intervals: tuple[tuple[int, int], ...]
    line: int


def classes_of(name: str) -> tuple[str, ...] | None:
    """The classes that a name's codes give; () is normal, None says that they cannot be read."""
    match = re.search(r"_label_([A-Z0-9-]+)$", name)
    codes = [code for code in match[1].split("-") if code != "0"] if match else []
    if codes == [NORMAL_CODE]:
        return ()
    if not codes or any(code not in CODES for code in codes):
        return None
    return tuple(dict.fromkeys(CODES[code] for code in codes))


def read_annotations(
    path: Path, problems: Problems, *, end_inclusive: bool = False
) -> dict[str, Listed]:
    """The lines `NAME s e s e …` by name. One variant has a class code before each pair."""
    found: dict[str, Listed] = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        name = video_name(fields[0])
        try:
            intervals = _intervals(name, fields[1:], end_inclusive)
        except ValueError as exc:
            problems.add(path, f"{name}: {exc}", number)
            continue
        if name in found:
            problems.add(path, f"{name} was on line {found[name].line} already", number)
        found.setdefault(name, Listed(intervals, number))
    if not found and not problems.found:
        problems.add(path, "it names no video")
    return found


def _intervals(name: str, fields: list[str], end_inclusive: bool) -> tuple[tuple[int, int], ...]:
    classes = classes_of(name)
    if classes is None:
        raise ValueError("the name holds no known label code")
    if not classes:
        raise ValueError("a normal video with an interval")
    marks = [text for text in fields if text not in CODES]
    if not marks or len(marks) % 2:
        raise ValueError(f"expected pairs of frames, got {len(marks)} numbers")
    try:
        frames = [int(text) for text in marks]
    except ValueError:
        raise ValueError("a frame number is not a whole number") from None
    found = []
    for start, end in zip(frames[::2], frames[1::2], strict=True):
        stop = end + 1 if end_inclusive else end
        if start < 0 or stop <= start:
            raise ValueError(f"the interval {start} to {end} is reversed, empty or negative")
        found.append((start, stop))
    return tuple(sorted(found))


def read(
    root: Path,
    *,
    annotations: Path,
    train_list: Path | None = None,
    test_list: Path | None = None,
    end_inclusive: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read XD-Violence from a folder of features (.npy) or of videos.

    Args:
        root: has files named as the videos, in any subfolders.
        annotations: the interval list of the violent test videos.
        train_list, test_list: name the videos of a split; what neither names is left out.
        end_inclusive: whether an interval's last frame belongs to it. By default it does not, as in
            XDVioDet and VadCLIP.
    """
    problems = Problems(root)
    listed = read_annotations(annotations, problems, end_inclusive=end_inclusive)
    lists = Splits.read(train_list, test_list, problems)
    media = find_media(root, problems)
    splits = lists.place(media.files, root, problems, also_test=listed)
    if not splits and media.files and not problems.found:
        problems.add(annotations, f"none of its {len(listed)} videos is in {root}")
    for name, split in splits.items():
        classes = classes_of(name)
        if classes is None:
            problems.add(media.files[name], "the name holds no known label code")
        elif classes and split == "test" and name not in listed:
            problems.add(annotations, f"{name} is a violent test video without an interval")
    problems.raise_if_any()
    wanted = [(n, media.videos[n]) for n in splits if n in media.videos]
    infos = count_all(wanted, problems, on_progress)
    videos, truth, shortened = [], {}, 0
    for name, split in splits.items():
        info = infos.get(name)
        classes = classes_of(name) or ()
        video = Video(
            key=name,
            split=split,
            label=int(bool(classes)),
            classes=classes,
            path=media.videos[name].relative_to(root).as_posix() if name in media.videos else "",
            num_frames=info.num_frames if info else 0,
            fps=info.fps if info else 0.0,
            width=info.width if info else 0,
            height=info.height if info else 0,
        )
        videos.append(video)
        if split != "test" and name not in listed:
            continue
        given = listed[name].intervals if name in listed else ()
        kept, cut, outside = clip(given, video.num_frames)
        shortened += cut
        if outside:
            problems.add(
                annotations,
                f"{name}: an interval begins at frame {given[-1][0]}, but {video.num_frames} "
                "frames can be decoded",
                listed[name].line,
            )
        truth[name] = Truth(intervals=merge(kept))
    problems.raise_if_any()
    normal = sum(v.split == "test" and v.label == 0 for v in videos)
    rules: dict[str, Any] = {
        "frames": "decoded" if media.videos else "unknown",
        "interval_end": "inclusive" if end_inclusive else "exclusive",
        "intervals_clipped": shortened,
        "test_protocol": "violent and normal videos" if normal else "violent videos only",
        "published_counts": PUBLISHED_COUNTS,
        "annotated_videos_missing": sorted(set(listed) - set(splits)),
        **lists.rules(splits, media.files),
    }
    manifest = Manifest(
        name="XD-Violence",
        format="xd_violence",
        videos=in_order(videos),
        media_root=str(root),
        rules=rules,
    )
    return manifest, truth


FORMAT = Format(
    name="xd_violence",
    title="XD-Violence",
    help="A folder of published features (.npy) or of videos, and the list of violent intervals.",
    read=read,
    options=(
        Option(
            name="annotations",
            help="Intervals of the violent test videos: name, start end start end.",
            kind="file",
            required=True,
        ),
        Option(
            name="test_list",
            help="List of the test videos. With the 500 violent ones only, figures do not compare "
            "with the usual protocol of 800 videos.",
            kind="file",
        ),
        Option(name="train_list", help="List of the training videos.", kind="file"),
        Option(
            name="end_inclusive",
            help="The last frame of an interval belongs to it (not so in the published code).",
            kind="flag",
            default=False,
        ),
    ),
)
