"""UCSD Ped1 and Ped2: video files or the distributed frame folders, with one mask a frame.

Layouts, both below the root, in any subfolders:

    videos/Train001.mp4 …, Test001.mp4 …        masks/Test001_gt/001.png …
    Train/Train001/001.tif …, Test/Test001/001.tif …, Test/Test001_gt/001.bmp …
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from vad.data.formats.common import (
    Dataset,
    Format,
    Option,
    Problems,
    Progress,
    count_all,
    find_videos,
    own_file,
    read_text,
)
from vad.data.manifest import Manifest, Truth, Video
from vad.timeline import mask_intervals
from vad.video.reader import VideoInfo, frame_files

CLASS = "Non-pedestrian"  # bikes, skaters, carts; the data set does not tell them apart
FPS = 10.0  # the frame folders do not say; the data set's page does
_NAME = re.compile(r"(Train|Test)\d{3}")


def read(
    root: Path,
    *,
    split: str = "auto",
    split_file: Path | None = None,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read UCSD Ped.

    Args:
        split: `weak`: the weakly supervised split of `split_file` (or split_weak.json below the
            root); `official`: Train for training (normal only), Test for testing; `auto`: weak
            where there is a split file.
        split_file: {"train": {"normal": [...], "abnormal": [...]}, "test": {...}}.
    """
    problems = Problems(root)
    found = {n: p for n, p in find_videos(root, problems).items() if _NAME.fullmatch(n)}
    masks: dict[str, Path] = {}
    for folder in sorted(p for p in root.rglob("T*") if p.is_dir()):
        name = folder.name.removesuffix("_gt")
        if not _NAME.fullmatch(name):
            continue
        if folder.name.endswith("_gt"):
            if name in masks and len(frame_files(masks[name])) != len(frame_files(folder)):
                problems.add(folder, f"differs from {masks[name].relative_to(root)}")
            masks.setdefault(name, folder)
        elif name not in found and frame_files(folder):
            found[name] = folder
    if not found:
        problems.add(root, "holds no clip named Train000 or Test000, as a video or a frame folder")
    problems.raise_if_any()
    file = split_file or own_file(root, "split_weak.json")
    weak = split == "weak" or (split == "auto" and file.is_file())
    places = _weak_split(file, found, problems) if weak else {}
    if not weak:
        places = {n: ("train", 0) if n.startswith("Train") else ("test", 1) for n in found}
    chosen = [(name, found[name]) for name in sorted(places) if name in found]
    infos = count_all(chosen, problems, on_progress)
    videos, truth = [], {}
    for name, path in chosen:
        if name not in infos:
            continue
        info, (part, label) = infos[name], places[name]
        intervals: tuple[tuple[int, int], ...] = ()
        if name in masks:
            intervals = _mask_intervals(masks[name], info, problems)
            if intervals and not label:
                problems.add(masks[name], f"{name} counts as normal, but its masks are not empty")
        if label and not intervals and part == "test":
            problems.add(path, "counts as abnormal, but no mask says where")
        videos.append(
            Video(
                key=name,
                split=part,
                label=label,
                classes=(CLASS,) if label else (),
                path=path.relative_to(root).as_posix(),
                num_frames=info.num_frames,
                fps=info.fps or FPS,
                width=info.width,
                height=info.height,
            )
        )
        if part == "test" or intervals:
            place = masks[name].relative_to(root).as_posix() if name in masks else ""
            truth[name] = Truth(intervals=intervals, masks=place)
    problems.raise_if_any()
    rules: dict[str, Any] = {
        "frames": "decoded",
        "split": "weak" if weak else "official",
        "intervals": "frames with a non-empty mask",
    }
    manifest = Manifest(
        name="UCSD Ped",
        format="ucsd_ped",
        videos=tuple(sorted(videos, key=lambda v: (v.split != "train", v.key))),
        media_root=str(root),
        rules=rules,
    )
    return manifest, truth


def _weak_split(
    path: Path, found: dict[str, Path], problems: Problems
) -> dict[str, tuple[str, int]]:
    """Video name -> (split, label)."""
    places: dict[str, tuple[str, int]] = {}
    try:
        data = json.loads(read_text(path))
        for part in ("train", "test"):
            for label, kind in enumerate(("normal", "abnormal")):
                for name in data[part][kind]:
                    if name in places:
                        problems.add(path, f"{name} is listed twice")
                    elif name not in found:
                        problems.add(path, f"{name} is listed, but there is no such clip")
                    places[name] = (part, label)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        problems.add(path, f"is no split file: {type(exc).__name__} {exc}")
    problems.raise_if_any()
    return places


def _mask_intervals(
    folder: Path, info: VideoInfo, problems: Problems
) -> tuple[tuple[int, int], ...]:
    """The frames whose mask is not empty, as intervals [start, end)."""
    files = frame_files(folder)
    if len(files) != info.num_frames:
        problems.add(folder, f"holds {len(files)} masks for {info.num_frames} frames")
        return ()
    filled = np.zeros(len(files), dtype=bool)
    for i, file in enumerate(files):
        try:
            with Image.open(file) as mask:
                if mask.size != (info.width, info.height):
                    size = f"{mask.size[0]}x{mask.size[1]}"
                    problems.add(file, f"is {size}, the video {info.width}x{info.height}")
                    return ()
                filled[i] = mask.convert("L").getbbox() is not None
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as exc:
            problems.add(file, f"is no image that can be read ({type(exc).__name__})")
            return ()
    return mask_intervals(filled)


FORMAT = Format(
    name="ucsd_ped",
    title="UCSD Ped",
    help="Clips as video files or as the distributed frame folders, with one mask a frame.",
    read=read,
    options=(
        Option(
            name="split",
            help="The weakly supervised split of the literature, or the official one-class split.",
            kind="choice",
            default="auto",
            choices=("auto", "weak", "official"),
        ),
        Option(name="split_file", help="Split file (JSON); default: split_weak.json.", kind="file"),
    ),
)
