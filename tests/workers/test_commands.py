"""What a run's child is told to do."""

from __future__ import annotations

import itertools
import json

import pytest

from vad.errors import VadError
from webapp.runs import chunks
from webapp.runs.models import Checkpoint
from workers import commands


@pytest.fixture
def trained(make_run):
    """A training run with checkpoints at 100 (best) and 200, files and rows."""
    run = make_run()
    (run.folder / "checkpoints").mkdir(parents=True)
    for step, best in ((100, True), (200, False)):
        path = f"checkpoints/step-{step:06}.safetensors"
        (run.folder / path).write_bytes(b"-")
        Checkpoint.objects.create(
            run=run, step=step, path=path, sha256="0", size_bytes=1, best=best
        )
    return run


def options(argv: list[str]) -> dict[str, str]:
    return {a: b for a, b in itertools.pairwise(argv) if a.startswith("--")}


@pytest.mark.parametrize(
    ("kind", "words", "inputs"),
    [
        ("extract", ["extract"], {"--manifest"}),
        ("train-urdmu", ["train", "urdmu"], {"--manifest", "--features"}),
    ],
)
def test_a_run_is_the_command_that_a_person_would_type(make_run, settings, kind, words, inputs):
    settings.CHILD_COMMAND = ["vad"]
    run = make_run(kind)

    command = commands.prepare(run)

    assert command.argv[1 : 1 + len(words)] == words
    assert {"--manifest", "--features", "--checkpoint"} & set(command.argv) == inputs
    assert options(command.argv)["--manifest"] == str(run.version.folder)
    assert options(command.argv)["--output"] == str(run.folder)
    assert command.argv[-2:] == ["--json", "--watch-parent"]
    assert json.loads((run.folder / "config.json").read_text()) == run.config


def test_registering_needs_no_inputs(make_run, settings):
    settings.CHILD_COMMAND = ["vad"]
    run = make_run("register", version=None, feature_set=None)

    command = commands.prepare(run)

    assert command.argv[1:3] == ["dataset", "read"]
    assert json.loads((run.folder / "config.json").read_text())["root"] == "/videos"


@pytest.mark.parametrize(("which", "step"), [("best", 100), ("last", 200)])
def test_an_evaluation_takes_the_checkpoint_that_it_names(make_run, trained, which, step):
    run = make_run("evaluate", of_run=trained)
    run.config["checkpoint"] = which

    command = commands.prepare(run)

    chosen = options(command.argv)["--checkpoint"]
    assert chosen == str(trained.folder / f"checkpoints/step-{step:06}.safetensors")


def test_an_evaluation_of_a_run_without_checkpoints_says_so(make_run):
    run = make_run("evaluate", of_run=make_run())

    with pytest.raises(VadError, match="no checkpoint to take") as caught:
        commands.prepare(run)

    assert caught.value.code == "run-inputs-missing"


def test_a_checkpoint_whose_file_is_gone_is_named(make_run, trained):
    (trained.folder / "checkpoints/step-000100.safetensors").unlink()

    with pytest.raises(VadError, match="step 100") as caught:
        commands.prepare(make_run("evaluate", of_run=trained))

    assert caught.value.code == "file-missing"


@pytest.mark.parametrize(
    ("stored", "left"),
    [(500, [100, 200, 700]), (499, [100, 200]), (0, [100, 200]), (1, [100, 200])],
)
def test_no_resume_leaves_a_hole_in_the_metrics(trained, stored, left):
    (trained.folder / "checkpoints/step-000700.safetensors").write_bytes(b"-")
    (trained.folder / "checkpoints/notes.txt").write_text("not a checkpoint")
    if stored:
        chunks.append(trained, chunks.columns([(stored, {"loss/total": 1.0})]))
    chunks.append(trained, chunks.columns([(9000, {"sys/memory_mb": 1.0})]))  # seconds, no steps

    commands.prepare(trained)

    files = (trained.folder / "checkpoints").glob("step-*")
    assert sorted(int(p.stem.split("-")[1]) for p in files) == left


def test_the_only_checkpoint_is_kept_whatever_is_missing(trained):
    for step in (100, 200):
        path = trained.folder / f"checkpoints/step-{step:06}.safetensors"
        path.rename(path.with_name(f"step-{step + 1000:06}.safetensors"))

    commands.prepare(trained)

    assert [p.name for p in (trained.folder / "checkpoints").iterdir()] == [
        "step-001100.safetensors"
    ]


def test_features_that_are_not_ready_are_not_used(make_run):
    run = make_run()
    run.feature_set.ready = False

    with pytest.raises(VadError, match="no features that are ready"):
        commands.prepare(run)


def test_a_folder_that_cannot_be_written_is_named(make_run, settings, tmp_path):
    run = make_run()
    (tmp_path / "runs").write_text("a file where a folder should be")

    with pytest.raises(VadError, match="cannot be written"):
        commands.prepare(run)


def test_a_configuration_that_is_not_valid_any_more_is_refused_by_field(make_run):
    run = make_run()
    run.config["batch_size"] = -1

    with pytest.raises(VadError) as caught:
        commands.prepare(run)

    assert "batch_size" in caught.value.fields


def test_both_stages_are_told_where_they_start_and_where_the_copies_lie(make_run, trained):
    copies = make_run("proxies", feature_set=None)
    run = make_run("train-two-stage")
    run.parents.add(copies)
    run.config["pretrained_point"] = f"run:{trained.pk}"
    run.project = trained.project

    given = options(commands.prepare(run).argv)

    assert given["--start"] == str(trained.folder / "checkpoints" / "step-000100.safetensors")
    assert given["--proxies"] == str(copies.folder / "proxies")
