"""Several processes that train one run, as `torchrun` starts them on the GPUs of a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest_training import World, run
from conftest_two_stage import TWO_STAGE, run_both

from vad import results
from vad.errors import ConfigError
from vad.training import checkpoints, parallel

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def together(world: World, output: Path, model: str, **settings: object) -> list[results.Record]:
    """Train in two processes over gloo; what the run said."""
    config = output.parent / f"{output.name}.json"
    config.write_text(json.dumps(settings))
    where = ["--manifest", world.data, "--features", world.features, "--output", output]
    words = ["-m", "vad", "train", model, *where, "--config", config, "--json"]
    done = subprocess.run(
        [*LAUNCH, *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [results.parse_line(line) for line in done.stdout.splitlines()]
    return [record for record in found if record is not None]


def weights(output: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoints.read(output / checkpoints.name_of(step)).part(checkpoints.MODEL)


def losses(records: list[results.Record]) -> dict[int, float]:
    found = [r for r in records if isinstance(r, results.Metrics)]
    assert len({r.step for r in found}) == len(found), "a step was reported twice"
    return {r.step: r.values["loss/total"] for r in found}


def test_two_processes_take_the_steps_of_one_and_the_first_alone_speaks_and_writes(
    clip_world: World, tmp_path: Path
) -> None:
    settings = {**TWO_STAGE, "dropout": 0.0, "cross_attention": True, "random_snippet": True}
    records = together(clip_world, tmp_path / "two", "two-stage", **settings)
    alone = run_both(clip_world, tmp_path / "one", **settings)

    expected = {step: values["loss/total"] for step, values in alone.losses().items()}
    assert losses(records) == pytest.approx(expected, rel=1e-4)
    one, two = weights(tmp_path / "one", 4), weights(tmp_path / "two", 4)
    for name, value in one.items():
        # Adam's first steps have the size of the learning rate whatever the gradient's is.
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=4 * 1e-4)
    kinds = [type(r) for r in records]
    assert kinds.count(results.Started) == kinds.count(results.Result) == 1
    written = [r for r in records if isinstance(r, results.CheckpointWritten)]
    assert [r.step for r in written] == [r.step for r in alone.of(results.CheckpointWritten)]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        parallel.World(rank=0, size=2).check_batch(5)


def test_shares_are_equal_and_cover_the_batch() -> None:
    shares = [parallel.World(rank, 4).share(8) for rank in range(4)]

    assert [list(range(8))[share] for share in shares] == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.long
def test_each_process_drops_other_parts_of_its_share(world: World, tmp_path: Path) -> None:
    """With dropout the processes are no copies of each other: two differ from one."""
    settings = {"batch_size": 4, "num_epochs": 1, "num_segments": 16, "device": "cpu", "seed": 5}
    records = together(world, tmp_path / "two", "urdmu", **settings, validation_share=0.25)
    alone = run(world, tmp_path / "one", **settings)

    assert losses(records)[1] != pytest.approx(alone.losses()[1]["loss/total"], rel=1e-6)
