"""A tiny data set version with features: abnormal snippets differ along one direction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vad import results
from vad.configs import UrdmuConfig
from vad.data.feature_writer import StoreWriter
from vad.data.manifest import Manifest, Truth, Video, save_version
from vad.reporting import Reporter
from vad.timeline import SnippetRule
from vad.training.urdmu import train

DIM = 12
SETTINGS: dict[str, Any] = {
    "num_epochs": 6,
    "batch_size": 3,
    "num_segments": 16,
    "eval_every": 3,
    "checkpoint_every": 2,
    "validation_share": 0.25,
    "device": "cpu",
    "seed": 5,
}


@dataclass(frozen=True)
class World:
    """Where the tiny data set lies."""

    data: Path
    features: Path


class Recorder(Reporter):
    """Keeps every record; may ask for a stop after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.records: list[results.Record] = []
        self._stop_after = stop_after

    def send(self, record: results.Record) -> None:
        self.records.append(record)
        if isinstance(record, results.Metrics) and record.step == self._stop_after:
            self.request_stop()

    def of(self, kind: type) -> list[Any]:
        return [r for r in self.records if isinstance(r, kind)]

    def losses(self) -> dict[int, dict[str, float]]:
        """Metrics by step, without what a clock decides; a step that came twice is an error."""
        found: dict[int, dict[str, float]] = {}
        for record in self.of(results.Metrics):
            assert record.step not in found
            values = {k: v for k, v in record.values.items() if k != "time/step_s"}
            found[record.step] = values
        return found


def make_world(folder: Path, *, train_each: int = 8, crops: int = 1) -> World:
    rng = np.random.default_rng(0)
    videos, truth, features = [], {}, {}
    for split, each in (("train", train_each), ("test", 3)):
        for label in (0, 1):
            for i in range(each):
                key = f"{split}-{label}-{i}"
                length = int(rng.integers(10, 40))
                rows = rng.normal(size=(crops, length, DIM)).astype(np.float32)
                start = int(rng.integers(0, length - 5))
                if label:
                    rows[:, start : start + 5, 0] += 4
                    truth[key] = Truth(intervals=((start * 16, (start + 5) * 16),))
                classes = ("Burst",) if label else ()
                videos.append(
                    Video(
                        key=key,
                        split=split,
                        label=label,
                        classes=classes,
                        num_frames=length * 16,
                    )
                )
                features[key] = rows
    data = folder / "data"
    data.mkdir(parents=True)
    save_version(data, Manifest(name="tiny", format="generic", videos=tuple(videos)), truth)
    with StoreWriter(folder / "features", dim=DIM, rule=SnippetRule(), extractor="test") as writer:
        for key, rows in features.items():
            writer.add(key, rows)
        writer.close()
    return World(data, folder / "features")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("tiny"))


def run(
    world: World,
    output: Path,
    *,
    stop_after: int | None = None,
    keep_all: bool = False,
    **settings: Any,
) -> Recorder:
    """Train in this process; returns what the run said."""
    recorder = Recorder(stop_after)
    train(
        UrdmuConfig(**{**SETTINGS, **settings}),
        manifest_dir=world.data,
        features_dir=world.features,
        output=output,
        reporter=recorder,
        keep_all=keep_all,
    )
    return recorder


@pytest.fixture(scope="session")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder]:
    """A run from start to end, to compare others with: its folder and what it said."""
    output = tmp_path_factory.mktemp("whole")
    return output, run(world, output)
