"""A data set version: an immutable list of videos, and its truth kept apart.

A version is a folder:

    manifest.json      what training may know: videos, splits, video-level labels
    truth-test.json    intervals, boxes and masks of the test videos
    truth-train.json   the same of training videos, if the source has any

Weak supervision is protected by this layout: training opens `manifest.json` and, to draw the live
AUC on the test split, `truth-test.json`. Nothing that trains opens `truth-train.json`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vad.errors import VadError

MANIFEST_VERSION = 1
SPLITS = ("train", "test")
NORMAL = "Normal"


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video as everything but the evaluation may know it."""

    key: str  # unique in the version; the feature file's and the score's name
    split: str
    label: int  # 0 normal, 1 has an anomaly somewhere
    classes: tuple[str, ...] = ()  # of an abnormal video; may be several (XD-Violence)
    path: str = ""  # below media_root; a file or a folder of frames; empty: features only
    num_frames: int = 0  # decoded, or listed by the source; 0 is unknown
    fps: float = 0.0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True)
class Track:
    """A box over time, valid on frames [start_frame, end_frame).

    Between keyframes (frame, x0, y0, x1, y1), in pixels of the source, corners move linearly;
    before the first and after the last the nearest holds.
    """

    start_frame: int
    end_frame: int
    keyframes: tuple[tuple[int, float, float, float, float], ...]
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """When and where the anomalies of one video are."""

    intervals: tuple[tuple[int, int], ...] = ()  # frames [start, end), sorted, disjoint
    tracks: tuple[Track, ...] = ()
    masks: str = ""  # folder of one mask a frame, below media_root


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What training may know of a data set version."""

    name: str
    format: str  # the reader that made it: ucf_crime, ucsd_ped, synthetic, generic, …
    videos: tuple[Video, ...]
    media_root: str = ""  # absolute; video and mask paths lie below it
    rules: Mapping[str, Any] = field(default_factory=dict)  # how the reader read what is open

    def split(self, split: str, label: int | None = None) -> tuple[Video, ...]:
        """The videos of a split, in manifest order, of one label if given."""
        return tuple(
            v for v in self.videos if v.split == split and (label is None or v.label == label)
        )

    def media_path(self, relative: str) -> Path:
        """A path of the manifest, resolved inside `media_root`.

        Raises:
            VadError: `path-outside-roots` when it leads out of it (`..`, absolute, a link).
        """
        root = Path(self.media_root).resolve()
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            raise VadError(
                "path-outside-roots",
                f"{relative} of data set {self.name} leads out of its folder {root}.",
                "Move the file below that folder and register the data set again.",
            )
        return path


def save_version(folder: Path, manifest: Manifest, truth: Mapping[str, Truth]) -> str:
    """Write a version's files into an existing, empty folder. Returns the fingerprint.

    Args:
        folder: the caller renames it to its place when all is written.
        manifest: the videos.
        truth: by video key, for any split.
    """
    by_split = {split: {v.key for v in manifest.split(split)} for split in SPLITS}
    for split, keys in by_split.items():
        part = {key: dataclasses.asdict(truth[key]) for key in sorted(keys) if key in truth}
        _write_json(folder / f"truth-{split}.json", part)
    _write_json(
        folder / "manifest.json", {"version": MANIFEST_VERSION, **dataclasses.asdict(manifest)}
    )
    return fingerprint(manifest, truth)


def fingerprint(manifest: Manifest, truth: Mapping[str, Truth]) -> str:
    """Content hash of videos, rules and truth; where the files lie does not count."""
    content = {
        "version": MANIFEST_VERSION,
        "format": manifest.format,
        "rules": dict(manifest.rules),
        "videos": [dataclasses.asdict(v) for v in sorted(manifest.videos, key=lambda v: v.key)],
        "truth": {key: dataclasses.asdict(truth[key]) for key in sorted(truth)},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_manifest(folder: Path) -> Manifest:
    """Read `manifest.json` and nothing else of a version."""
    data = _read_json(folder / "manifest.json")
    if not isinstance(data, dict) or data.pop("version", None) != MANIFEST_VERSION:
        raise VadError(
            "manifest-invalid",
            f"{folder / 'manifest.json'} is not a manifest of version {MANIFEST_VERSION}.",
            "Register the data set again with this version of the program.",
        )
    try:
        videos = tuple(Video(**{**v, "classes": tuple(v["classes"])}) for v in data.pop("videos"))
        return Manifest(videos=videos, **data)
    except (KeyError, TypeError, AttributeError) as exc:
        raise _damaged(folder / "manifest.json", exc) from exc


def load_truth(folder: Path, split: str) -> dict[str, Truth]:
    """The truth of one split, by video key. Training code calls it with `test` only."""
    path = folder / f"truth-{split}.json"
    try:
        return {
            key: Truth(
                intervals=tuple((int(a), int(b)) for a, b in t["intervals"]),
                tracks=tuple(_track(track) for track in t["tracks"]),
                masks=t["masks"],
            )
            for key, t in _read_json(path).items()
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as exc:
        raise _damaged(path, exc) from exc


def duplicate_keys(videos: Iterable[Video]) -> list[str]:
    """Keys that occur more than once, sorted."""
    seen: set[str] = set()
    return sorted({v.key for v in videos if v.key in seen or seen.add(v.key)})  # type: ignore[func-returns-value]


def _track(data: Mapping[str, Any]) -> Track:
    keyframes = tuple((int(k[0]), *map(float, k[1:5])) for k in data["keyframes"])
    return Track(**{**data, "keyframes": keyframes})


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VadError(
            "file-missing", f"{path} does not exist.", "Register the data set again."
        ) from None
    except (ValueError, RecursionError, OSError) as exc:
        raise _damaged(path, exc) from exc


def _damaged(path: Path, exc: Exception) -> VadError:
    return VadError(
        "manifest-invalid", f"{path} cannot be read: {exc}.", "Register the data set again."
    )
