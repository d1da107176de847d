"""Runs through the command line, as the server starts them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest_training import SETTINGS, Recorder, World

from vad import results
from vad.models.urdmu import UrDmu
from vad.training import checkpoints

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "vad", *map(str, words)]


def vad(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=120
    )


def train_words(world: World, output: Path, **settings: object) -> list[object]:
    config = output.parent / f"{output.name}.json"
    config.write_text(json.dumps({**SETTINGS, **settings}))
    where = ["--manifest", world.data, "--features", world.features, "--output", output]
    return ["train", "urdmu", *where, "--config", config, "--json"]


def records(text: str) -> list[results.Record]:
    found = [results.parse_line(line) for line in text.splitlines()]
    assert None not in found, text
    return [record for record in found if record is not None]


def test_a_run_killed_at_any_moment_ends_with_the_same_weights_and_metrics(
    world: World, tmp_path: Path
) -> None:
    words = train_words(world, tmp_path / "killed", num_epochs=14, checkpoint_every=4)
    metrics: dict[int, dict[str, float]] = {}
    kills = 0
    for wait_records in (3, 11, None):
        with subprocess.Popen(
            command(*words), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        ) as child:
            assert child.stdout is not None
            for heard, line in enumerate(child.stdout, start=1):
                record = results.parse_line(line)
                assert record is not None, line
                if isinstance(record, results.Started):
                    # what a listener does: later values are void, and will come again
                    metrics = {s: v for s, v in metrics.items() if s <= record.resumed_step}
                if isinstance(record, results.Metrics):
                    assert record.step not in metrics
                    metrics[record.step] = {
                        k: v for k, v in record.values.items() if k != "time/step_s"
                    }
                if heard == wait_records:
                    child.send_signal(signal.SIGKILL)
                    kills += 1
                    break
        if wait_records is None:
            assert child.returncode == results.EXIT_OK

    whole = vad(*train_words(world, tmp_path / "whole", num_epochs=14, checkpoint_every=4))
    expected = {
        r.step: {k: v for k, v in r.values.items() if k != "time/step_s"}
        for r in records(whole.stdout)
        if isinstance(r, results.Metrics)
    }
    last = checkpoints.name_of(14)
    assert kills == 2
    assert metrics == expected
    assert (
        checkpoints.read_metadata(tmp_path / "killed" / last)["digest"]
        == checkpoints.read_metadata(tmp_path / "whole" / last)["digest"]
    )


def test_asked_to_stop_it_leaves_a_checkpoint_and_its_own_exit_code(
    world: World, tmp_path: Path
) -> None:
    words = train_words(world, tmp_path / "run", num_epochs=100_000)
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if isinstance(results.parse_line(line), results.Metrics):
                child.send_signal(signal.SIGTERM)
                break
        lines += child.stdout.readlines()
        child.wait(60)
    last = records("".join(lines))[-1]

    assert child.returncode == results.EXIT_STOPPED
    assert isinstance(last, results.Stopped)
    assert (tmp_path / "run" / checkpoints.name_of(last.step)).is_file()


def test_a_child_whose_parent_is_gone_ends(world: World, tmp_path: Path) -> None:
    words = [*train_words(world, tmp_path / "run", num_epochs=100_000), "--watch-parent"]
    with subprocess.Popen(
        command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        child.stdin.close()
        started_s = time.monotonic()
        child.stdout.read()
        child.wait(60)

    assert child.returncode == 1
    assert time.monotonic() - started_s < 30


def test_wrong_fields_are_all_named_without_a_traceback(world: World, tmp_path: Path) -> None:
    words = train_words(world, tmp_path / "run", lr=-1, colour="red")
    found = vad(*words, "--batch-size", "many")
    error = records(found.stdout)[-1]

    assert found.returncode == results.EXIT_ERROR
    assert isinstance(error, results.Failed)
    assert set(error.error["fields"]) == {"lr", "colour", "batch_size"}
    assert "Traceback" not in found.stderr


def test_for_people_an_error_is_text(world: World, tmp_path: Path) -> None:
    words = [w for w in train_words(world, tmp_path / "run") if w != "--json"]
    found = vad(*words, "--manifest", tmp_path / "nowhere")

    assert found.returncode == results.EXIT_ERROR
    assert found.stderr.startswith("error: ")
    assert "nowhere" in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


def test_options_override_the_file(world: World, tmp_path: Path) -> None:
    words = train_words(world, tmp_path / "run")
    found = vad(*words, "--num_epochs", "1", "--validation-share", "0.5")
    result = records(found.stdout)[-1]

    assert isinstance(result, results.Result), found.stdout + found.stderr
    assert result.data["last"]["step"] == 1
    assert result.data["videos"]["validation_normal"] == 4


def test_a_checkpoint_is_evaluated(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    best = whole[1].of(results.Result)[0].data["best"]
    found = vad(
        "evaluate",
        *("--manifest", world.data, "--features", world.features, "--output", tmp_path),
        *("--checkpoint", whole[0] / best["path"], "--bootstrap_samples", "20", "--json"),
    )
    result = records(found.stdout)[-1]

    assert isinstance(result, results.Result), found.stdout + found.stderr
    live = whole[1].losses()[best["step"]]["test/frame_auc"]
    assert result.data["metrics"]["auc"] == pytest.approx(live, abs=1e-6)
    assert result.data["selection"] == "validation"
    assert result.data["checkpoint_step"] == best["step"]
    assert (tmp_path / result.data["scores"]).is_file()


def test_an_evaluation_of_other_features_is_refused(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    torch.save(UrDmu(7).state_dict(), tmp_path / "seven.pkl")
    assert vad("checkpoint", "import", tmp_path / "seven.pkl", tmp_path / "s").returncode == 0
    found = vad(
        "evaluate",
        *("--manifest", world.data, "--features", world.features, "--output", tmp_path / "out"),
        *("--checkpoint", tmp_path / "s", "--json"),
    )
    error = records(found.stdout)[-1]

    assert isinstance(error, results.Failed)
    assert error.error["code"] == "checkpoint-invalid"
    assert "features of 7 numbers" in error.error["message"]


def test_published_weights_are_imported_as_they_are(tmp_path: Path) -> None:
    model = UrDmu(9)
    torch.save(model.state_dict(), tmp_path / "published.pkl")
    target = tmp_path / "ours.safetensors"
    found = vad("checkpoint", "import", tmp_path / "published.pkl", target, "--json")
    told = json.loads(found.stdout)
    held = checkpoints.read(target).part(checkpoints.MODEL)

    assert told["architecture"] == {"name": "urdmu", "feature_dim": 9, "memory_slots": 60}
    assert all(torch.equal(held[k], v) for k, v in model.state_dict().items())
    shown = json.loads(vad("checkpoint", "show", target, "--json").stdout)
    assert shown["sha256"] == told["sha256"]


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("was-run",))


@pytest.mark.parametrize("kind", ["code", "text", "other model", "wrong hash", "wrong shape"])
def test_what_is_no_published_checkpoint_is_refused(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.pkl"
    words: tuple[object, ...] = ()
    if kind == "code":
        source.write_bytes(pickle.dumps({"weights": Hostile()}))
    elif kind == "text":
        source.write_text("weights")
    elif kind == "other model":
        torch.save(torch.nn.Linear(2, 2).state_dict(), source)
    elif kind == "wrong shape":
        state = UrDmu(9).state_dict()
        state["encoder_mu.0.bias"] = torch.zeros(3)
        torch.save(state, source)
    else:
        torch.save(UrDmu(9).state_dict(), source)
        words = ("--sha256", "0" * 64)
    target = tmp_path / "ours.safetensors"
    found = subprocess.run(
        command("checkpoint", "import", source, target, *words),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )

    assert found.returncode == results.EXIT_ERROR, found.stderr
    assert found.stderr.startswith(f"error: {source} ")
    assert "weights_only" not in found.stderr  # torch's own text tells people to load it anyway
    assert not target.exists()
    assert not (tmp_path / "was-run").exists()


def test_commands_that_need_no_torch_do_not_load_it(world: World) -> None:
    code = (
        "import sys; from vad.cli import main\n"
        f"main(['dataset', 'show', {str(world.data)!r}])\n"
        f"main(['dataset', 'check', {str(world.data)!r}, '--features', {str(world.features)!r}])\n"
        "sys.exit('torch' in sys.modules or 'av' in sys.modules or 'decord' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stdout + found.stderr
    assert "tiny (generic)" in found.stdout


@pytest.mark.parametrize(
    "words",
    [(), ("train", "urdmu"), ("evaluate",), ("extract",), ("dataset", "read"), ("checkpoint",)],
)
def test_help_explains_every_command(words: tuple[str, ...]) -> None:
    found = vad(*words, "--help")

    assert found.returncode == 0, found.stderr
    assert "usage: python -m vad" in found.stdout
