"""The real command line trains; its process is killed; nothing is lost and nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np

from vad.data.features import StoreWriter
from vad.data.manifest import Manifest, Truth, Video, save_version
from vad.timeline import SnippetRule
from webapp.runs.models import Run, State

STEPS = 60


def test_training_that_is_killed_three_times_at_random_succeeds_with_every_step_once(
    host, queue_run, watch
):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    del host.env["VADLAB_CHILD_COMMAND"]  # what runs by default: python -m vad
    run = queue_run(
        steps=STEPS, checkpoint_every=10, eval_every=20, batch_size=4, num_segments=8,
        memory_slots=16, validation_share=0.25,
    )  # fmt: skip
    make_data(run)
    host.start_ready("-B")
    seen = watch(run)

    for attempt in (1, 2, 3):
        run = seen.until_recorded(chance.randint(1, 15) + 15 * (attempt - 1), attempt=attempt)
        os.kill(run.environment["pid"], signal.SIGKILL)

    run = seen.until(State.SUCCEEDED, State.FAILED)
    assert run.state == State.SUCCEEDED, f"seed {seed}: {run.error}"
    assert run.attempt == 4
    assert seen.steps() == list(range(1, STEPS + 1)), f"seed {seed}"
    assert seen.steps("validation/video_auc") == [20, 40, 60], f"seed {seed}"
    assert all("SIGKILL" in message for message in seen.events("lost"))
    kept = {path.name for path in (run.folder / "checkpoints").glob("*.safetensors")}
    assert Path(run.result["last"]["path"]).name in kept
    assert Path(run.checkpoints.get(best=True).path).name in kept


def make_data(run: Run) -> None:
    """A few videos of features in which the odd part stands out."""
    noise = np.random.default_rng(7)
    videos, truth = [], {}
    with StoreWriter(
        run.feature_set.folder, dim=32, rule=SnippetRule(), extractor="made"
    ) as writer:
        for split, label, count in (
            ("train", 0, 8),
            ("train", 1, 8),
            ("test", 0, 3),
            ("test", 1, 3),
        ):
            for i in range(count):
                key = f"{split}-{label}-{i}"
                rows = noise.normal(size=(1, 12, 32)).astype(np.float32)
                if label:
                    rows[:, 4:8] += 2
                    truth[key] = Truth(intervals=((64, 128),))
                writer.add(key, rows)
                classes = ("Odd",) if label else ()
                videos.append(
                    Video(key=key, split=split, label=label, classes=classes, num_frames=192)
                )
        writer.close()
    run.version.folder.mkdir(parents=True)
    save_version(
        run.version.folder, Manifest(name="made", format="generic", videos=tuple(videos)), truth
    )
