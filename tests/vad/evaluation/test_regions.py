"""Regions of patch maps, RBDC and TBDC; a loop over detections one by one is the judge."""

from __future__ import annotations

import numpy as np
import pytest

from vad.data.manifest import Track, Video
from vad.errors import VadError
from vad.evaluation.components import components, patch_regions
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.regions import Detections, TrueRegions, region_curve, true_regions

CLOSE = {"abs": 1e-9, "rel": 0}
RULE = PatchRule()
VIDEO = Video(key="a", split="test", label=1, num_frames=50, width=128, height=128)
HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def found(*rows: tuple) -> Detections:
    """(video, start, end, box, score) each."""
    return Detections(
        videos=np.array([r[0] for r in rows], dtype=np.int64),
        starts=np.array([r[1] for r in rows], dtype=np.int64),
        ends=np.array([r[2] for r in rows], dtype=np.int64),
        boxes=np.array([r[3] for r in rows], dtype=np.float64).reshape(-1, 4),
        scores=np.array([r[4] for r in rows], dtype=np.float64),
    )


def true(*rows: tuple) -> TrueRegions:
    """(video, track, frame, box) each."""
    return TrueRegions(
        videos=np.array([r[0] for r in rows], dtype=np.int64),
        tracks=np.array([r[1] for r in rows], dtype=np.int64),
        frames=np.array([r[2] for r in rows], dtype=np.int64),
        boxes=np.array([r[3] for r in rows], dtype=np.float64).reshape(-1, 4),
    )


def areas_one_by_one(
    detections: Detections, truth: TrueRegions, num_frames: int, alpha: float, beta: float
) -> tuple[float, float]:
    """The published procedure, on detections expanded to single frames."""
    single = [
        (detections.scores[d], detections.videos[d], frame, detections.boxes[d])
        for d in range(len(detections.scores))
        for frame in range(detections.starts[d], detections.ends[d])
    ]
    tracks = list(zip(truth.videos.tolist(), truth.tracks.tolist(), strict=True))
    hit = np.zeros(len(tracks), dtype=bool)
    false = 0
    curve = [(0.0, 0.0, 0.0)]
    for score in sorted({s[0] for s in single}, reverse=True):
        for _, video, frame, box in (s for s in single if s[0] == score):
            matched = False
            for m in np.flatnonzero((truth.videos == video) & (truth.frames == frame)):
                other = truth.boxes[m]
                w = max(0, min(box[2], other[2]) - max(box[0], other[0]))
                h = max(0, min(box[3], other[3]) - max(box[1], other[1]))
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
                if w * h / (sum(areas) - w * h) >= beta:
                    hit[m] = matched = True
            false += not matched
        rates = [np.mean(hit[[t == name for t in tracks]]) >= alpha for name in set(tracks)]
        curve.append((false / num_frames, hit.mean(), np.mean(rates)))
    x, region, track = np.array(curve).T
    grid = np.append(x[x <= 1], 1.0)
    return tuple(
        float(np.trapezoid(np.append(y[x <= 1], np.interp(1.0, x, y)), grid))
        for y in (region, track)
    )


