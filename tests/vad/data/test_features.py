"""The feature store: resampling, packing, streaming, the derived segments, and damaged input."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Video
from vad.data.packing import pack_npy
from vad.data.segments import resample, segment_bounds
from vad.errors import ShapeError, VadError
from vad.timeline import SnippetRule

RULE = SnippetRule()


def manifest(*keys: str, num_frames: int = 0) -> Manifest:
    videos = tuple(Video(key=key, split="train", label=0, num_frames=num_frames) for key in keys)
    return Manifest(name="m", format="generic", videos=videos)


def write(folder: Path, features: dict[str, np.ndarray], dtype: type = np.float32) -> FeatureStore:
    dim = next(iter(features.values())).shape[-1]
    with StoreWriter(folder, dim=dim, dtype=dtype, rule=RULE, extractor="test") as writer:
        for key, array in features.items():
            writer.add(key, array)
        return writer.close()


def rows(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(st.integers(1, 200_000), st.integers(1, 400))
def test_bounds_run_from_0_to_the_end_and_never_fall(snippets, segments):
    bounds = segment_bounds(snippets, segments)

    assert bounds.dtype == np.int64
    assert bounds[0] == 0 and bounds[-1] == snippets
    assert (np.diff(bounds) >= 0).all()


def test_bounds_do_not_wrap_around_beyond_16_bits():
    assert segment_bounds(70_000, 8)[-1] == 70_000


@given(st.integers(1, 60), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_a_segment_is_the_mean_of_its_rows_or_the_row_at_its_start(snippets, segments):
    features, bounds = rows(0, snippets, 3), segment_bounds(snippets, segments)

    result = resample(features, segments)

    for i, (a, b) in enumerate(pairwise(bounds)):
        expected = features[a:b].mean(axis=0) if b > a else features[a]
        np.testing.assert_allclose(result[i], expected, atol=1e-6)


@given(st.integers(1, 40), st.integers(1, 5))
@settings(deadline=None)
def test_when_segments_divide_the_snippets_their_mean_is_the_videos_mean(segments, times):
    features = rows(1, segments * times, 4)

    np.testing.assert_allclose(
        resample(features, segments).mean(axis=0), features.mean(axis=0), atol=1e-5
    )


def test_resampling_is_that_of_the_reference_vectors(shared):
    vectors = np.load(shared / "reference" / "vectors" / "segments.npz")
    for name in (n for n in vectors.files if n.endswith("_out")):
        snippets, segments, _ = name.split("_")
        given_rows = vectors[f"{snippets}_in"]
        count = int(segments.removeprefix("S"))

        assert (segment_bounds(len(given_rows), count) == vectors[f"{name[:-4]}_bounds"]).all()
        np.testing.assert_allclose(resample(given_rows, count), vectors[name], atol=1e-6)


def test_an_empty_video_cannot_be_resampled():
    with pytest.raises(ShapeError, match="at least 1"):
        resample(np.zeros((0, 4), np.float32), 8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_was_written_comes_back_in_its_dtype(tmp_path, dtype):
    given_rows = {"b": rows(1, 2, 5, 4).astype(dtype), "a": rows(2, 1, 3, 4).astype(dtype)}

    store = write(tmp_path / "features", given_rows, dtype)

    assert store.keys() == ("b", "a") and store.dtype == dtype
    for key, array in given_rows.items():
        assert (store.get(key) == array).all()
        assert store.shape(key) == array.shape


def test_the_safetensors_library_reads_the_file(tmp_path):
    array = rows(3, 7, 4)
    write(tmp_path / "features", {"a": array})

    with safe_open(tmp_path / "features" / "features.safetensors", "np") as file:
        assert (file.get_tensor("data") == array).all()


def test_a_view_of_the_store_cannot_be_written(tmp_path):
    store = write(tmp_path / "features", {"a": rows(4, 3, 2)})

    with pytest.raises(ValueError, match="read-only"):
        store.get("a")[0, 0, 0] = 1


def test_the_fingerprint_does_not_depend_on_the_order_and_does_on_a_number(tmp_path):
    one, two = rows(5, 3, 2), rows(6, 4, 2)
    first = write(tmp_path / "1", {"a": one, "b": two})
    again = write(tmp_path / "2", {"b": two, "a": one})
    other = write(tmp_path / "3", {"a": one + 1e-6, "b": two})

    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with (
        pytest.raises(RuntimeError),
        StoreWriter(tmp_path / "features", dim=2, rule=RULE, extractor="t") as writer,
    ):
        writer.add("a", rows(7, 3, 2))
        raise RuntimeError("killed")

    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_written_over_something_else(tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "thesis.txt").write_text("mine")

    with pytest.raises(VadError, match="not empty"):
        StoreWriter(tmp_path / "features", dim=2, rule=RULE, extractor="t")


@pytest.mark.parametrize(
    ("array", "said"),
    [(rows(8, 3, 3), "expected"), (np.full((3, 2), np.nan, np.float32), "not a number")],
)
def test_rows_that_do_not_fit_are_refused_by_key(tmp_path, array, said):
    with (
        pytest.raises(VadError, match=said) as error,
        StoreWriter(tmp_path / "features", dim=2, rule=RULE, extractor="t") as writer,
    ):
        writer.add("lobby_03", array)

    assert "lobby_03" in error.value.message


def test_a_missing_video_is_named(tmp_path):
    store = write(tmp_path / "features", {"a": rows(9, 3, 2)})

    with pytest.raises(VadError, match="lobby_03") as error:
        store.get("lobby_03")

    assert error.value.code == "features-missing"


@pytest.mark.parametrize("part", ["features.json", "features.safetensors"])
def test_a_damaged_part_is_named(tmp_path, part):
    write(tmp_path / "features", {"a": rows(10, 30, 8)})
    path = tmp_path / "features" / part
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(VadError, match=part) as error:
        FeatureStore.open(tmp_path / "features")

    assert error.value.code == "features-invalid"


def test_segments_are_made_once_and_are_the_resampled_crops(tmp_path):
    store = write(tmp_path / "features", {"a": rows(11, 2, 9, 3), "b": rows(12, 1, 4, 3)})

    made = store.segments(5)
    file = tmp_path / "features" / "segments-5.safetensors"
    written_ns = file.stat().st_mtime_ns
    again = FeatureStore.open(tmp_path / "features").segments(5)

    assert made.keys == ("a", "a", "b") and list(made.crops) == [0, 1, 0]
    np.testing.assert_allclose(made.data[1], resample(store.get("a")[1], 5), atol=1e-6)
    assert (again.data == made.data).all() and file.stat().st_mtime_ns == written_ns
    assert list(made.items_of(["b", "a"])) == [2, 0, 1]


def test_segments_of_another_store_are_made_anew(tmp_path):
    write(tmp_path / "1", {"a": rows(13, 9, 3)}).segments(4)
    store = write(tmp_path / "2", {"a": rows(14, 9, 3)})
    old = tmp_path / "1" / "segments-4.safetensors"
    (tmp_path / "2" / old.name).write_bytes(old.read_bytes())

    np.testing.assert_allclose(store.segments(4).data[0], resample(store.get("a")[0], 4))


def test_segments_work_where_nothing_can_be_written(tmp_path, monkeypatch):
    store = write(tmp_path / "features", {"a": rows(15, 9, 3)})

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vad.data.features.TensorWriter", refuse)

    np.testing.assert_allclose(store.segments(4).data[0], resample(store.get("a")[0], 4))
    assert not (tmp_path / "features" / "segments-4.safetensors").exists()


@pytest.mark.parametrize(
    ("crop_axis", "arrays", "expected"),
    [
        ("none", {"v": (6, 4)}, (1, 6, 4)),
        ("first", {"v": (2, 6, 4)}, (2, 6, 4)),
        ("second", {"v": (6, 2, 4)}, (2, 6, 4)),
        ("files", {"v__0": (6, 4), "v__1": (6, 4)}, (2, 6, 4)),
    ],
)
def test_published_layouts_come_to_the_same_store(tmp_path, crop_axis, arrays, expected):
    whole = rows(16, 2, 6, 4)[: expected[0]]
    for i, (name, shape) in enumerate(arrays.items()):
        part = whole if len(shape) == 3 else whole[i]
        part = part.transpose(1, 0, 2) if crop_axis == "second" else part
        np.save(tmp_path / f"{name}.npy", part.reshape(shape))

    store = pack_npy(tmp_path, manifest("v"), tmp_path / "f", rule=RULE, crop_axis=crop_axis)

    assert store.shape("v") == expected
    assert (store.get("v") == whole).all()


def test_files_written_column_by_column_are_read_right(tmp_path):
    array = rows(17, 6, 4)
    np.save(tmp_path / "v.npy", np.asfortranarray(array))

    store = pack_npy(tmp_path, manifest("v"), tmp_path / "f", rule=RULE)

    assert (store.get("v")[0] == array).all()


def test_all_faults_of_all_files_are_listed_at_once_and_nothing_is_left(tmp_path):
    source = tmp_path / "npy"
    (source / "sub").mkdir(parents=True)
    good = rows(18, 6, 4)
    for name in ("good1", "good2", "good3", "twice"):
        np.save(source / f"{name}.npy", good)
    np.save(source / "sub" / "twice.npy", good)
    np.save(source / "wide.npy", rows(19, 6, 5))
    np.save(source / "deep.npy", rows(20, 2, 6, 4))
    np.save(source / "whole.npy", np.zeros((6, 4), np.int64))
    np.save(source / "empty.npy", np.zeros((0, 4), np.float32))
    np.save(source / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (source / "pickled.npy").write_bytes(pickle.dumps(good))
    bad = good.copy()
    bad[2, 1] = np.nan
    np.save(source / "nan.npy", bad)
    whole = (source / "good1.npy").read_bytes()
    (source / "cut.npy").write_bytes(whole[:-8])
    (source / "head.npy").write_bytes(whole[:20])
    keys = [p.stem for p in source.glob("*.npy")] + ["absent"]

    with pytest.raises(VadError) as error:
        pack_npy(source, manifest(*keys), tmp_path / "f", rule=RULE)

    found = "\n".join(error.value.problems)
    assert error.value.code == "features-invalid"
    for name, said in {
        "twice": "same name",
        "wide": "5 numbers per snippet, expected 4",
        "deep": "expected [T, D]",
        "whole": "int64",
        "empty": "an axis is empty",
        "objects": "pickled",
        "pickled": "not a .npy file",
        "nan": "first in snippet 2",
        "cut": "cut off",
        "head": "cut off",
        "absent": "missing",
    }.items():
        assert any(name in p and said in p for p in error.value.problems), (name, found)
    assert not any("good" in p for p in error.value.problems), found
    assert sorted(p.name for p in tmp_path.iterdir()) == ["npy"]


def test_a_pickle_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path(tmp_path / "sprung").write_text, ("",))

    array = np.array([Trap()], dtype=object)
    np.save(tmp_path / "v.npy", array, allow_pickle=True)

    with pytest.raises(VadError, match="never loaded"):
        pack_npy(tmp_path, manifest("v"), tmp_path / "f", rule=RULE)

    assert not (tmp_path / "sprung").exists()


def test_a_header_that_promises_terabytes_is_refused_without_reading(tmp_path):
    head = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 64)}
    with (tmp_path / "v.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)

    with pytest.raises(VadError, match="cut off"):
        pack_npy(tmp_path, manifest("v"), tmp_path / "f", rule=RULE)


def test_only_missing_files_are_said_to_be_missing(tmp_path):
    np.save(tmp_path / "a.npy", rows(21, 6, 4))

    with pytest.raises(VadError) as error:
        pack_npy(tmp_path, manifest("a", "b"), tmp_path / "f", rule=RULE)
    store = pack_npy(tmp_path, manifest("a", "b"), tmp_path / "f", rule=RULE, allow_missing=True)

    assert error.value.code == "features-missing" and error.value.problems == ("b.npy: missing",)
    assert store.missing(["a", "b"]) == ["b"]


def test_a_length_that_does_not_fit_the_frames_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", rows(22, 6, 4))

    with pytest.raises(VadError, match="6 snippets, which does not fit the video's 200 frames"):
        pack_npy(tmp_path, manifest("a", num_frames=200), tmp_path / "f", rule=RULE)


def test_the_summary_is_plain_json(tmp_path):
    summary = write(tmp_path / "features", {"a": rows(23, 2, 5, 4)}).summary()

    assert json.loads(json.dumps(summary)) == summary
    assert (summary["videos"], summary["snippets"], summary["rows"]) == (1, 5, 10)
