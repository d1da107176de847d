"""List files and media folders as published: names are all that counts in them.

The paths in a list are those of whoever made it, so only the last component is read; the order of
a list says nothing. `/x/NAME.mp4`, `NAME__3.npy` (a crop) and `NAME_i3d.npy` all name video NAME.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vad.data.formats.common import Problems, find_by_name, find_videos, read_lines
from vad.data.manifest import SPLITS, Video
from vad.data.npy import EXTRACTOR_SUFFIX
from vad.video.reader import VIDEO_SUFFIXES, frame_files

_CROP = re.compile(r"__(\d{1,2})$")


def video_name(text: str) -> str:
    """The video that a list entry or a feature file's name means.

    Names may hold dots, so nothing but known suffixes is taken off.
    """
    name = re.split(r"[/\\]", text)[-1]
    stem, dot, suffix = name.rpartition(".")
    if dot and (f".{suffix.lower()}" in VIDEO_SUFFIXES or suffix.lower() == "npy"):
        name = stem
    return EXTRACTOR_SUFFIX.sub("", _CROP.sub("", name))


def read_list(path: Path, problems: Problems) -> dict[str, int]:
    """Video names of a list file, each with its first line; crops of a video are one entry.

    The first word of a line counts, as in the published readers. The same entry twice is a
    problem, so is a list without entries.
    """
    found: dict[str, int] = {}
    entries: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        entry = re.split(r"[/\\]", fields[0])[-1]
        if entry in entries:
            problems.add(path, f"{entry} was on line {entries[entry]} already", number)
        entries.setdefault(entry, number)
        found.setdefault(video_name(entry), number)
    if not found:
        problems.add(path, "it names no video")
    return found


@dataclass(frozen=True)
class Media:
    """The files of a data set's folder, by video name."""

    videos: Mapping[str, Path]  # video files or frame folders; decoded
    features: Mapping[str, Path]  # looked at only where there are no videos

    @property
    def files(self) -> Mapping[str, Path]:
        return self.videos or self.features


def find_media(
    root: Path,
    problems: Problems,
    *,
    is_folder_video: Callable[[str], bool] | None = None,
    no_features: Collection[Path] = (),
) -> Media:
    """Videos below a folder, or .npy features where there are none.

    Args:
        is_folder_video: whether a folder of this name that holds images is a video.
        no_features: folders whose .npy files are something else.
    """
    videos = dict(find_videos(root, problems))
    if is_folder_video:
        for folder in sorted(p for p in root.rglob("*") if p.is_dir()):
            if not is_folder_video(folder.name) or not frame_files(folder):
                continue
            if folder.name in videos:
                other = videos[folder.name].relative_to(root)
                problems.add(folder, f"there is also {other} of the same name")
            videos.setdefault(folder.name, folder)
    if videos:
        return Media(videos, {})
    features: dict[str, Path] = {}
    named = find_by_name(root, {".npy"}, problems, crop_suffix=True, without=no_features)
    for stem, path in named.items():
        name = video_name(stem)
        if name in features:
            problems.add(path, f"there is also {features[name].relative_to(root)} of video {name}")
        features.setdefault(name, path)
    if not features:
        problems.add(root, "holds neither videos nor .npy features")
    return Media({}, features)


@dataclass(frozen=True)
class Splits:
    """Which split a video belongs to: by the lists, else by the folder that it lies in.

    Args:
        listed: video name to line, by split, for those splits that have a list.
        files: the list files, for messages.
    """

    listed: Mapping[str, Mapping[str, int]]
    files: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def read(cls, train: Path | None, test: Path | None, problems: Problems) -> Splits:
        """Read the lists; a video in both is a problem."""
        files = {s: p for s, p in zip(SPLITS, (train, test), strict=True) if p is not None}
        listed = {split: read_list(path, problems) for split, path in files.items()}
        both = set(listed.get("train", ())) & set(listed.get("test", ()))
        for name in sorted(both, key=lambda n: listed["test"][n]):
            line = listed["train"][name]
            text = f"{name} is also in {files['train'].name}, line {line}"
            problems.add(files["test"], text, listed["test"][name])
        return cls(listed, files)

    def place(
        self,
        files: Mapping[str, Path],
        root: Path,
        problems: Problems,
        *,
        also_test: Iterable[str] = (),
        folders_count: bool = True,
    ) -> dict[str, str]:
        """The split of every video that takes part; videos that no list names are left out.

        Args:
            files: the media by video name.
            also_test: names that an annotation of the test videos holds; they count as listed for
                testing where there is no test list.
            folders_count: whether a folder named train or test says something.
        """
        test = self.listed.get("test")
        known = set(also_test)
        splits: dict[str, str] = {}
        for name, path in files.items():
            hint = _folder_hint(path, root) if folders_count else None
            split = next((s for s in SPLITS if name in self.listed.get(s, ())), None)
            if split is None and test is None and name in known:
                split = "test"
            if split and hint and hint != split:
                where = self.files.get(split)
                named = f"{where.name} names it" if where else "the annotations name it"
                problems.add(path, f"is in a {hint} folder, but {named} for the {split} split")
            if split is None and len(self.listed) < len(SPLITS):
                split = hint or ("train" if test is not None else None)
                if split is None:
                    problems.add(path, "no list and no folder says to which split it belongs")
            if split:
                splits[name] = split
        for split, names in self.listed.items():
            if files and not any(name in splits for name in names):
                problems.add(self.files[split], f"none of its {len(names)} videos is in {root}")
        return splits

    def rules(self, splits: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, Any]:
        """What was listed but not found, and found but not listed, for the manifest."""
        found: dict[str, Any] = {}
        if "test" in self.listed:
            found["test_videos_missing"] = sorted(set(self.listed["test"]) - set(splits))
        if "train" in self.listed:
            found["training_videos_missing"] = len(set(self.listed["train"]) - set(splits))
        left_out = len(set(files) - set(splits))
        return {**found, "videos_left_out": left_out} if left_out else found


def _folder_hint(path: Path, root: Path) -> str | None:
    """The split that a folder between the root and the file is named after."""
    parts = [part.lower() for part in path.relative_to(root).parts[:-1]]
    for part in reversed(parts):
        words = set(re.split(r"[^a-z]+", part))
        if words & {"test", "testing"}:
            return "test"
        if words & {"train", "training"}:
            return "train"
    return None


def in_order(videos: Iterable[Video]) -> tuple[Video, ...]:
    """Training videos first, then by name."""
    return tuple(sorted(videos, key=lambda v: (v.split != "train", v.key)))


def clip(
    intervals: Iterable[tuple[int, int]], num_frames: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Cut intervals [start, end) to a video of F frames; F = 0 is unknown and cuts nothing.

    Returns:
        The intervals that are left, how many were shortened, and how many lay outside altogether.
    """
    given = list(intervals)
    if not num_frames:
        return given, 0, 0
    inside = [(start, end) for start, end in given if start < num_frames]
    kept = [(start, min(end, num_frames)) for start, end in inside]
    shortened = sum(a != b for a, b in zip(kept, inside, strict=True))
    return kept, shortened, len(given) - len(inside)