@pytest.mark.parametrize("seed", range(12))
def test_areas_equal_the_procedure_one_detection_and_frame_at_a_time(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr("vad.evaluation.regions.PAIRS_AT_ONCE", 5)

    def box() -> np.ndarray:
        corner = rng.integers(0, 30, 2)
        return np.concatenate([corner, corner + rng.integers(1, 25, 2)])

    truth = true(
        *(
            (int(rng.integers(0, 2)), int(rng.integers(0, 3)), int(rng.integers(0, 12)), box())
            for _ in range(20)
        )
    )
    rows = []
    for _ in range(15):
        start = int(rng.integers(0, 12))
        score = int(rng.integers(0, 4)) / 4
        rows.append((int(rng.integers(0, 3)), start, start + int(rng.integers(0, 5)), box(), score))
    settings = {"alpha": 0.3, "beta": 0.2}

    curve = region_curve(found(*rows), truth, num_frames=25, **settings)

    expected = areas_one_by_one(found(*rows), truth, 25, **settings)
    assert (curve.rbdc, curve.tbdc) == pytest.approx(expected, **CLOSE)


def test_a_region_counts_once_and_a_track_needs_its_share_of_regions():
    truth = true(*((0, 0, frame, HERE) for frame in range(20)), (0, 1, 0, THERE))
    detections = found((0, 0, 1, HERE, 0.9), (0, 0, 1, HERE, 0.8), (0, 1, 2, HERE, 0.7))

    curve = region_curve(detections, truth, num_frames=20)

    assert curve.region_rate.tolist() == pytest.approx([1 / 21, 1 / 21, 2 / 21])
    assert curve.track_rate.tolist() == [0.0, 0.0, 0.5]  # 2 of 20 are 10 %
    assert curve.false_positives.tolist() == [0.0, 0.0, 0.0]
    assert (curve.rbdc, curve.tbdc) == pytest.approx((2 / 21, 0.5))


def test_what_is_found_after_a_false_positive_a_frame_does_not_count():
    truth = true((0, 0, 0, HERE))
    late = found((0, 5, 15, THERE, 0.9), (0, 0, 1, HERE, 0.5))
    half = found((0, 5, 10, THERE, 0.9), (0, 0, 1, HERE, 0.5))

    assert region_curve(late, truth, num_frames=10).rbdc == 0.0
    assert region_curve(half, truth, num_frames=10).rbdc == pytest.approx(0.5)


def test_a_still_detection_is_false_only_on_the_frames_that_it_misses():
    truth = true((0, 0, 3, HERE), (0, 0, 4, THERE), (1, 0, 5, HERE))

    curve = region_curve(found((0, 0, 16, HERE, 0.9)), truth, num_frames=32)

    assert curve.false_positives.tolist() == [15 / 32]
    assert curve.region_rate.tolist() == [pytest.approx(1 / 3)]


def test_without_detections_both_areas_are_zero():
    curve = region_curve(found(), true((0, 0, 0, HERE)), num_frames=10)

    assert (curve.rbdc, curve.tbdc) == (0.0, 0.0)


def test_without_true_regions_or_frames_there_is_no_rate():
    for truth, frames in ((true(), 10), (true((0, 0, 0, HERE)), 0)):
        with pytest.raises(VadError) as refused:
            region_curve(found(), truth, num_frames=frames)
        assert refused.value.code == "evaluation-impossible"


@pytest.mark.parametrize("setting", [{"alpha": 0.0}, {"beta": 0.0}, {"alpha": 1.5}])
def test_shares_that_anything_or_nothing_reaches_are_refused(setting):
    with pytest.raises(ValueError):
        region_curve(found(), true((0, 0, 0, HERE)), num_frames=1, **setting)


@pytest.mark.parametrize("row", [(0, 0, 1, HERE, float("nan")), (0, 2, 1, HERE, 0.5)])
def test_detections_that_are_no_numbers_or_reversed_are_refused(row):
    with pytest.raises(VadError) as refused:
        found(row)
    assert refused.value.code == "scores-invalid"


def test_columns_of_different_lengths_are_refused():
    one = np.zeros(1, dtype=np.int64)
    for boxes, frames in ((np.zeros((1, 3)), one), (np.zeros((1, 4)), np.zeros(2, np.int64))):
        with pytest.raises(VadError) as refused:
            TrueRegions(videos=one, tracks=one, frames=frames, boxes=boxes)
        assert refused.value.code == "shape-mismatch"


def test_components_join_sides_but_not_corners():
    marked = np.array([[[1, 1, 0], [0, 0, 1], [1, 0, 1]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]]], bool)

    labels = components(marked)

    assert labels[0].tolist() == [[2, 2, 0], [0, 0, 9], [7, 0, 9]]
    assert labels[1].max() == 5


def test_a_component_that_winds_through_the_whole_map_is_one():
    marked = np.ones((1, 9, 9), bool)
    marked[0, 1::4, :-1] = marked[0, 3::4, 1:] = False

    assert set(np.unique(components(marked))) == {0, 81}


