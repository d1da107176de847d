"""Patch truth from boxes over time and from masks."""

from __future__ import annotations

import numpy as np
import pytest

from vad.data.manifest import Track, Truth, Video
from vad.errors import VadError
from vad.evaluation.patch_truth import (
    PatchRule,
    PatchTruth,
    patch_masks,
    truth_from_masks,
    truth_from_tracks,
)

RULE = PatchRule()  # 8 x 8 patches of 16 pixels
VIDEO = Video(key="a", split="test", label=1, num_frames=20, width=320, height=240)


def marked(masks: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) of the marked patches of one frame."""
    return [divmod(int(cell), RULE.columns) for cell in np.flatnonzero(masks)]


def track(start: int, end: int, *keyframes: tuple[float, ...]) -> Track:
    return Track(start_frame=start, end_frame=end, keyframes=keyframes)


def test_a_box_is_scaled_grown_and_needs_a_quarter_of_a_patch():
    # 40 x 30 pixels of 320 x 240 are one patch of 16 x 16. Grown by 5 it covers 5/16 = 0.31 of
    # each neighbour, and (5/16)^2 = 0.10 of those at its corners.
    truth = truth_from_tracks(VIDEO, Truth(tracks=(track(0, 20, (0, 40, 30, 80, 60)),)))

    assert marked(truth.masks[0]) == [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
    assert truth.boxes.tolist() == [[16, 16, 32, 32]]


@pytest.mark.parametrize("overlap, count", [(0.1, 5), (0.09, 9), (0.32, 1), (1.0, 1)])
def test_a_higher_overlap_marks_fewer_patches(overlap, count):
    rule = PatchRule(overlap=overlap)

    assert patch_masks(np.array([[16.0, 16, 32, 32]]), rule).sum() == count


def test_a_still_box_makes_as_few_runs_as_possible_and_frames_without_a_box_are_not_located():
    truth = truth_from_tracks(
        VIDEO, Truth(tracks=(track(5, 9, (5, 0, 0, 80, 60), (8, 0, 0, 80, 60)),))
    )

    assert truth.bounds.tolist() == [0, 5, 9, 20]
    assert truth.located.tolist() == [False, True, False]
    assert truth.masks.any(axis=1).tolist() == [False, True, False]


def test_corners_move_linearly_between_keyframes_and_hold_outside_them():
    moving = track(2, 9, (3, 0, 0, 40, 30), (7, 80, 0, 120, 30))

    truth = truth_from_tracks(VIDEO, Truth(tracks=(moving,)))

    left = np.repeat(truth.boxes[:, 0], np.diff(truth.bounds))
    assert left[2:9].tolist() == [0, 0, 8, 16, 24, 32, 32]
    assert np.isnan(left[[0, 1, 9, 19]]).all()


def test_several_boxes_mark_the_patches_of_any_and_share_a_hull():
    tracks = (track(0, 20, (0, 0, 0, 40, 30)), track(0, 20, (0, 280, 210, 320, 240)))

    truth = truth_from_tracks(VIDEO, Truth(tracks=tracks))

    assert marked(truth.masks[0]) == [(0, 0), (0, 1), (1, 0), (6, 7), (7, 6), (7, 7)]
    assert truth.boxes.tolist() == [[0, 0, 128, 128]]


def test_a_box_that_leaves_the_frame_is_clamped_and_one_outside_marks_nothing():
    leaving = truth_from_tracks(VIDEO, Truth(tracks=(track(0, 20, (0, 280, 210, 400, 300)),)))
    outside = truth_from_tracks(VIDEO, Truth(tracks=(track(0, 20, (0, 321, 0, 400, 240)),)))

    assert leaving.boxes.tolist() == [[112, 112, 128, 128]]
    assert not outside.located.any()
    assert not outside.masks.any()


def test_a_track_that_ends_behind_the_video_is_cut():
    truth = truth_from_tracks(VIDEO, Truth(tracks=(track(18, 30, (18, 0, 0, 40, 30)),)))

    assert truth.bounds.tolist() == [0, 18, 20]


def test_a_normal_video_needs_no_size():
    video = Video(key="n", split="test", label=0, num_frames=5)

    assert not truth_from_tracks(video, Truth()).located.any()


@pytest.mark.parametrize(
    "broken, text",
    [
        (track(5, 5, (5, 0, 0, 1, 1)), "from frame 5 to 5"),
        (track(-1, 5, (0, 0, 0, 1, 1)), "from frame -1"),
        (track(0, 5), "no keyframes"),
        (track(0, 5, (3, 0, 0, 1, 1), (3, 0, 0, 1, 1)), "do not rise"),
        (track(0, 5, (0, 2, 0, 1, 1)), "reversed"),
        (track(0, 5, (0, float("nan"), 0, 1, 1)), "not numbers"),
    ],
)
def test_a_broken_track_is_refused_by_its_number(broken, text):
    good = track(0, 5, (0, 0, 0, 1, 1))

    with pytest.raises(VadError, match=f"Box 2 of a .*{text}") as refused:
        truth_from_tracks(VIDEO, Truth(tracks=(good, broken)))

    assert refused.value.code == "annotation-invalid"


@pytest.mark.parametrize("missing", [{"num_frames": 0}, {"width": 0}, {"height": 0}])
def test_boxes_of_a_video_of_unknown_size_are_refused(missing):
    sizes = {"num_frames": 20, "width": 320, "height": 240, **missing}
    video = Video(key="a", split="test", label=1, **sizes)

    with pytest.raises(VadError, match="of a is unknown") as refused:
        truth_from_tracks(video, Truth(tracks=(track(0, 5, (0, 0, 0, 1, 1)),)))

    assert refused.value.code == "evaluation-impossible"


def test_masks_mark_patches_by_their_share_without_growing():
    video = Video(key="m", split="test", label=1, num_frames=4, width=32, height=16)
    full = np.zeros((16, 32), np.uint8)
    full[0:2, 0:4] = 255  # one patch is 2 rows of 4 pixels
    quarter = np.zeros_like(full)
    quarter[4, 8:10] = 1  # 2 of 8 pixels
    less = np.zeros_like(full)
    less[4, 8] = 1

    truth = truth_from_masks([full, full, quarter, less], video)

    assert truth.bounds.tolist() == [0, 2, 3, 4]
    assert [marked(m) for m in truth.masks] == [[(0, 0)], [(2, 2)], []]
    assert truth.boxes.tolist() == [[0, 0, 16, 16], [32, 32, 40, 40], [32, 32, 36, 40]]


def test_a_mask_is_shared_exactly_where_patches_cut_through_pixels():
    rule = PatchRule(rows=2, columns=2, overlap=0.5)
    video = Video(key="m", split="test", label=1, num_frames=1, width=3, height=2)
    mask = np.array([[1, 0, 0], [0, 1, 0]])

    truth = truth_from_masks([mask], video, rule)

    # a patch is 1.5 x 1 pixels: the first pixel is 2/3 of it, half the middle one 1/3
    assert truth.masks.tolist() == [[True, False, False, False]]


def test_a_full_mask_reaches_even_the_whole_of_a_patch():
    video = Video(key="m", split="test", label=1, num_frames=1, width=320, height=240)

    truth = truth_from_masks([np.ones((240, 320), bool)], video, PatchRule(overlap=1.0))

    assert truth.masks.all()  # rounding alone would leave all of them out


def test_empty_masks_are_not_located():
    video = Video(key="m", split="test", label=1, num_frames=2, width=8, height=8)

    truth = truth_from_masks(np.zeros((2, 8, 8), bool), video)

    assert (truth.located.tolist(), truth.bounds.tolist()) == ([False], [0, 2])


@pytest.mark.parametrize(
    "shape, code",
    [
        ((3, 240, 320), "evaluation-impossible"),
        ((20, 9, 9), "shape-mismatch"),
        ((0, 240, 320), "evaluation-impossible"),
    ],
)
def test_masks_that_do_not_fit_the_video_are_refused(shape, code):
    with pytest.raises(VadError, match=r"of a|a has") as refused:
        truth_from_masks(np.zeros(shape, bool), VIDEO)

    assert refused.value.code == code


def test_truth_of_the_wrong_shape_is_refused():
    arrays = {
        "bounds": np.array([0, 4]),
        "masks": np.zeros((1, 64), bool),
        "boxes": np.zeros((1, 4)),
    }

    for name, wrong, code in (
        ("masks", np.zeros((1, 63), bool), "shape-mismatch"),
        ("boxes", np.zeros((2, 4)), "shape-mismatch"),
        ("bounds", np.array([1, 4]), "evaluation-impossible"),
    ):
        with pytest.raises(VadError) as refused:
            PatchTruth(**{**arrays, name: wrong}, rule=RULE)
        assert refused.value.code == code


@pytest.mark.parametrize(
    "setting", [{"rows": 0}, {"columns": 0}, {"grow": -1.0}, {"overlap": 0.0}, {"overlap": 1.1}]
)
def test_a_rule_that_marks_nothing_or_everything_is_refused(setting):
    with pytest.raises(ValueError):
        PatchRule(**setting)
