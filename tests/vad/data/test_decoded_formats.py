"""The same readers where there are videos: frames are decoded, boxes clamped, masks compared."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vad.data import formats
from vad.data.doctor import examine
from vad.data.formats.common import merge
from vad.data.formats.lists import clip
from vad.errors import VadError
from vad.timeline import interval_mask, mask_intervals

INTERVALS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda p: (p[0], p[0] + p[1])), max_size=8
)


def film(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            picture = np.full((size[1], size[0], 3), i * 5 % 255, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def images(folder: Path, frames: int) -> None:
    folder.mkdir(parents=True)
    for i in range(frames):
        Image.new("RGB", (16, 12), (i, i, i)).save(folder / f"{i:03d}.png")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


# --- intervals -----------------------------------------------------------------------------------


@given(INTERVALS)
def test_merged_intervals_cover_the_same_frames_sorted_and_apart(intervals):
    merged = merge(intervals)

    assert (interval_mask(merged, 100) == interval_mask(tuple(intervals), 100)).all()
    assert all(a[1] < b[0] for a, b in pairwise(merged))
    assert mask_intervals(interval_mask(merged, 100)) == merged


@given(INTERVALS, st.integers(0, 100))
def test_clipping_loses_no_frame_of_the_video_and_counts_what_it_did(intervals, frames):
    kept, shortened, outside = clip(intervals, frames)

    if frames == 0:
        assert kept == intervals and (shortened, outside) == (0, 0)
        return
    assert (interval_mask(tuple(kept), 200) == interval_mask(tuple(intervals), 200)).tolist()[
        :frames
    ] == [True] * frames
    assert all(0 <= a < b <= frames for a, b in kept)
    assert outside == sum(a >= frames for a, _ in intervals)
    assert shortened == sum(a < frames < b for a, b in intervals)


# --- decoded -------------------------------------------------------------------------------------


def test_xd_frames_are_decoded_and_an_end_behind_them_is_trimmed(tmp_path):
    name = "v=a.b__#1_label_B1-0-0"
    film(tmp_path / "x" / "test" / f"{name}.mp4", 30)
    film(tmp_path / "x" / "train" / "c__#1_label_A.mp4", 10)
    annotations = write(tmp_path / "a.txt", f"{name} 5 12 20 35")

    manifest, truth = formats.read("xd_violence", tmp_path / "x", annotations=annotations)

    videos = {v.key: v for v in manifest.videos}
    assert (videos[name].num_frames, videos[name].width, videos[name].height) == (30, 64, 48)
    assert truth[name].intervals == ((5, 12), (20, 30))
    assert manifest.rules["intervals_clipped"] == 1
    write(annotations, f"{name} 5 12 30 35")
    with pytest.raises(VadError) as caught:
        formats.read("xd_violence", tmp_path / "x", annotations=annotations)
    text = f"{annotations}, line 1: {name}: an interval begins at frame 30, but 30 frames can be"
    assert caught.value.problems == (f"{text} decoded",)


def test_msad_boxes_are_clamped_to_the_decoded_size_and_lengths_compared(tmp_path):
    film(tmp_path / "m" / "test" / "Fire_1.mp4", 37)
    box = {
        "start_frame": 4,
        "end_frame": 50,
        "keyframes": {"4": [[-3, 10], [80, 10], [80, 60], [-3, 60]]},
    }
    entry = {"file_name": "Fire_1.mp4", "start_frame": 4, "end_frame": 50, "bounding_boxes": [box]}
    boxes = write(tmp_path / "b.json", json.dumps([entry]))
    counts = write(tmp_path / "a.txt", "Fire_1.mp4 32")

    manifest, truth = formats.read("msad", tmp_path / "m", boxes=boxes, annotations=counts)

    assert truth["Fire_1"].intervals == ((4, 37),)
    assert truth["Fire_1"].tracks[0].keyframes == ((4, 0.0, 10.0, 64.0, 48.0),)
    assert truth["Fire_1"].tracks[0].end_frame == 37
    assert manifest.rules["frames_listed"] == {"Fire_1": 32}
    found = [f for f in examine(manifest, {"test": truth}).findings if f.check == "listed-frames"]
    assert [(f.video, f.amount, f.severity) for f in found] == [("Fire_1", 5, "note")]


@pytest.mark.parametrize(("length", "expected"), [(20, (15, 20)), (16, (15, 20)), (25, (15, 20))])
def test_a_shanghaitech_mask_of_another_length_repeats_its_end_or_is_trimmed(
    tmp_path, length, expected
):
    root = tmp_path / "s"
    images(root / "testing" / "frames" / "01_0015", 20)
    film(root / "training" / "videos" / "01_001.avi", 12)
    masks = root / "testing" / "test_frame_mask"
    masks.mkdir()
    np.save(masks / "01_0015.npy", np.arange(length) >= 15)
    test = write(tmp_path / "t.list", "01_0015", "01_001")

    manifest, truth = formats.read("shanghaitech", root, test_list=test)

    assert truth["01_0015"].intervals == (expected,)
    assert {v.key: v.num_frames for v in manifest.videos} == {"01_0015": 20, "01_001": 12}
    assert manifest.rules.get("mask_frames", {}) == ({} if length == 20 else {"01_0015": length})
    # the folder testing or training says nothing about the weak split
    assert {v.split for v in manifest.videos} == {"test"}


def test_a_shanghaitech_mask_that_is_a_snippet_off_is_refused(tmp_path):
    root = tmp_path / "s"
    images(root / "testing" / "frames" / "01_0015", 20)
    masks = root / "testing" / "test_frame_mask"
    masks.mkdir()
    np.save(masks / "01_0015.npy", np.ones(36))

    with pytest.raises(VadError) as caught:
        formats.read("shanghaitech", root, test_list=write(tmp_path / "t.list", "01_0015"))

    assert "the mask of 01_0015 has 36 frames, the video 20" in caught.value.problems[0]