@pytest.mark.parametrize("seed", range(5))
def test_components_equal_a_flood_fill(seed):
    marked = np.random.default_rng(seed).random((6, 8, 8)) < 0.55
    expected = np.zeros(marked.shape, int)
    for m, row, column in np.argwhere(marked)[::-1]:
        waiting, root = [(row, column)], 1 + row * 8 + column
        while waiting:
            y, x = waiting.pop()
            if 0 <= y < 8 and 0 <= x < 8 and marked[m, y, x] and not expected[m, y, x]:
                expected[m, y, x] = root
                waiting += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]

    np.testing.assert_array_equal(components(marked), expected)


def test_regions_of_each_threshold_carry_their_highest_score_and_repeat_no_set_of_patches():
    grid = np.zeros((8, 8), np.float32)
    grid[0, 0], grid[0, 1], grid[5, 6] = 0.9, 0.4, 0.7
    maps = np.stack([grid, np.zeros((8, 8), np.float32), grid]).reshape(3, 64)

    regions = patch_regions(maps, np.array([0, 16, 32, 32]), (0.8, 0.6, 0.3), position=4, rule=RULE)

    rows = sorted(zip(regions.scores.tolist(), regions.boxes.tolist(), strict=True))
    assert rows == [
        (pytest.approx(0.7), [96, 80, 112, 96]),
        (pytest.approx(0.9), [0, 0, 16, 16]),
        (pytest.approx(0.9), [0, 0, 32, 16]),
    ]
    assert set(regions.videos) == {4}
    assert (set(regions.starts), set(regions.ends)) == ({0}, {16})  # the last map covers no frame


def test_a_region_that_grows_backwards_is_another_region():
    grid = np.zeros((8, 8), np.float32)
    grid[0, 0], grid[0, 1] = 0.4, 0.9

    regions = patch_regions(
        grid.reshape(1, 64), np.array([0, 16]), (0.8, 0.7, 0.3), position=0, rule=RULE
    )

    assert sorted(regions.boxes.tolist()) == [[0, 0, 32, 16], [16, 0, 32, 16]]


def test_maps_without_any_score_have_no_region():
    assert (
        len(patch_regions(np.zeros((2, 64)), np.arange(3), (0.5,), position=0, rule=RULE).scores)
        == 0
    )


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.0)])
def test_a_threshold_that_everything_reaches_is_refused(thresholds):
    with pytest.raises(ValueError):
        patch_regions(np.zeros((1, 64)), np.arange(2), thresholds, position=0, rule=RULE)


@pytest.mark.parametrize("maps, bounds", [((2, 63), 3), ((2, 64), 2)])
def test_maps_that_do_not_fit_the_grid_or_the_bounds_are_refused(maps, bounds):
    with pytest.raises(VadError) as refused:
        patch_regions(np.zeros(maps), np.arange(bounds), (0.5,), position=0, rule=RULE)
    assert refused.value.code == "shape-mismatch"


def track(start: int, end: int, *keyframes: tuple[float, ...]) -> Track:
    return Track(start_frame=start, end_frame=end, keyframes=keyframes)


def test_boxes_that_follow_one_another_in_place_are_one_track():
    tracks = (
        track(0, 5, (0, *HERE)),
        track(5, 8, (5, *HERE)),  # starts on the next frame
        track(7, 9, (7, *HERE)),  # starts on the last frame
        track(9, 12, (9, *THERE)),  # elsewhere
        track(20, 22, (20, *HERE)),  # later
        track(1, 4, (1, *HERE)),  # at the same time
    )

    regions = true_regions(tracks, VIDEO, position=3, rule=RULE)

    names = regions.tracks
    lengths = sorted(np.unique(names, return_counts=True)[1].tolist())
    assert lengths == [2, 3, 3, 10]
    assert set(regions.videos) == {3}
    assert len(regions.frames) == 5 + 3 + 2 + 3 + 2 + 3


def test_true_regions_follow_the_box_and_leave_out_frames_where_it_is_outside():
    leaving = track(46, 60, (46, 100, 0, 120, 10), (49, 130, 0, 150, 10))

    regions = true_regions((leaving,), VIDEO, position=0, rule=RULE)

    assert regions.frames.tolist() == [46, 47, 48]
    assert regions.boxes[:, 0].tolist() == [100, 110, 120]
    assert regions.boxes[:, 2].tolist() == [120, 128, 128]


def test_a_video_without_boxes_has_no_true_region():
    assert len(true_regions((), VIDEO, position=0, rule=RULE).boxes) == 0
