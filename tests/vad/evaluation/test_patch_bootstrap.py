"""Intervals of patch-level metrics: a draw equals the metrics of a set with repeated videos."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vad.data.manifest import Track, Truth, Video
from vad.errors import VadError
from vad.evaluation import patch_bootstrap
from vad.evaluation.bootstrap import resample
from vad.evaluation.patch import patch_metrics
from vad.evaluation.patch_bootstrap import (
    KEPT_SAMPLES,
    PATCH_INTERVAL_METRICS,
    Levels,
    intervals_and_draws,
    paired_patches,
    patch_intervals,
    sample_patch_metrics,
)
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.patch_truth import PatchRule, truth_from_tracks

RULE = PatchRule(rows=3, columns=4, cell=8, grow=1.0)
CLOSE = {"abs": 1e-12, "rel": 0}


def random_video(seed: int, label: int, *, levels: int = 0, snippets: int = 5) -> PatchVideo:
    """Higher scores where the box is; `levels` > 0 makes ties."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 6, snippets)
    lengths[0] += 2
    frames = int(lengths.sum())
    video = Video(key=f"v{seed}", split="test", label=label, num_frames=frames, width=32, height=24)
    tracks = ()
    if label:
        start = int(rng.integers(0, frames - 1))
        x, y = rng.integers(0, 20, 2).tolist()
        end = int(rng.integers(start + 1, frames + 1))
        tracks = (
            Track(start_frame=start, end_frame=end, keyframes=((start, x, y, x + 9, y + 8),)),
        )
    truth = truth_from_tracks(video, Truth(tracks=tracks), RULE)
    lift = truth.masks.any(axis=0) * 0.4
    maps = np.clip(rng.random((snippets, RULE.patches)) * 0.7 + lift, 0, 1)
    scores = rng.random(snippets)
    if levels:
        maps, scores = np.round(maps * levels) / levels, np.round(scores * levels) / levels
    return PatchVideo(
        video=video,
        maps=maps.astype(np.float32),
        frame_scores=scores.astype(np.float32),
        bounds=np.cumsum([0, *lengths]),
        truth=truth,
        tracks=tracks,
    )


def random_patches(seed: int, *, normal: int = 5, abnormal: int = 6, levels: int = 0) -> PatchSet:
    labels = [0] * normal + [1] * abnormal
    return PatchSet(
        videos=tuple(
            random_video(100 * seed + v, label, levels=levels) for v, label in enumerate(labels)
        )
    )


def repeated(patches: PatchSet, counts: np.ndarray) -> PatchSet:
    return PatchSet(
        videos=tuple(
            v for v, count in zip(patches.videos, counts, strict=True) for _ in range(int(count))
        )
    )


@pytest.mark.parametrize("levels", [0, 4])
@pytest.mark.parametrize("seed", range(6))
def test_a_draw_equals_the_metrics_of_a_set_in_which_the_videos_are_repeated(seed, levels):
    patches = random_patches(seed, levels=levels)
    counts = np.random.default_rng(seed).integers(0, 4, (4, len(patches.videos)))
    counts[0] = 1

    drawn = sample_patch_metrics(patches, counts)

    assert tuple(drawn) == PATCH_INTERVAL_METRICS
    for s, row in enumerate(counts):
        expected = patch_metrics(repeated(patches, row))
        for name, values in drawn.items():
            assert values[s] == pytest.approx(expected[name], **CLOSE), name


def test_draws_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch):
    patches = random_patches(1)
    counts = np.random.default_rng(0).integers(0, 3, (9, len(patches.videos)))
    whole = sample_patch_metrics(patches, counts)

    monkeypatch.setattr(patch_bootstrap, "_CELLS", 1)

    for name, values in sample_patch_metrics(patches, counts).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12)


def test_few_levels_change_the_areas_little():
    patches = random_patches(3, normal=20, abnormal=20)
    counts = np.ones((1, 40))
    ((_, exact),) = Levels.of_patches(patches, gated=True).draws(counts)

    ((_, rough),) = Levels.of_patches(patches, gated=True, limit=64).draws(counts)

    assert rough.gained.shape[1] <= 64 < exact.gained.shape[1]
    for name, value in exact.areas().items():
        assert rough.areas()[name][0] == pytest.approx(value[0], abs=0.01)


def test_an_interval_holds_its_metric_and_the_same_seed_gives_the_same():
    patches = random_patches(2)
    metrics = patch_metrics(patches)

    found = patch_intervals(patches, samples=300, seed=1)

    assert found == patch_intervals(patches, samples=300, seed=1)
    assert found != patch_intervals(patches, samples=300, seed=2)
    for name, interval in found.items():
        assert interval[0] <= metrics[name] <= interval[1], name


@pytest.mark.parametrize(("samples", "abnormal"), [(0, 6), (100, 4)])
def test_without_draws_or_with_too_few_videos_there_is_no_interval(samples, abnormal):
    found = patch_intervals(random_patches(4, abnormal=abnormal), samples=samples)

    assert found == dict.fromkeys(PATCH_INTERVAL_METRICS)


