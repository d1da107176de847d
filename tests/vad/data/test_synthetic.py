"""The synthetic data set: the same every time, within its promises, and read back whole."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vad.data import formats
from vad.data.synthetic import PRESETS, make, maker, plans
from vad.data.synthetic.clips import CLASSES, Clip
from vad.data.synthetic.maker import render
from vad.errors import VadError
from vad.timeline import interval_mask
from vad.video.reader import open_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "synthetic"
    make(path, preset="thumbnail", processes=1)
    return path


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    make(tmp_path / "again", preset="thumbnail", processes=2)
    make(tmp_path / "other", preset="thumbnail", processes=1, seed=8)

    assert digests(folder) == digests(tmp_path / "again")
    clips = {d for name, d in digests(folder).items() if name.endswith(".mp4")}
    assert not clips & set(digests(tmp_path / "other").values())


def test_making_it_again_changes_nothing_and_never_overwrites(folder, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    make(folder, preset="thumbnail", processes=1)
    (tmp_path / "thesis.txt").write_text("mine")

    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(VadError, match="not empty"):
        make(tmp_path, preset="thumbnail")


def test_what_is_read_is_what_was_planned(folder):
    manifest, truth = formats.read("synthetic", folder)

    planned = plans(7, PRESETS["thumbnail"])
    assert [(v.key, v.split, v.num_frames) for v in manifest.videos] == [
        (p.key, p.split, p.num_frames) for p in planned
    ]
    assert all((v.width, v.height, v.fps) == (64, 48, 12.0) for v in manifest.videos)
    assert set(truth) == {v.key for v in manifest.split("test")}


def test_truth_is_written_for_the_test_split_only(folder):
    written = json.loads((folder / "truth-test.json").read_text())
    with (folder / "labels.csv").open() as file:
        splits = {row["key"]: row["split"] for row in csv.DictReader(file)}

    assert written and all(splits[key] == "test" for key in written)
    everything = (
        "".join(p.read_text() for p in folder.glob("*.json")) + (folder / "labels.csv").read_text()
    )
    assert everything.count("intervals") == len(written)


def test_intervals_and_boxes_lie_within_their_videos(folder):
    manifest, truth = formats.read("synthetic", folder)
    for video in manifest.split("test"):
        found = truth[video.key]
        assert bool(found.intervals) == bool(video.label)
        for start, end in found.intervals:
            assert 0 <= start < end <= video.num_frames
        for track in found.tracks:
            assert any(a <= track.start_frame < track.end_frame <= b for a, b in found.intervals)
            for _, x0, y0, x1, y1 in track.keyframes:
                assert 0 <= x0 <= x1 <= video.width and 0 <= y0 <= y1 <= video.height


def test_a_demo_has_every_class_on_several_cameras_and_clips_of_differing_length():
    planned = plans(7, PRESETS["demo"])

    counts = Counter((p.split, p.kind) for p in planned)
    assert all(counts["train", kind] >= 4 and counts["test", kind] >= 3 for kind in CLASSES)
    for kind in CLASSES:
        assert len({p.scene for p in planned if p.kind == kind}) >= 3
    lengths = [p.num_frames for p in planned]
    assert min(lengths) >= 160 and max(lengths) <= 480 and len(set(lengths)) > len(lengths) / 2


@pytest.mark.parametrize("kind", CLASSES)
def test_the_box_of_an_anomaly_is_where_the_picture_changes(kind, tmp_path):
    """The clip is rendered twice, with and without its anomaly; only the anomaly differs."""
    plan = next(p for p in plans(7, PRESETS["demo"]) if p.kind == kind and p.split == "test")
    clip = Clip(plan, [7, 3, 0], np.random.default_rng(3))
    frames = list(clip.frames())
    track = clip.tracks()[0]
    middle = track.keyframes[len(track.keyframes) // 2]
    frame, x0, y0, x1, y1 = (round(n) for n in middle)
    quiet = np.median(np.stack(frames[:: max(1, len(frames) // 40)]), axis=0)

    difference = np.abs(frames[frame] - quiet).mean(axis=2)

    inside = difference[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1]
    assert x1 > x0 and y1 > y0
    if kind not in ("Abandoned", "Fire"):  # those are part of the median when they last
        assert np.quantile(inside, 0.9) > 2 * np.median(difference)


def test_a_clip_has_noise_texture_and_movement(tmp_path):
    plan = next(p for p in plans(7, PRESETS["demo"]) if p.kind == "Runner")
    render(plan, 7, tmp_path / "clip.mp4")
    with open_video(tmp_path / "clip.mp4") as reader:
        frames = reader.frames(0, plan.num_frames).astype(np.float32)

    assert frames.shape == (plan.num_frames, 120, 160, 3)
    assert frames[0].std() > 10
    changes = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert changes.min() > 0.3


@pytest.mark.slow
@pytest.mark.long
def test_the_amount_of_motion_alone_does_not_give_the_anomalies_away():
    """The demo's test split, scored by the mean difference of frames."""
    scores, truth = [], []
    for plan in plans(7, PRESETS["demo"]):
        if plan.split != "test":
            continue
        clip = maker.plan_clip(plan, 7)
        frames = np.stack([f.mean(axis=2, dtype=np.float32) for f in clip.frames()])
        change = np.abs(np.diff(frames, axis=0, prepend=frames[:1])).mean(axis=(1, 2))
        starts = np.arange(0, len(change), 16)
        per_snippet = np.add.reduceat(change, starts) / np.diff([*starts, len(change)])
        scores.append(per_snippet.repeat(16)[: len(change)])
        truth.append(interval_mask(clip.intervals(), plan.num_frames))

    auc = roc_auc_score(np.concatenate(truth), np.concatenate(scores))

    assert 0.4 < auc < 0.75
