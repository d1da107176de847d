"""`python -m vad train --dataset …`: the options of the published code, from folders to a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vad.cli import main
from vad.data import synthetic
from vad.training import checkpoints

SMALL = [
    "--batch_size",
    "2",
    "--segment_length",
    "8",
    "--num_tubelet",
    "2",
    "--patch_size",
    "8",
    "--resize",
    "32",
    "32",
    "--lr",
    "1e-4",
    "--num_epochs",
    "2",
    "--num_segments",
    "16",
    "--encoder_dim",
    "24",
    "--encoder_depth",
    "4",
    "--encoder_heads",
    "2",
    "--pruning_places",
    "1",
    "2",
    "3",
    "--validation_share",
    "0.3",
    "--validation_clips",
    "1",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seed") / "footage"
    synthetic.make(folder, seed=3, preset="thumbnail")
    return folder


def command(footage: Path, output: Path, *words: str) -> list[str]:
    where = ["--dataset", "synthetic", "--video_root", str(footage), "--output_path", str(output)]
    return ["train", *where, *SMALL, *words]


@pytest.mark.long
def test_one_command_goes_from_videos_to_a_model(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model_path", str(tmp_path / "models"), "--cross_attention", "--json"]
    words += ["--token_ratio", "0.7", "0.5", "0.3"]
    assert main(command(footage, tmp_path / "out", *words)) == 0

    model = tmp_path / "models" / "stpvad_synthetic_2022.safetensors"
    found = checkpoints.read_metadata(model)
    assert found["architecture"]["cross_attention"] is True
    assert found["architecture"]["token_ratio"] == [0.7, 0.5, 0.3]
    kinds = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert kinds.count("result") == 4  # the data set, its features, the copies, the training

    # Given again, it finds all of it done.
    before = model.read_bytes()
    assert main(command(footage, tmp_path / "out", *words)) == 0
    assert model.read_bytes() == before
    assert [p.name for p in (tmp_path / "out" / "checkpoints").iterdir()] == [
        "step-000002.safetensors"
    ]


def test_an_option_that_does_nothing_there_is_refused_with_the_reason(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(footage, tmp_path / "out", "--num_workers", "4", "--debug")) == 1

    text = capsys.readouterr().err
    assert "num_workers" in text
    assert "decoded by threads" in text
    assert "debug" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_other_names_of_the_published_code_are_read(footage: Path, tmp_path: Path) -> None:
    words = ["--multi_k", "2", "--motion_aware_type", "varience", "--soft_pruning"]
    words += ["--lr", "[0.0002]*4000", "--num_segments", "32", "--no_proxies"]
    assert main(command(footage, tmp_path / "out", *words)) == 0

    config = checkpoints.read_metadata(checkpoints.chosen(tmp_path / "out"))["config"]
    assert (config["snippet_choice"], config["choice_count"]) == ("several", 2)
    assert (config["motion"], config["pruning"], config["lr"]) == ("variance", "soft", 0.0002)


def test_code_in_the_learning_rate_is_no_number(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(footage, tmp_path / "out", "--lr", "__import__('os')")) == 1
    assert "expected a number" in capsys.readouterr().err


def test_without_videos_it_says_what_stage_2_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--dataset", "ucf", "--output_path", str(tmp_path / "out")]) == 1
    assert "video_root" in capsys.readouterr().err


def test_the_preset_is_the_published_code_and_options_go_before_it(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "published", "--tubelet_size", "4", "--num_tubelet", "0"]
    assert main(command(footage, tmp_path / "out", *words)) == 0

    config = checkpoints.read_metadata(checkpoints.chosen(tmp_path / "out"))["config"]
    assert (config["tubelet_size"], config["selection"], config["pruning"]) == (4, "test", "hard")
