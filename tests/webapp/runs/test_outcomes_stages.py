"""What an evaluation of two stages leaves in the database."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from vad.errors import VadError
from webapp.evaluations.models import Evaluation
from webapp.runs import outcomes
from webapp.runs.models import Run, State

CONTENT = b"maps"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def run(make_run: Any, version: Any, feature_set: Any) -> Run:
    training = make_run(state=State.SUCCEEDED, version=version, feature_set=feature_set)
    run = make_run(kind="evaluate", version=version, feature_set=feature_set, of_run=training)
    run.folder.mkdir(parents=True)
    (run.folder / "scores.safetensors").write_bytes(b"scores")
    (run.folder / "patches.safetensors").write_bytes(CONTENT)
    return run


def result(**changes: Any) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(b"scores").hexdigest(), "protocol": {}, "fingerprint": "p" * 64,
        "selection": "validation", "checkpoint_step": 50, "metrics": {"auc": 0.9},
        "patch": {
            "scores": "patches.safetensors", "sha256": SHA, "grid": [8, 8], "tubelets": 1,
            "metrics": {"patch_auc": 0.8, "tbdc": "nan"}, "intervals": {"patch_auc": [0.7, 0.9]},
        },
        "stages": {
            "stage1": {"score": "stage1", "auc": 0.85, "ap_step": "nan", "intervals": {"auc": None}}
        },
    } | changes  # fmt: skip


def test_the_numbers_of_patches_and_stages_are_kept(run: Run) -> None:
    outcomes.record(run, result())

    found = Evaluation.objects.get()
    assert found.patch["metrics"] == {"patch_auc": 0.8, "tbdc": None}
    assert (found.patch["grid"], found.patch["sha256"]) == ([8, 8], SHA)
    kept = {"score": "stage1", "auc": 0.85, "ap_step": None, "intervals": {"auc": None}}
    assert found.stages == {"stage1": kept}
    assert found.has_maps


def test_maps_that_changed_on_the_disk_are_refused(run: Run) -> None:
    (run.folder / "patches.safetensors").write_bytes(b"other maps")

    with pytest.raises(VadError, match=r"patches\.safetensors") as caught:
        outcomes.record(run, result())

    assert caught.value.code == "scores-invalid"
    assert not Evaluation.objects.exists()


def test_an_evaluation_of_one_stage_has_neither(run: Run) -> None:
    (run.folder / "patches.safetensors").unlink()

    outcomes.record(run, result(patch=None, stages=None))

    found = Evaluation.objects.get()
    assert (found.patch, found.stages, found.has_maps) == ({}, {}, False)
