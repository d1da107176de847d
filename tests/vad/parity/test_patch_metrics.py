"""Patch-level metrics and RBDC/TBDC against the numbers of the reference vectors."""

from __future__ import annotations

import numpy as np
import pytest
import vectors

from vad.data.manifest import Track, Truth, Video
from vad.evaluation.patch import Limits, patch_sweep, tiou, tiou_legacy
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.patch_truth import (
    PatchRule,
    PatchTruth,
    box_iou,
    patch_boxes,
    truth_from_tracks,
)
from vad.evaluation.regions import Detections, RegionCurve, TrueRegions, region_curve

TOLERANCE = {"abs": 1e-9, "rel": 0}


@pytest.fixture(scope="module")
def vector() -> dict[str, np.ndarray]:
    return vectors.vector("metrics")


def tracks_of(boxes: np.ndarray) -> tuple[Track, ...]:
    """One still track for every run of the same box [F, 4]; -1 is no box."""
    starts = np.flatnonzero(np.append(True, (boxes[1:] != boxes[:-1]).any(axis=1)))
    ends = np.append(starts[1:], len(boxes))
    return tuple(
        Track(start_frame=a, end_frame=b, keyframes=((a, *boxes[a].astype(float).tolist()),))
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        if boxes[a, 0] >= 0
    )


def patch_set(vector: dict[str, np.ndarray], rule: PatchRule) -> PatchSet:
    """The videos of the vector, marked by a rule; boxes are in scaled pixels already."""
    length = len(vector["p_boxes"]) // len(vector["p_patch_scores"])
    videos = []
    snippet = 0
    for v, (count, label) in enumerate(vector["p_videos"].tolist()):
        own = slice(snippet, snippet + count)
        tracks = tracks_of(vector["p_boxes"][snippet * length : (snippet + count) * length])
        video = Video(
            key=f"video-{v}",
            split="test",
            label=label,
            num_frames=count * length,
            width=rule.width,
            height=rule.height,
        )
        videos.append(
            PatchVideo(
                video=video,
                maps=vector["p_patch_scores"][own],
                frame_scores=vector["p_frame_scores"][own],
                bounds=np.arange(count + 1) * length,
                truth=truth_from_tracks(video, Truth(tracks=tracks), rule),
                tracks=tracks,
            )
        )
        snippet += count
    return PatchSet(videos=tuple(videos))


def per_frame(truth: PatchTruth, runs: np.ndarray) -> np.ndarray:
    return np.repeat(runs, np.diff(truth.bounds), axis=0)


@pytest.fixture(scope="module")
def patches(vector) -> PatchSet:
    return patch_set(vector, PatchRule(rows=int(vector["grid"]), columns=int(vector["grid"])))


@pytest.fixture(scope="module")
def limits(vector) -> Limits:
    patch, frame = vector["p_thresholds"].tolist()
    return Limits(patch=patch, frame=frame)


def test_the_patch_truth_of_every_eighth_frame_is_the_reference(vector, patches):
    masks = np.concatenate([per_frame(v.truth, v.truth.masks) for v in patches.videos])
    step = len(masks) // len(vector["p_mask_025"])

    np.testing.assert_array_equal(masks[::step], vector["p_mask_025"])


@pytest.mark.parametrize("percent", [50, 75, 100])
def test_a_stricter_overlap_marks_the_patches_of_the_reference(percent, vector):
    rule = PatchRule(rows=int(vector["grid"]), columns=int(vector["grid"]), overlap=percent / 100)
    truth = patch_set(vector, rule).videos[0].truth

    first = truth.masks[truth.located][:1]

    np.testing.assert_array_equal(first, vector[f"mask_first_box_{percent}"])


@pytest.mark.parametrize("gated", [True, False])
def test_the_patch_auc_is_the_reference(gated, vector, patches):
    expected = float(vector["pauc_gated" if gated else "pauc_raw"])

    assert patch_sweep(patches, gated=gated).auc() == pytest.approx(expected, **TOLERANCE)


def test_the_patch_pr_auc_is_the_reference(vector, patches):
    expected = float(vector["pap_gated"])

    assert patch_sweep(patches, gated=True).ap_pr_auc() == pytest.approx(expected, **TOLERANCE)


def test_the_box_iou_of_every_frame_is_the_reference(vector, patches, limits):
    found = []
    for video in patches.videos:
        at_map, at_run, frames = video.pieces
        predicted = patch_boxes(video.maps >= np.float32(limits.patch), patches.rule)
        iou = box_iou(predicted[at_map], video.truth.boxes[at_run])
        found.append(np.repeat(np.where(video.truth.located[at_run], iou, -1.0), frames))

    np.testing.assert_allclose(
        np.concatenate(found), vector["frame_iou"], rtol=0, atol=TOLERANCE["abs"]
    )


def test_tiou_is_the_reference(vector, patches, limits):
    found = tiou(patches, limits)

    assert found.value == pytest.approx(float(vector["tiou_strict"]), **TOLERANCE)
    assert found.frames == int(vector["tiou_n_strict"])


def test_the_legacy_tiou_is_the_reference(vector, patches, limits):
    found = tiou_legacy(patches, limits)

    assert found.value == pytest.approx(float(vector["tiou_reference_averaging"]), **TOLERANCE)
    assert found.frames == int(vector["tiou_n_reference"])


@pytest.fixture(scope="module")
def curve(vector) -> RegionCurve:
    """The vector's boxes name their last pixel."""
    tracks, found = vector["tracks"].astype(np.int64), vector["detections"]
    last_pixel = np.array([0, 0, 1, 1])
    frames = found[:, 1].astype(np.int64)
    return region_curve(
        Detections(
            videos=found[:, 0].astype(np.int64),
            starts=frames,
            ends=frames + 1,
            boxes=found[:, 2:6] + last_pixel,
            scores=found[:, 6],
        ),
        TrueRegions(
            videos=tracks[:, 0],
            tracks=tracks[:, 1],
            frames=tracks[:, 2],
            boxes=(tracks[:, 3:] + last_pixel).astype(np.float64),
        ),
        num_frames=int(vector["rbdc_num_frames"]),
    )


@pytest.mark.parametrize("name", ["rbdc", "tbdc"])
def test_the_region_and_track_areas_are_the_reference(name, vector, curve):
    assert getattr(curve, name) == pytest.approx(float(vector[name]), **TOLERANCE)
