"""`vadlab sweep` and `vadlab pipeline`, and the client below them, against a real server."""

from __future__ import annotations

import json

import numpy as np
import pytest
from django.utils import timezone

from vad.errors import VadError
from webapp.datasets.models import Video
from webapp.runs import chunks
from webapp.runs.models import Run, State
from webapp.sweeps.models import Sweep, SweepState

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def swept(vadlab, feature_set) -> Sweep:
    """Two trials, both queued."""
    code, out, err = vadlab(
        "sweep", "create", "rates", "--features", feature_set.pk, "--over", "lr=1e-4 1e-3",
        "--set", "num_epochs=300", "--seeds", 1, "--no-evaluate",
    )  # fmt: skip
    assert (code, err) == (0, "")
    return Sweep.objects.get(pk=out.strip())


@pytest.fixture
def filmed(feature_set):
    Video.objects.create(
        version=feature_set.version, key="a", split="train", label=0, classes=[], path="a.mp4",
        num_frames=320, fps=25, width=64, height=64,
    )  # fmt: skip
    return feature_set


def end_all(sweep: Sweep, *values: float) -> None:
    """Let the trials have ended with these values of the objective."""
    for trial, value in zip(sweep.trials.order_by("number"), values, strict=True):
        chunks.append(trial.run, {sweep.objective: (np.array([50]), np.array([value]))})
        Run.objects.filter(pk=trial.run_id).update(state=State.SUCCEEDED, ended_at=timezone.now())
    Sweep.objects.filter(pk=sweep.pk).update(state=SweepState.DONE)


def test_a_sweep_is_created_from_options(swept):
    assert (swept.name, swept.seeds, swept.evaluate) == ("rates", [1], False)
    assert swept.space == {"lr": {"values": [1e-4, 1e-3]}}
    assert swept.config["num_epochs"] == 300
    assert swept.trials.count() == 2


def test_options_change_what_a_file_says(vadlab, feature_set, tmp_path):
    file = tmp_path / "sweep.json"
    space = {"lr": {"low": 1e-4, "high": 1e-2, "log": True, "points": 3}, "dropout": "0.3 0.5"}
    body = {"name": "of a file", "space": space, "seeds": [1], "config": {"num_epochs": 50},
            "feature_set": str(feature_set.pk), "parallel": 1}  # fmt: skip
    file.write_text(json.dumps(body))

    code, out, _ = vadlab(
        "sweep", "create", "--config", file, "--seeds", 3, 4, "--over", "dropout=0.2"
    )

    made = Sweep.objects.get(pk=out.strip())
    assert (code, made.name, made.seeds, made.parallel) == (0, "of a file", [3, 4], 1)
    assert (made.settings, made.config["num_epochs"]) == (3, 50)
    assert made.space["dropout"] == {"values": [0.2]}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "lr=-1"], "must be above 0"),
        (["--over", "lr"], "is not NAME=VALUE"),
        (["--over", "seed=1 2"], "cannot be swept"),
        (["--over", "lr=1e-4 to"], "lr"),
        (["--over", "lr="], "needs its values"),
        (["--config", "none.json"], "is no JSON file"),
    ],
)
def test_a_wrong_sweep_is_said_in_words_and_nothing_is_queued(vadlab, feature_set, words, says):
    code, _, err = vadlab("sweep", "create", "x", "--features", feature_set.pk, *words)

    assert (code, says in err, Run.objects.count()) == (1, True, 0), err


def test_a_sweep_is_listed_watched_and_its_best_shown(vadlab, client, swept):
    end_all(swept, 0.7, 0.9)

    assert swept.name in vadlab("sweep", "list")[1]
    code, out, _ = vadlab("sweep", "watch", "rates")
    assert (code, "2 of 2" in out, "best validation/video_auc 0.9" in out) == (0, True, True)
    code, out, _ = vadlab("sweep", "best", swept.pk, "--format", "csv")
    assert code == 0
    assert out.splitlines()[1].startswith("0.001,0.9000,")
    rows = list(client.sweeps.trials(str(swept.pk), sort="-objective"))
    assert [row["number"] for row in rows] == [2, 1]


def test_a_sweep_is_held_released_and_stopped(vadlab, client, swept):
    assert vadlab("sweep", "hold", "rates")[:2] == (0, "rates held.\n")
    assert vadlab("sweep", "release", swept.pk)[0] == 0
    assert vadlab("sweep", "stop", swept.pk)[:2] == (0, "rates stopped.\n")
    code, _, err = vadlab("sweep", "hold", "rates")
    assert (code, "cannot be held" in err) == (1, True)
    assert vadlab("sweep", "watch", "rates")[0] == 1  # it did not come to its end
    assert vadlab("sweep", "best", "none such")[0] == 1
    with pytest.raises(TimeoutError):
        Sweep.objects.filter(pk=swept.pk).update(state=SweepState.ACTIVE)
        client.sweeps.wait(str(swept.pk), timeout_s=0)


def test_a_pipeline_has_stage_2_after_stage_1(vadlab, filmed):
    code, out, err = vadlab(
        "pipeline", "--features", filmed.pk, "--stages", "both", "--seeds", 1, 2, "--train",
        "lr=0.001", "--stage2", "dropout=0.2", "--evaluate", "bootstrap_samples=50",
        "--name", "mine", "--no-proxies",
    )  # fmt: skip

    assert (code, err) == (0, "")
    runs = {run.name: run for run in Run.objects.all()}
    assert [line.split("  ")[1] for line in out.splitlines()] == [
        *["train-urdmu", "train-two-stage"] * 2, "evaluate", "evaluate"
    ]  # fmt: skip
    first, second = runs["mine, seed 2: stage 1"], runs["mine, seed 2: stage 2"]
    assert (first.config["lr"], second.config["dropout"]) == (0.001, 0.2)
    assert second.config["pretrained_point"] == f"run:{first.pk}"


def test_a_pipeline_of_a_file_and_of_both_stages_together(vadlab, filmed, tmp_path):
    file = tmp_path / "pipeline.json"
    body = {"kind": "train-two-stage", "train": {"dropout": 0.3}, "proxies": None, "evaluate": None,
            "version": str(filmed.version_id)}  # fmt: skip
    file.write_text(json.dumps(body))

    assert vadlab("pipeline", "--config", file, "--extract", "extractor=motion")[0] == 0

    kinds = set(Run.objects.values_list("kind", flat=True))
    assert kinds == {"extract", "train-two-stage"}
    assert Run.objects.get(kind="train-two-stage").config["dropout"] == 0.3


def test_fields_of_a_stage_that_is_not_asked_for_are_refused(vadlab, client, filmed):
    code, _, err = vadlab("pipeline", "--features", filmed.pk, "--stage2", "dropout=0.2")

    assert (code, "--stage2 is of no use" in err, Run.objects.count()) == (1, True, 0)
    with pytest.raises(VadError):
        client.runs.create_pipeline(kind="evaluate", feature_set=str(filmed.pk))
