"""A data set version as a folder: written as a whole, summed up, checked, compared. numpy only."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vad.data.differences import Differences, differences
from vad.data.doctor import Report, examine
from vad.data.features import FeatureStore
from vad.data.manifest import (
    SPLITS,
    Manifest,
    Truth,
    load_manifest,
    load_truth,
    save_version,
)
from vad.errors import VadError


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


def check(folder: Path, features: Path | None = None) -> Report:
    """Look for what does not line up in a version: the alignment doctor on its files.

    Args:
        folder: a version's folder. The truth of both splits is looked at.
        features: a feature store of its videos.

    Raises:
        VadError: `file-missing`, `manifest-invalid`, `features-invalid`.
    """
    truth = {split: load_truth(folder, split) for split in SPLITS}
    store = FeatureStore.open(features) if features else None
    return examine(load_manifest(folder), truth, store)


def compare(before: Path, after: Path) -> Differences:
    """What changed from one version's folder to another's.

    Raises:
        VadError: `file-missing`, `manifest-invalid`.
    """
    old, new = (
        {key: t for split in SPLITS for key, t in load_truth(folder, split).items()}
        for folder in (before, after)
    )
    return differences(load_manifest(before), load_manifest(after), old, new)
