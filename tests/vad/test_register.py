from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vad import results
from vad.data.features import FeatureStore
from vad.data.manifest import load_manifest


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A team's own features: two videos for training, two for testing."""
    root = tmp_path / "footage"
    root.mkdir()
    videos = []
    for split in ("train", "test"):
        for label in (0, 1):
            key = f"{split}-{label}"
            np.save(root / f"{key}.npy", np.ones((4, 6), np.float32))
            video: dict[str, object] = {"key": key, "split": split, "label": label}
            video["num_frames"] = 64
            if label and split == "test":
                video["intervals"] = [[16, 32]]
            videos.append(video)
    (root / "dataset.json").write_text(json.dumps({"videos": videos}))
    return root


def read(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vad", "dataset", "read", *map(str, words), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def last(found: subprocess.CompletedProcess[str]) -> results.Record:
    record = results.parse_line(found.stdout.splitlines()[-1])
    assert record is not None, found.stdout + found.stderr
    return record


def test_a_data_set_is_read_and_its_features_packed_as_one_run(
    footage: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"name": "ours", "root": str(footage), "features": str(footage)}))
    words = ("--config", config, "--output", tmp_path / "run")
    result = last(read(*words))

    assert isinstance(result, results.Result)
    assert result.kind == "register"
    assert load_manifest(tmp_path / "run" / "version").name == "ours"
    store = FeatureStore.open(tmp_path / "run" / "features")
    assert result.data["features"] == store.summary()
    assert result.data["counts"]["videos"] == len(store) == 4
    again = last(read(*words))
    assert again == result  # an attempt that was cut off after its work is done over


def test_a_problem_of_the_data_set_leaves_nothing_behind(footage: Path, tmp_path: Path) -> None:
    (footage / "test-1.npy").write_bytes(b"no numpy file")
    words = ("--name", "ours", "--root", footage, "--features", footage)
    found = read(*words, "--output", tmp_path / "run")
    error = last(found)

    assert found.returncode == results.EXIT_ERROR
    assert isinstance(error, results.Failed)
    assert any("test-1.npy" in problem for problem in error.error["problems"])
    assert not (tmp_path / "run" / "features").exists()
