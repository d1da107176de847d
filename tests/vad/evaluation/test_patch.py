"""Patch-level metrics: scikit-learn on every patch of every frame is the judge."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from vad.data.manifest import Track, Truth, Video
from vad.errors import ShapeError, VadError
from vad.evaluation.patch import (
    PATCH_METRICS,
    Limits,
    patch_iou,
    patch_metrics,
    patch_sweep,
    tiou,
    tiou_legacy,
)
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.patch_truth import PatchRule, truth_from_masks, truth_from_tracks

CLOSE = {"abs": 1e-9, "rel": 0}
SMALL = PatchRule(rows=2, columns=2, cell=16)
TIGHT = PatchRule(rows=2, columns=2, cell=16, grow=0.0)
HALF = Limits(patch=0.5, frame=0.5)
LEFT = (0.0, 0.0, 16.0, 32.0)  # the left column of the small grid, 32 x 32 pixels


def still(start: int, end: int, box: tuple[float, float, float, float]) -> Track:
    return Track(start_frame=start, end_frame=end, keyframes=((start, *box),))


def patch_video(
    maps: list[list[float]],
    frame_scores: list[float],
    lengths: list[int],
    tracks: tuple[Track, ...] = (),
    *,
    label: int = 1,
    key: str = "a",
    rule: PatchRule = SMALL,
) -> PatchVideo:
    frames = sum(lengths)
    video = Video(
        key=key, split="test", label=label, num_frames=frames, width=rule.width, height=rule.height
    )
    return PatchVideo(
        video=video,
        maps=np.array(maps, dtype=np.float32),
        frame_scores=np.array(frame_scores, dtype=np.float32),
        bounds=np.cumsum([0, *lengths]),
        truth=truth_from_tracks(video, Truth(tracks=tracks), rule),
        tracks=tracks,
    )


@st.composite
def patch_sets(draw: st.DrawFn) -> PatchSet:
    """Small sets full of ties, empty snippets, moving boxes and boxes that leave the frame."""
    videos = []
    for v in range(draw(st.integers(1, 4))):
        lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
        lengths[0] += 1
        frames = sum(lengths)
        level = st.integers(0, 3).map(lambda s: s / 3)
        label = draw(st.integers(0, 1))
        tracks = []
        for _ in range(draw(st.integers(0, 2)) * label):
            start = draw(st.integers(0, frames - 1))
            corners = st.tuples(*[st.integers(-8, 40)] * 4).map(
                lambda c: (min(c[:2]), min(c[2:]), max(c[:2]), max(c[2:]))
            )
            keyframes = ((start, *draw(corners)), (start + 3, *draw(corners)))
            end = draw(st.integers(start + 1, frames + 2))
            tracks.append(Track(start_frame=start, end_frame=end, keyframes=keyframes))
        patches = st.lists(level, min_size=4, max_size=4)
        videos.append(
            patch_video(
                [draw(patches) for _ in lengths],
                [draw(level) for _ in lengths],
                lengths,
                tuple(tracks),
                label=label,
                key=f"video-{v}",
            )
        )
    return PatchSet(videos=tuple(videos))


def overlap_by_hand(box: tuple[float, ...], cell: int, rule: PatchRule) -> float:
    """Share of a patch inside a box that is grown; the definition, one patch at a time."""
    row, column = divmod(cell, rule.columns)
    x, y, grow = column * rule.cell, row * rule.cell, rule.grow
    width = min(box[2] + grow, x + rule.cell) - max(box[0] - grow, x)
    height = min(box[3] + grow, y + rule.cell) - max(box[1] - grow, y)
    return max(width, 0) * max(height, 0) / rule.cell**2


def frames_by_hand(video: PatchVideo) -> list[tuple[np.ndarray, float, np.ndarray, list[tuple]]]:
    """Map, frame score, patch truth and boxes of every frame, without any runs."""
    rule, size = video.truth.rule, video.truth.rule.width
    rows = []
    for frame in range(video.video.num_frames):
        at = int(np.flatnonzero(video.bounds <= frame)[-1])
        boxes = []
        for track in video.tracks:
            if track.start_frame <= frame < track.end_frame:
                steps = [k[0] for k in track.keyframes]
                box = [
                    np.interp(frame, steps, [k[c] for k in track.keyframes]) for c in range(1, 5)
                ]
                box = np.clip(box, 0, size)
                if box[2] > box[0] and box[3] > box[1]:
                    boxes.append(tuple(box.tolist()))
        marked = [
            any(overlap_by_hand(box, cell, rule) >= rule.overlap for box in boxes)
            for cell in range(rule.patches)
        ]
        rows.append((video.maps[at], float(video.frame_scores[at]), np.array(marked), boxes))
    return rows


def iou_by_hand(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> float:
    if a is None or b is None:
        return 0.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(areas) - shared)


def hull(boxes: list[tuple]) -> tuple[float, ...] | None:
    if not boxes:
        return None
    columns = list(zip(*boxes, strict=True))
    return min(columns[0]), min(columns[1]), max(columns[2]), max(columns[3])


def patch_hull(marked: np.ndarray, rule: PatchRule) -> tuple[float, ...] | None:
    cells = [divmod(cell, rule.columns) for cell in np.flatnonzero(marked)]
    size = rule.cell
    return hull([(x * size, y * size, x * size + size, y * size + size) for y, x in cells])


def expanded(patches: PatchSet, *, gated: bool, located: bool) -> tuple[np.ndarray, np.ndarray]:
    """Truth and score of every patch of every frame: what the library never builds."""
    rows = [row for video in patches.videos for row in frames_by_hand(video)]
    rows = [row for row in rows if row[3] or not located]
    truth = [row[2] for row in rows]
    scores = [row[0].astype(np.float64) * (row[1] if gated else 1.0) for row in rows]
    none = np.zeros(0)
    return np.concatenate([none, *truth]).astype(int), np.concatenate([none, *scores])


@given(patches=patch_sets())
@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("gated, located", [(True, False), (False, False), (False, True)])
def test_areas_equal_scikit_learn_on_every_patch_of_every_frame(gated, located, patches):
    truth, scores = expanded(patches, gated=gated, located=located)

    sweep = patch_sweep(patches, gated=gated, located=located)

    if len(set(truth.tolist())) < 2:
        assert (sweep.auc(), sweep.ap_step(), sweep.ap_pr_auc()) == (None, None, None)
    else:
        precision, recall, _ = sk.precision_recall_curve(truth, scores)
        assert sweep.auc() == pytest.approx(sk.roc_auc_score(truth, scores), **CLOSE)
        assert sweep.ap_step() == pytest.approx(sk.average_precision_score(truth, scores), **CLOSE)
        assert sweep.ap_pr_auc() == pytest.approx(sk.auc(recall, precision), **CLOSE)


@given(patches=patch_sets())
@settings(max_examples=120, deadline=None)
def test_overlaps_equal_a_loop_over_every_frame(patches):
    strict, quantised, legacy, sets = [], [], [], []
    for video in patches.videos:
        for values, score, marked, boxes in frames_by_hand(video):
            predicted = values >= 0.5
            if marked.any():
                shared, whole = (predicted & marked).sum(), (predicted | marked).sum()
                sets.append(shared / (whole + 1e-6))
            if video.video.label == 0:
                continue
            flagged = float(score >= 0.5)
            box, true = patch_hull(predicted, SMALL), hull(boxes)
            gated = (iou_by_hand(box, true) if true else -1.0) * flagged
            if true:
                strict.append(gated)
            if gated >= 0:
                legacy.append(gated)
            if marked.any():
                quantised.append(iou_by_hand(box, patch_hull(marked, SMALL)) * flagged)

    for found, expected in (
        (tiou(patches, HALF), strict),
        (tiou(patches, HALF, quantised=True), quantised),
        (tiou_legacy(patches, HALF), legacy),
        (patch_iou(patches, HALF), sets),
    ):
        assert found.frames == len(expected)
        assert found.value == (pytest.approx(np.mean(expected), **CLOSE) if expected else None)


def test_tiou_weighs_a_snippet_by_its_frames_and_gates_it_by_its_score():
    hit = [1, 0, 1, 0]  # the left column: IoU 1
    half = [1, 0, 0, 0]  # its upper patch: IoU 0.5
    patches = PatchSet(
        videos=(
            patch_video(
                [hit, half, hit, hit], [0.9, 0.9, 0.1, 0.9], [1, 2, 4, 8], (still(0, 7, LEFT),)
            ),
            patch_video([hit], [0.9], [100], label=0, key="b"),
        )
    )

    found = tiou(patches, HALF)

    # frame 0: 1, frames 1 and 2: 0.5, frames 3 to 6 below the frame limit: 0, the rest has no box
    assert (found.value, found.frames) == (pytest.approx((1 + 2 * 0.5) / 7), 7)


def test_the_legacy_tiou_falls_as_the_frame_scores_get_better():
    half = [1, 0, 0, 0]
    box = (still(0, 4, LEFT),)
    perfect = PatchSet(videos=(patch_video([half, half], [1, 0], [4, 8], box),))
    all_flagged = PatchSet(videos=(patch_video([half, half], [1, 1], [4, 8], box),))

    assert tiou_legacy(perfect, HALF).value == pytest.approx(0.5 / 3)  # a third of 0.5
    assert tiou_legacy(all_flagged, HALF).value == pytest.approx(0.5)
    assert tiou(perfect, HALF).value == tiou(all_flagged, HALF).value == pytest.approx(0.5)


def test_perfect_patch_scores_have_an_area_of_one():
    patches = PatchSet(
        videos=(
            patch_video(
                [[1, 0, 1, 0], [0, 0, 0, 0]], [1, 0], [16, 16], (still(0, 16, LEFT),), rule=TIGHT
            ),
            patch_video([[0, 0, 0, 0]], [0], [16], label=0, key="b", rule=TIGHT),
        )
    )

    found = patch_metrics(patches)

    oracle = found.pop("tiou_oracle")
    assert oracle == pytest.approx(1)
    assert found.pop("patch_iou") == pytest.approx(1, abs=1e-6)
    assert found.pop("tiou_legacy") == pytest.approx(0.5)
    # a region at each of nine thresholds, all of the same patches: one detection, never false
    assert found == pytest.approx(dict.fromkeys(found, 1.0))


def test_nothing_predicted_gives_no_overlap_and_an_area_of_a_half():
    video = patch_video([[0, 0, 0, 0]], [1], [8], (still(0, 4, LEFT),), rule=TIGHT)

    found = patch_metrics(PatchSet(videos=(video,)))

    assert found["patch_auc"] == found["patch_auc_located"] == 0.5
    assert found["tiou"] == found["patch_iou"] == found["rbdc"] == found["tbdc"] == 0.0
    json.dumps(found, allow_nan=False)


def test_without_any_box_every_place_metric_is_undefined():
    patches = PatchSet(videos=(patch_video([[0.5, 0, 0, 1]], [1], [8]),))

    found = patch_metrics(patches)

    assert found.pop("tiou_legacy") is None  # its only frames are false alarms
    assert set(found.values()) == {None}


def test_a_box_too_small_for_any_patch_is_located_but_marks_nothing():
    video = patch_video([[1, 1, 1, 1]], [1], [4], (still(0, 4, (2, 2, 4, 4)),), rule=TIGHT)
    patches = PatchSet(videos=(video,))

    assert patch_sweep(patches, gated=False, located=True).num_negative == 16
    assert tiou(patches, HALF).value == pytest.approx(4 / 1024)
    assert tiou(patches, HALF, quantised=True).value is None


def test_masks_have_an_overlap_but_no_track():
    video = Video(key="a", split="test", label=1, num_frames=4, width=4, height=4)
    mask = np.zeros((4, 4), bool)
    mask[:, :2] = True
    scored = PatchVideo(
        video=video,
        maps=np.array([[1, 0, 0, 0]], np.float32),
        frame_scores=np.ones(1, np.float32),
        bounds=np.array([0, 4]),
        truth=truth_from_masks([mask] * 4, video, SMALL),
    )

    found = patch_metrics(PatchSet(videos=(scored,)))

    assert (found["tiou"], found["patch_auc"]) == (0.5, 0.75)
    assert (found["rbdc"], found["tbdc"]) == (None, None)


def test_a_map_cut_in_two_changes_no_metric():
    tracks = (still(1, 5, (0, 0, 10, 12)),)
    other = [0.2, 0.4, 0.9, 0.3]
    whole = patch_video([[0.7, 0.1, 0.4, 0.3], other], [0.8, 0.6], [8, 4], tracks)
    cut = patch_video([[0.7, 0.1, 0.4, 0.3]] * 2 + [other], [0.8, 0.8, 0.6], [3, 5, 4], tracks)

    one, two = (patch_metrics(PatchSet(videos=(video,))) for video in (whole, cut))

    assert one == pytest.approx(two, **CLOSE)


def test_the_metrics_are_those_that_are_described():
    patches = PatchSet(videos=(patch_video([[0.5, 0, 0, 1]], [1], [8], (still(0, 4, LEFT),)),))

    assert list(patch_metrics(patches)) == list(PATCH_METRICS)


@pytest.mark.parametrize(
    "change, code, text",
    [
        ({"maps": np.zeros((2, 3), np.float32)}, "shape-mismatch", "maps of a"),
        ({"maps": np.zeros((0, 4), np.float32)}, "shape-mismatch", "maps of a"),
        ({"frame_scores": np.zeros(3, np.float32)}, "shape-mismatch", "frame_scores of a"),
        ({"bounds": np.array([0, 8])}, "shape-mismatch", "bounds of a"),
        ({"bounds": np.array([0, 9, 8])}, "evaluation-impossible", "do not rise"),
        ({"bounds": np.array([0, 4, 9])}, "evaluation-impossible", "cover 9"),
        ({"maps": np.zeros((2, 4))}, "scores-invalid", "float32"),
        ({"frame_scores": np.full(2, -1, np.float32)}, "scores-invalid", "negative"),
        ({"maps": np.full((2, 4), np.nan, np.float32)}, "scores-invalid", "finite"),
        ({"maps": np.full((2, 4), -1, np.float32)}, "scores-invalid", "negative"),
        ({"frame_scores": np.full(2, np.inf, np.float32)}, "scores-invalid", "finite"),
        ({"video": {"label": 0}}, "evaluation-impossible", "is normal"),
    ],
)
def test_scores_that_contradict_their_truth_are_refused(change, code, text):
    good = patch_video([[1, 0, 0, 0], [0, 0, 0, 0]], [1, 0], [4, 4], (still(0, 4, LEFT),))
    fields = {name: getattr(good, name) for name in PatchVideo.__dataclass_fields__}
    if "video" in change:
        change = {"video": Video(key="a", split="test", num_frames=8, **change["video"])}

    with pytest.raises(VadError, match=text) as refused:
        PatchVideo(**{**fields, **change})

    assert refused.value.code == code
    assert isinstance(refused.value, ShapeError) == (code == "shape-mismatch")


def test_videos_of_different_rules_are_not_evaluated_together():
    other = PatchRule(rows=2, columns=2, cell=16, overlap=0.5)
    one = patch_video([[1, 0, 0, 0]], [1], [4])
    two = patch_video([[1, 0, 0, 0]], [1], [4], key="b", rule=other)

    for videos in ((one, two), ()):
        with pytest.raises(VadError) as refused:
            PatchSet(videos=videos)
        assert refused.value.code == "evaluation-impossible"
