"""Register a data set as a run: read it, write its version, pack its features. No torch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vad import results
from vad.configs import RegisterConfig
from vad.data import formats, versions
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Truth, fingerprint, load_manifest, load_truth
from vad.data.packing import pack_npy
from vad.errors import VadError
from vad.reporting import Reporter
from vad.timeline import SnippetRule


def register(config: RegisterConfig, *, output: Path, reporter: Reporter) -> None:
    """Write `output/version` and, if features are named, `output/features`.

    What an earlier, interrupted attempt has finished is kept if it is the same.

    Raises:
        ConfigError: an option that the format does not have, or needs.
        VadError: `file-missing`, `dataset-invalid`, `features-invalid`, `features-missing`.
    """
    reporter.send(results.Started(pid=os.getpid(), device="cpu", total=1, unit="data sets"))
    manifest, truth = formats.read_config(config, on_progress=_progress(reporter, "videos"))
    manifest = dataclasses.replace(manifest, name=config.name)
    found = _store(output / "version", manifest, truth)
    store = None
    if config.features:
        store = _pack(config, manifest, output / "features", reporter)
    report = versions.check(output / "version", output / "features" if store else None)
    counts = versions.summary(manifest)["splits"]
    reporter.send(
        results.Result(
            kind=config.kind,
            data={
                "fingerprint": found,
                "rules": dict(manifest.rules),
                "notes": report.notes("problem", "note"),
                "alignment": {"severity": report.severity, "rules": report.rules},
                "counts": {"videos": len(manifest.videos), **counts},
                "features": store.summary() if store else None,
            },
        )
    )


def _store(folder: Path, manifest: Manifest, truth: Mapping[str, Truth]) -> str:
    if (folder / "manifest.json").is_file():
        held = {**load_truth(folder, "train"), **load_truth(folder, "test")}
        new = fingerprint(manifest, truth)
        if fingerprint(load_manifest(folder), held) == new:
            return new
    return versions.store(folder, manifest, truth)


def _pack(
    config: RegisterConfig, manifest: Manifest, folder: Path, reporter: Reporter
) -> FeatureStore:
    rule = SnippetRule(config.snippet_rule, config.segment_length, config.snippet_slack)
    if (folder / "features.json").is_file():
        held = FeatureStore.open(folder)
        same = held.rule == rule and held.settings.get("crop_axis") == config.crop_axis
        if same and set(held.keys()) == {v.key for v in manifest.videos}:
            return held
        raise VadError(
            "features-invalid",
            f"{folder} holds other features already.",
            "Name another output folder.",
        )
    return pack_npy(
        Path(config.features),
        manifest,
        folder,
        rule=rule,
        crop_axis=config.crop_axis,
        on_progress=_progress(reporter, "files"),
    )


def _progress(reporter: Reporter, unit: str) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> Any:
        reporter.progress(done, total, unit)

    return tell
