"""The real command line trains; its process is killed; nothing is lost and nothing is doubled."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone

from vad.data.feature_writer import StoreWriter
from vad.data.manifest import Manifest, Truth, Video, save_version
from vad.timeline import SnippetRule
from vad.training import checkpoints
from webapp.runs.lifecycle import commands
from webapp.runs.models import Run, State

STEPS = 60


@pytest.mark.long
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Puts a small disk at a folder."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)]
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("this machine lets nobody but its owner mount a small disk")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_costs_no_checkpoint_and_the_run_goes_on_when_there_is_room(
    host, queue_run, watch, until, small_disk
):
    del host.env["VADLAB_CHILD_COMMAND"]
    run = queue_run(
        steps=100_000, checkpoint_every=10, eval_every=100_000, batch_size=4, num_segments=8,
        memory_slots=16, validation_share=0.25,
    )  # fmt: skip
    make_data(run)
    small_disk(run.folder / "checkpoints")
    host.start_ready("-B")
    seen = watch(run)
    seen.until_recorded(25)

    filler = run.folder / "checkpoints" / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    until(lambda: seen.events("set-back"), "the run to find no room")

    waiting = seen.run
    assert waiting.state == State.QUEUED
    assert waiting.not_before > timezone.now()
    assert "The disk has no room for" in seen.events("set-back")[0]
    last = checkpoints.newest(run.folder, lambda *_: pytest.fail("a checkpoint is damaged"))
    assert last is not None
    filler.unlink()
    Run.objects.filter(pk=run.pk).update(not_before=None)  # instead of waiting for a minute
    seen.until_recorded(last.step + 30)
    commands.cancel(seen.run, by=run.owner)
    ended = seen.until(State.CANCELLED)
    assert ended.attempt == 1
    assert seen.steps() == list(range(1, seen.steps()[-1] + 1))


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