def test_without_a_box_over_time_there_is_no_interval_of_regions():
    videos = tuple(dataclasses.replace(v, tracks=()) for v in random_patches(5).videos)

    found = patch_intervals(PatchSet(videos=videos), samples=50)

    assert found["rbdc"] is None
    assert found["tbdc"] is None
    assert found["tiou"] is not None


def test_regions_that_are_never_found_have_an_area_of_nothing():
    levels = Levels.of(
        2,
        (np.array([0, 0]), np.full(2, -np.inf), np.ones(2)),
        (np.array([1]), np.array([0.5]), np.ones(1)),
    )

    ((_, rates),) = levels.draws(np.array([[1.0, 1.0], [0.0, 2.0]]))

    np.testing.assert_array_equal(rates.area_to_one(np.array([4.0, 4.0])), [0.0, np.nan])


def rescored(patches: PatchSet, *, seed: int = 7, noise: float = 0.3) -> PatchSet:
    """The same videos by another run, in another order."""
    rng = np.random.default_rng(seed)
    videos = []
    for video in patches.videos:
        maps = video.maps + rng.random(video.maps.shape, np.float32) * np.float32(noise)
        videos.append(dataclasses.replace(video, maps=maps / np.float32(1 + noise)))
    return PatchSet(videos=tuple(reversed(videos)))


def test_a_paired_test_is_the_plain_formula_over_repeated_videos():
    """Each draw by repeating the videos and measuring anew; no interval arithmetic of ours."""
    first = random_patches(2)
    second = rescored(first)
    found = paired_patches(first, second, samples=60, seed=3)

    same_order = PatchSet(videos=tuple(reversed(second.videos)))
    labels = np.array([v.video.label for v in first.videos])
    draws = [
        (patch_metrics(repeated(first, row)), patch_metrics(repeated(same_order, row)))
        for row in resample(labels, 60, 3)
    ]
    before, after = patch_metrics(first), patch_metrics(second)
    for name in PATCH_INTERVAL_METRICS:
        pair = found[name]
        changes = np.array([b[name] - a[name] for a, b in draws])
        low, high = np.quantile(changes, [0.025, 0.975])
        rarer = min((changes <= 0).sum(), (changes >= 0).sum())
        assert pair is not None
        assert pair.difference == pytest.approx(after[name] - before[name], **CLOSE)
        assert (pair.low, pair.high) == pytest.approx((low, high), **CLOSE), name
        if np.abs(changes).min() > 1e-9:  # otherwise rounding decides the side of zero
            assert pair.p == pytest.approx(min(1.0, 2 * (rarer + 1) / 61)), name


def test_a_run_against_itself_differs_in_nothing():
    patches = random_patches(4)
    for pair in paired_patches(patches, patches, samples=20).values():
        assert pair is not None
        assert (pair.difference, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
        assert not pair.significant


def test_kept_draws_pair_two_runs_as_their_maps_do_whatever_the_order_and_the_seed():
    """Videos sorted by name, as the kept draws take them."""
    first = random_patches(2)
    second = rescored(first)
    by_name = PatchSet(videos=tuple(sorted(first.videos, key=lambda v: v.video.key)))
    expected = paired_patches(by_name, second, samples=KEPT_SAMPLES)

    _, a = intervals_and_draws(first, samples=10, seed=3)
    intervals, b = intervals_and_draws(second, samples=20, seed=4)

    assert intervals == patch_intervals(second, samples=20, seed=4)
    for name in PATCH_INTERVAL_METRICS:
        drawn = np.subtract(b[name], a[name])
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert (expected[name].low, expected[name].high) == pytest.approx((low, high), abs=1e-6)


def test_a_draw_without_a_value_is_kept_as_none():
    videos = tuple(dataclasses.replace(v, tracks=()) for v in random_patches(5).videos)

    _, drawn = intervals_and_draws(PatchSet(videos=videos), samples=10, seed=0)

    assert drawn["rbdc"] == [None] * KEPT_SAMPLES
    assert intervals_and_draws(PatchSet(videos=videos), samples=0, seed=0)[1] == {}


def test_few_videos_have_a_difference_without_an_interval():
    patches = random_patches(5, normal=2, abnormal=2)
    pair = paired_patches(patches, rescored(patches))["patch_auc"]
    assert pair is not None
    assert (pair.low, pair.high, pair.p) == (None, None, None)


def test_other_videos_or_places_are_refused():
    patches = random_patches(6)
    fewer = PatchSet(videos=patches.videos[1:])
    with pytest.raises(VadError, match="v600: only in the first run"):
        paired_patches(patches, fewer)
    with pytest.raises(VadError, match="v600: only in the second run"):
        paired_patches(fewer, patches)
    last = patches.videos[-1]
    truth = dataclasses.replace(last.truth, masks=~last.truth.masks)
    moved = PatchSet(videos=(*patches.videos[:-1], dataclasses.replace(last, truth=truth)))
    with pytest.raises(VadError, match="places of anomalies differ"):
        paired_patches(patches, moved)
