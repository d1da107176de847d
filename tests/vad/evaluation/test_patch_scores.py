"""The file of stage 2's maps: whole or refused, and read a video at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from vad.errors import VadError
from vad.evaluation.patch_scores import PatchScores, VideoPatches, read_metadata

ROWS, COLUMNS, TUBELETS = 2, 5, 3


def video(key: str, length: int, seed: int = 0) -> VideoPatches:
    rng = np.random.default_rng([seed, length])
    kept = rng.random((length, TUBELETS, ROWS * COLUMNS)) < 0.7
    maps = (rng.random(kept.shape) * kept).astype(np.float32)
    return VideoPatches(
        key=key,
        maps=maps,
        kept=kept,
        stage1=rng.random(length).astype(np.float32),
        stage2=maps.max(axis=(1, 2)),
        frames=np.full(length, 16, dtype=np.int64),
    )


VIDEOS = (video("a", 4), video("b/ü", 1), video("c", 7))


@pytest.fixture
def scores() -> PatchScores:
    return PatchScores.build(VIDEOS, rows=ROWS, columns=COLUMNS)


def saved(scores: PatchScores, folder: Path, metadata: dict | None = None) -> Path:
    path = folder / "patches.safetensors"
    scores.save(path, metadata)
    return path


def test_what_was_saved_comes_back(scores: PatchScores, tmp_path: Path):
    found = PatchScores.open(saved(scores, tmp_path, {"fingerprint": "f"}))

    assert found.keys == ("a", "b/ü", "c")
    assert (found.rows, found.columns, found.tubelets, found.patches) == (2, 5, 3, 10)
    assert found.metadata == {"fingerprint": "f"}
    for before, after in zip(VIDEOS, found.videos(), strict=True):
        for name in ("maps", "kept", "stage1", "stage2", "frames"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
            assert getattr(before, name).dtype == getattr(after, name).dtype
    assert found.video("a").start_frames.tolist() == [0, 16, 32, 48]


def test_the_same_content_makes_the_same_bytes_and_the_digest_is_that_of_the_file(
    scores: PatchScores, tmp_path: Path
):
    digests = [scores.save(tmp_path / name, {"x": [1, 2]}) for name in ("one", "two")]

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert digests == [hashlib.sha256((tmp_path / "one").read_bytes()).hexdigest()] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


def test_the_file_opens_with_the_library(scores: PatchScores, tmp_path: Path):
    path = saved(scores, tmp_path)

    arrays = safetensors.numpy.load_file(path)

    np.testing.assert_array_equal(arrays["maps"], scores.maps)
    np.testing.assert_array_equal(arrays["kept"], scores.kept)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert list(file.metadata()) == ["vadlab"]


def test_a_file_saved_again_after_it_was_opened_has_the_same_bytes(
    scores: PatchScores, tmp_path: Path
):
    path = saved(scores, tmp_path, {"x": 1})
    before = path.read_bytes()

    PatchScores.open(path).save(path, read_metadata(path))

    assert path.read_bytes() == before


def test_a_video_is_a_view_of_the_file_and_cannot_be_written(scores: PatchScores, tmp_path: Path):
    found = PatchScores.open(saved(scores, tmp_path))

    one = found.video("c").maps

    assert isinstance(one.base, np.memmap)
    with pytest.raises(ValueError):
        one[:] = 0


def test_one_video_can_be_read_where_another_is_damaged(scores: PatchScores, tmp_path: Path):
    path = saved(scores, tmp_path)
    content = bytearray(path.read_bytes())
    at = content.find(VIDEOS[2].maps.tobytes())
    content[at : at + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    found = PatchScores.open(path)

    np.testing.assert_array_equal(found.video("a").maps, VIDEOS[0].maps)
    with pytest.raises(VadError, match="c: a score is not a finite number") as refused:
        found.video("c")
    assert refused.value.code == "scores-invalid"


def test_a_video_that_was_not_evaluated_is_a_key_error(scores: PatchScores):
    with pytest.raises(KeyError):
        scores.video("z")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"keys": ("a", "a", "c")}, "two have one name"),
        ({"rows": 3}, "maps is float32"),
        ({"tubelets": 0}, "0 tubelets"),
        ({"offsets": np.array([0, 4, 4, 12])}, "no snippets"),
        ({"frames": np.ones(12)}, "frames is float64"),
        ({"stage1": np.ones(11, np.float32)}, "stage1 is float32 .11,"),
        ({"kept": np.zeros((12, 3, 1), np.uint8)}, "kept is uint8"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(scores: PatchScores, change, text):
    with pytest.raises(VadError, match=text) as refused:
        dataclasses.replace(scores, **change)

    assert refused.value.code == "scores-invalid"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"stage1": np.full(4, np.nan, np.float32)}, "not a finite number"),
        ({"maps": VIDEOS[0].maps - 1}, "not between 0 and 1"),
        ({"kept": np.zeros_like(VIDEOS[0].kept)}, "a pruned patch has a score"),
        ({"stage2": np.ones(4, np.float32)}, "not the highest patch"),
        ({"frames": np.full(4, -1)}, "fewer than no frames"),
        ({"maps": VIDEOS[0].maps[:, :2]}, "maps have shape"),
    ],
)
def test_wrong_numbers_are_refused_by_the_video_s_name(change, text):
    wrong = dataclasses.replace(VIDEOS[0], **change)

    with pytest.raises(VadError, match=f"a: .*{text}") as refused:
        PatchScores.build((VIDEOS[2], wrong), rows=ROWS, columns=COLUMNS)

    assert refused.value.code == "scores-invalid"


def test_no_video_at_all_is_refused():
    with pytest.raises(VadError, match="there is no video"):
        PatchScores.build((), rows=1, columns=1)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(VadError, match="does not exist") as refused:
        PatchScores.open(tmp_path / "patches.safetensors")

    assert refused.value.code == "file-missing"


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "version", "other", "header"])
def test_a_file_of_something_else_is_refused(scores: PatchScores, tmp_path: Path, kind: str):
    path = saved(scores, tmp_path)
    content = path.read_bytes()
    other = safetensors.numpy.save({"maps": np.ones(3, np.float32)}, metadata={"vadlab": "{}"})
    path.write_bytes(
        {
            "empty": b"",
            "text": b"no safetensors file at all",
            "cut": content[:-1],
            "version": content.replace(b'\\"version\\":1', b'\\"version\\":2'),
            "other": other,
            "header": content[:8] + json.dumps([1]).encode().ljust(len(content) - 8),
        }[kind]
    )

    with pytest.raises(VadError, match="is not a file of patch scores") as refused:
        PatchScores.open(path)

    assert refused.value.code == "scores-invalid"
