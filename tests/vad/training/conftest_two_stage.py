"""A data set of tiny clips with features, and a network of both stages small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest_training import Recorder, World

from vad.configs import ExtractConfig, RegisterConfig, TwoStageConfig
from vad.data import synthetic
from vad.data.register import register
from vad.features.extract import extract
from vad.reporting import Reporter
from vad.training.two_stage import train

TWO_STAGE: dict[str, Any] = {
    "num_epochs": 4,
    "batch_size": 2,
    "num_segments": 16,
    "segment_length": 8,
    "resize": (32, 32),
    "patch_size": 8,
    "num_tubelet": 2,
    "encoder_dim": 24,
    "encoder_depth": 4,
    "encoder_heads": 2,
    "pruning_places": (1, 2, 3),
    "validation_share": 0.3,
    "validation_clips": 2,
    "eval_every": 2,
    "checkpoint_every": 2,
    "device": "cpu",
    "seed": 5,
}


@pytest.fixture(scope="session")
def clip_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("clips")
    synthetic.make(folder / "footage", seed=3, preset="thumbnail")
    config = RegisterConfig(name="tiny", format="synthetic", root=str(folder / "footage"))
    register(config, output=folder, reporter=Reporter())
    extract(
        ExtractConfig(resize=(48, 64), device="cpu"),
        manifest_dir=folder / "version",
        output=folder,
        reporter=Reporter(),
    )
    return World(folder / "version", folder / "features")


def run_both(
    world: World,
    output: Path,
    *,
    stop_after: int | None = None,
    start: Path | None = None,
    proxies: Path | None = None,
    **settings: Any,
) -> Recorder:
    """Train in this process; returns what the run said."""
    recorder = Recorder(stop_after)
    train(
        TwoStageConfig(**{**TWO_STAGE, **settings}),
        manifest_dir=world.data,
        features_dir=world.features,
        output=output,
        reporter=recorder,
        start=start,
        proxies_dir=proxies,
    )
    return recorder
