"""The reader of ShanghaiTech: labels from names, truth from masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from list_files import features, problems_of, write

from vad.data import formats


def shanghai(tmp_path: Path, masks: dict[str, object], **options):
    root = features(tmp_path / "sh", "01_0014_i3d", "01_0015_i3d", "01_001_i3d", "01_002_i3d")
    folder = root / "testing" / "test_frame_mask"
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        np.save(folder / f"{name}.npy", np.asarray(mask), allow_pickle=True)
    test = write(tmp_path / "test.list", "/x/01_0015_i3d.npy", "/x/01_001_i3d.npy")
    return formats.read("shanghaitech", root, test_list=test, **options)


def mask(frames: int, start: int, end: int) -> np.ndarray:
    values = np.zeros(frames, np.uint8)
    values[start:end] = 1
    return values


def test_shanghaitech_labels_come_from_names_and_truth_from_masks(tmp_path):
    manifest, truth = shanghai(
        tmp_path, {"01_0014": mask(100, 5, 9), "01_0015": mask(64, 60, 64)[:, None]}
    )

    assert {v.key: (v.split, v.label, v.num_frames) for v in manifest.videos} == {
        "01_0014": ("train", 1, 100),
        "01_002": ("train", 0, 0),
        "01_0015": ("test", 1, 64),
        "01_001": ("test", 0, 0),
    }
    assert truth["01_0015"].intervals == ((60, 64),)
    assert truth["01_0014"].intervals == ((5, 9),)  # in the truth of the training split
    assert truth["01_001"].intervals == ()


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({}, "01_0015 is an abnormal test video without a mask"),
        ({"01_0015": mask(64, 0, 0)}, "by its name label 1, but its mask is empty"),
        ({"01_001": mask(64, 0, 3)}, "by its name label 0, but its mask holds an anomaly"),
        ({"01_0015": [0, 1, 2]}, "holds other values than 0 and 1"),
        ({"01_0015": [0, np.nan]}, "holds other values than 0 and 1"),
        ({"01_0015": np.ones((4, 4))}, "has shape [4, 4], expected one number a frame"),
        ({"01_0015": np.array([{}], object)}, "is no .npy file of numbers"),
    ],
)
def test_shanghaitech_masks_that_contradict_or_are_damaged_are_refused(tmp_path, masks, said):
    found = problems_of(lambda: shanghai(tmp_path, masks))

    assert any(said in p for p in found)
