"""A data set version as a folder: written as a whole, summed up, checked. numpy only."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad.data.features import FeatureStore
from vad.data.manifest import (
    SPLITS,
    Manifest,
    Truth,
    duplicate_keys,
    load_manifest,
    load_truth,
    save_version,
)
from vad.errors import ShapeError, VadError


@dataclass(frozen=True)
class Checked:
    """How many videos were checked, and everything that is wrong with them."""

    checked: int
    problems: tuple[str, ...]


def store(folder: Path, manifest: Manifest, truth: Mapping[str, Truth]) -> str:
    """Write a version into a new folder, which appears as a whole. Returns the fingerprint.

    Raises:
        VadError: `dataset-invalid`, the folder is there already and holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise VadError(
            "dataset-invalid",
            f"{folder} is not empty. A data set version is never written over.",
            "Name another folder.",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    beside.mkdir()
    try:
        fingerprint = save_version(beside, manifest, truth)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return fingerprint


def summary(manifest: Manifest) -> dict[str, Any]:
    """Counts by split, label and class. Plain JSON types."""
    splits: dict[str, Any] = {}
    for split in SPLITS:
        videos = manifest.split(split)
        splits[split] = {
            "videos": len(videos),
            "normal": sum(v.label == 0 for v in videos),
            "abnormal": sum(v.label == 1 for v in videos),
            "frames": sum(v.num_frames for v in videos),
            "classes": dict(sorted(Counter(c for v in videos for c in v.classes).items())),
        }
    return {"name": manifest.name, "format": manifest.format, "splits": splits}


def text(found: Mapping[str, Any]) -> str:
    """A summary for people."""
    lines = [f"{found['name']} ({found['format']})"]
    for split, part in found["splits"].items():
        frames = f", {part['frames']:,} frames" if part["frames"] else ""
        lines.append(
            f"  {split}: {part['videos']} videos, {part['normal']} normal, "
            f"{part['abnormal']} abnormal{frames}"
        )
        classes = ", ".join(f"{name} {count}" for name, count in part["classes"].items())
        lines += [f"    {classes}"] if classes else []
    return "\n".join(lines)


def check(folder: Path, features: Path | None = None) -> Checked:
    """Look for videos, truth and features that do not fit each other.

    Args:
        folder: a version's folder.
        features: a feature store of its videos; its snippets must fit the frames.
    """
    manifest = load_manifest(folder)
    problems = [f"{key}: occurs more than once" for key in duplicate_keys(manifest.videos)]
    truth = load_truth(folder, "test")
    for video in manifest.split("test"):
        intervals = truth[video.key].intervals if video.key in truth else ()
        if video.label == 1 and video.key not in truth:
            problems.append(f"{video.key}: is abnormal but has no temporal truth")
        if video.label == 0 and intervals:
            problems.append(f"{video.key}: is normal but has {len(intervals)} abnormal intervals")
        problems += [
            f"{video.key}: the interval {start} to {end} does not fit {video.num_frames} frames"
            for start, end in intervals
            if video.num_frames and not 0 <= start < end <= video.num_frames
        ]
    if features is not None:
        problems += _check_features(manifest, FeatureStore.open(features))
    return Checked(len(manifest.videos), tuple(problems))


def _check_features(manifest: Manifest, held: FeatureStore) -> list[str]:
    problems = []
    for video in manifest.videos:
        if video.key not in held:
            problems.append(f"{video.key}: has no features")
        elif video.num_frames:
            snippets = held.shape(video.key)[1]
            try:
                held.rule.bounds(snippets, video.num_frames)
            except ShapeError:
                problems.append(
                    f"{video.key}: has {snippets} snippets, which does not fit its "
                    f"{video.num_frames} frames at {held.rule.snippet_len} frames each"
                )
    return problems
