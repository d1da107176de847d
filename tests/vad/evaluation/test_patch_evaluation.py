"""From maps and the truth of places to patch-level numbers, whatever the grid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vad.data.manifest import Manifest, Track, Truth, Video
from vad.errors import VadError
from vad.evaluation.patch_report import report, scored_video
from vad.evaluation.patch_scores import VideoPatches
from vad.evaluation.patch_set import PatchSet
from vad.evaluation.patch_truth import (
    PatchRule,
    patch_boxes,
    patch_masks,
    truth_from_masks,
    truth_from_tracks,
)
from vad.places import read_places
from vad.timeline import SnippetRule

WIDE = PatchRule(rows=2, columns=5, cell=16, grow=0.0)  # 80 x 32 pixels
VIDEO = Video(key="a", split="test", label=1, num_frames=40, width=160, height=96)
NORMAL = Video(key="n", split="test", label=0, num_frames=40, width=160, height=96)


def box(start: int, end: int, *corners: float) -> Track:
    return Track(start_frame=start, end_frame=end, keyframes=((start, *corners),))


def patches(maps: np.ndarray, frames: list[int], key: str = "a") -> VideoPatches:
    return VideoPatches(
        key=key,
        maps=maps.astype(np.float32),
        kept=np.ones(maps.shape, dtype=bool),
        stage1=np.zeros(len(maps), dtype=np.float32),
        stage2=maps.max(axis=(1, 2)).astype(np.float32),
        frames=np.array(frames, dtype=np.int64),
    )


def test_a_grid_need_not_be_square():
    # the right half of the lower row: 80 to 160 of 160, 48 to 96 of 96 pixels
    truth = truth_from_tracks(VIDEO, Truth(tracks=(box(0, 40, 80, 48, 160, 96),)), WIDE)

    assert truth.boxes.tolist() == [[40, 16, 80, 32]]
    assert np.flatnonzero(truth.masks[0]).tolist() == [7, 8, 9]
    assert patch_boxes(truth.masks, WIDE).tolist() == [[32, 16, 80, 32]]


def test_a_mask_marks_the_same_patches_as_the_box_around_it():
    mask = np.zeros((96, 160), dtype=bool)
    mask[48:, 80:] = True

    masked = truth_from_masks([mask] * 40, VIDEO, WIDE)
    boxed = truth_from_tracks(VIDEO, Truth(tracks=(box(0, 40, 80, 48, 160, 96),)), WIDE)

    np.testing.assert_array_equal(masked.masks, boxed.masks)
    np.testing.assert_array_equal(masked.boxes, boxed.boxes)


@pytest.mark.parametrize("seed", range(4))
def test_patches_of_any_grid_are_marked_by_their_share(seed: int):
    rng = np.random.default_rng(seed)
    rule = PatchRule(
        rows=int(rng.integers(1, 6)), columns=int(rng.integers(1, 6)), cell=4, grow=1.0, overlap=0.5
    )
    x = np.sort(rng.uniform(0, rule.width, 2))
    y = np.sort(rng.uniform(0, rule.height, 2))

    marked = patch_masks(np.array([[x[0], y[0], x[1], y[1]]]), rule)[0]

    for cell, found in enumerate(marked):
        row, column = divmod(cell, rule.columns)
        width = min(x[1] + 1, column * 4 + 4) - max(x[0] - 1, column * 4)
        height = min(y[1] + 1, row * 4 + 4) - max(y[0] - 1, row * 4)
        assert found == (max(width, 0) * max(height, 0) / 16 >= 0.5)


@pytest.mark.parametrize(
    ("frames", "bounds"), [(40, [0, 4, 9, 40]), (6, [0, 4, 6]), (48, [0, 4, 9, 40, 48])]
)
def test_truth_is_cut_or_ends_where_the_scores_end(frames, bounds):
    truth = truth_from_tracks(VIDEO, Truth(tracks=(box(4, 9, 0, 0, 160, 96),)), WIDE)

    found = truth.fitted(frames)

    assert found.bounds.tolist() == bounds
    assert found.masks[1].all()
    assert not found.located[2:].any()


def test_the_tubelets_of_a_snippet_are_merged_by_their_highest_patch():
    maps = np.zeros((2, 2, 10))
    maps[0, 0, 1], maps[0, 1, 1], maps[1, 0, 4] = 0.2, 0.7, 0.5
    truth = truth_from_tracks(VIDEO, Truth(), WIDE)

    found = scored_video(
        VIDEO, truth, (), patches(maps, [16, 24]), np.ones(2, np.float32), rule=SnippetRule()
    )

    assert found.bounds.tolist() == [0, 16, 40]
    assert found.maps[:, [1, 4]].tolist() == [[np.float32(0.7), 0], [0, 0.5]]


@pytest.mark.parametrize(
    ("rule", "frames", "bounds"),
    [
        (SnippetRule(), [16, 24], [0, 8, 16, 24, 40]),  # the tail keeps the last map
        (SnippetRule(), [16, 0], [0, 8, 16, 16, 16]),
        (SnippetRule("stretch"), [20, 20], [0, 10, 20, 30, 40]),
    ],
)
def test_each_tubelet_may_have_its_own_frames(rule, frames, bounds):
    video = dataclasses.replace(VIDEO, num_frames=sum(frames))
    maps = np.arange(40).reshape(2, 2, 10) / 40

    found = scored_video(
        video,
        truth_from_tracks(video, Truth(), WIDE),
        (),
        patches(maps, frames),
        np.array([0.25, 0.5], np.float32),
        rule=rule,
        merge="each",
    )

    assert found.bounds.tolist() == bounds
    assert found.frame_scores.tolist() == [0.25, 0.25, 0.5, 0.5]
    np.testing.assert_allclose(found.maps, maps.reshape(4, 10))


def test_the_frame_score_gates_the_patches():
    truth = truth_from_tracks(VIDEO, Truth(tracks=(box(0, 20, 0, 0, 32, 48),)), WIDE)
    maps = np.full((2, 1, 10), 0.9)
    maps[0, 0, 0] = 1.0

    def areas(*gate: float) -> tuple[float, float]:
        scored = scored_video(
            VIDEO,
            truth,
            (),
            patches(maps, [20, 20]),
            np.array(gate, np.float32),
            rule=SnippetRule("stretch"),
        )
        found = report(PatchSet(videos=(scored,)), samples=0, seed=0)["metrics"]
        return found["patch_ap_step"], found["patch_ap_step_ungated"]

    assert areas(1, 1) == (1.0, 1.0)
    assert areas(0.1, 1) == (pytest.approx(1 / 11), 1.0)


def test_a_report_has_a_row_for_each_video():
    truth = truth_from_tracks(VIDEO, Truth(tracks=(box(0, 10, 0, 0, 32, 48),)), WIDE)
    maps = np.zeros((2, 1, 10))
    maps[0, 0, 0] = 1.0
    gate = np.ones(2, np.float32)
    rule = SnippetRule("stretch")
    videos = (
        scored_video(VIDEO, truth, (), patches(maps, [20, 20]), gate, rule=rule),
        scored_video(
            NORMAL,
            truth_from_tracks(NORMAL, Truth(), WIDE),
            (),
            patches(maps, [20, 20], "n"),
            gate,
            rule=rule,
        ),
    )

    found = report(PatchSet(videos=videos), samples=10, seed=0)

    assert [row["key"] for row in found["per_video"]] == ["a", "n"]
    assert found["per_video"][0]["frames_with_box"] == 10
    assert found["per_video"][0]["patch_auc"] == pytest.approx(1 - 10 / 390 / 2)
    assert found["per_video"][1]["patch_auc"] is None
    assert (found["videos"], found["frames"]) == (2, 80)


def mask_version(folder: Path, filled: dict[str, np.ndarray]) -> tuple[Manifest, dict[str, Truth]]:
    """A data set whose truth is a folder of masks for some videos."""
    truth = {}
    for key, masks in filled.items():
        (folder / key).mkdir()
        for number, mask in enumerate(masks):
            image = Image.fromarray((mask * 255).astype(np.uint8))
            image.save(folder / key / f"{number:03d}.png")
        truth[key] = Truth(masks=key)
    videos = (
        dataclasses.replace(VIDEO, num_frames=3, width=10, height=4),
        dataclasses.replace(VIDEO, key="b", num_frames=3, width=10, height=4),
        dataclasses.replace(NORMAL, num_frames=3, width=10, height=4),
    )
    manifest = Manifest(name="m", format="generic", videos=videos, media_root=str(folder))
    return manifest, truth


def test_masks_are_read_below_the_media_folder_and_their_absence_is_counted(tmp_path: Path):
    masks = np.zeros((3, 4, 10), dtype=bool)
    masks[1, 2:, 8:] = True
    manifest, truth = mask_version(tmp_path, {"a": masks})

    found = read_places(manifest, manifest.videos, truth, dict.fromkeys("abn", 5), WIDE)

    assert list(found.videos) == ["a", "n"]
    assert found.unlocated == ("b",)
    place = found.videos["a"]
    assert place.truth.bounds.tolist() == [0, 1, 2, 3, 5]
    assert np.flatnonzero(place.truth.masks[1]).tolist() == [9]
    assert place.video.num_frames == 5


def test_changed_masks_change_what_the_fingerprint_is_made_of(tmp_path: Path):
    masks = np.zeros((3, 4, 10), dtype=bool)
    contents = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        masks[number, 0, 0] = True
        manifest, truth = mask_version(folder, {"a": masks})
        found = read_places(manifest, manifest.videos, truth, dict.fromkeys("abn", 3), WIDE)
        contents.append(found.videos["a"].content)

    assert contents[0] != contents[1]


def test_without_any_place_nothing_is_read(tmp_path: Path):
    manifest, _ = mask_version(tmp_path, {})
    truth = {"n": Truth(masks="not there")}

    found = read_places(manifest, manifest.videos, truth, dict.fromkeys("abn", 3), WIDE)

    assert (dict(found.videos), found.unlocated) == ({}, ("a", "b"))


def test_masks_that_do_not_fit_their_video_stop_the_evaluation(tmp_path: Path):
    manifest, truth = mask_version(tmp_path, {"a": np.zeros((2, 4, 10), dtype=bool)})

    with pytest.raises(VadError, match="holds 2 masks, a has 3 frames") as refused:
        read_places(manifest, manifest.videos, truth, dict.fromkeys("abn", 3), WIDE)

    assert refused.value.code == "annotation-invalid"
