"""Masks of a video: read in frame order, refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vad.data.manifest import Video
from vad.data.masks import MaskReader, mask_files
from vad.errors import VadError

VIDEO = Video(key="a", split="test", label=1, num_frames=3, width=5, height=4)
MASKS = np.zeros((3, 4, 5), dtype=bool)
MASKS[1, 1:3, 2] = MASKS[2, 0, 0] = True


def write(folder: Path, kind: str, masks: np.ndarray = MASKS) -> Path:
    """In the layouts that are read; the numbers make names sort wrongly as text."""
    folder.mkdir(exist_ok=True)
    if kind == "stack":
        np.save(folder / "all.npy", masks.astype(np.uint8))
        return folder / "all.npy"
    for number, mask in enumerate(masks, start=9):
        if kind == "npy":
            np.save(folder / f"{number}.npy", mask)
        else:
            image = Image.fromarray((mask * 255).astype(np.uint8))
            image.convert("1" if kind == "1-bit png" else "L").save(
                folder / f"{number}.{kind.split()[-1]}"
            )
    return folder


@pytest.mark.parametrize("kind", ["png", "1-bit png", "bmp", "npy", "stack"])
def test_every_layout_gives_the_same_masks_and_the_same_digest(tmp_path: Path, kind: str):
    reader = MaskReader(write(tmp_path / "masks", kind), VIDEO)
    first = MaskReader(write(tmp_path / "first", "png"), VIDEO)

    np.testing.assert_array_equal(np.stack(list(reader)), MASKS)
    list(first)
    assert reader.digest == first.digest


def test_other_masks_have_another_digest(tmp_path: Path):
    other = MASKS.copy()
    other[0, 0, 0] = True
    readers = [
        MaskReader(write(tmp_path / name, "png", masks), VIDEO)
        for name, masks in (("one", MASKS), ("two", other))
    ]

    assert [len(list(reader)) for reader in readers] == [3, 3]
    assert readers[0].digest != readers[1].digest


def test_hidden_files_are_no_masks(tmp_path: Path):
    folder = write(tmp_path / "masks", "npy")
    (folder / "._9.npy").write_bytes(b"macOS")

    assert [p.name for p in mask_files(folder)] == ["9.npy", "10.npy", "11.npy"]


@pytest.mark.parametrize("kind", ["png", "npy", "stack"])
def test_another_number_of_masks_than_frames_is_refused(tmp_path: Path, kind: str):
    path = write(tmp_path / "masks", kind, MASKS[:2])

    with pytest.raises(VadError, match="holds 2 masks, a has 3 frames") as refused:
        MaskReader(path, VIDEO)

    assert refused.value.code == "annotation-invalid"


@pytest.mark.parametrize(
    ("kind", "name"), [("png", "9.png"), ("npy", "9.npy"), ("stack", "all.npy")]
)
def test_a_mask_of_another_size_is_refused_by_its_name(tmp_path: Path, kind: str, name: str):
    path = write(tmp_path / "masks", kind, MASKS[:, :3])

    with pytest.raises(VadError, match=f"{name} is 3 x 5, a 4 x 5") as refused:
        list(MaskReader(path, VIDEO))

    assert refused.value.code == "annotation-invalid"


@pytest.mark.parametrize("name", ["10.png", "10.npy"])
def test_a_file_that_is_no_mask_is_refused_by_its_name(tmp_path: Path, name: str):
    folder = write(tmp_path / "masks", name.split(".")[1])
    (folder / name).write_bytes(b"no mask")

    with pytest.raises(VadError, match=name) as refused:
        list(MaskReader(folder, VIDEO))

    assert refused.value.code == "annotation-invalid"


def test_a_mask_that_would_run_code_is_refused(tmp_path: Path):
    np.save(tmp_path / "all.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(VadError, match=r"all\.npy is no"):
        MaskReader(tmp_path / "all.npy", VIDEO)


def test_masks_that_are_gone_are_named(tmp_path: Path):
    with pytest.raises(VadError, match="The masks of a") as refused:
        MaskReader(tmp_path / "gone", VIDEO)

    assert refused.value.code == "file-missing"
