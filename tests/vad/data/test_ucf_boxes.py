"""The reader of UCF-Crime with boxes, and with the official list."""

from __future__ import annotations

from collections import Counter

import pytest
from list_files import box_file, features, stand_in, write

from vad.data import formats
from vad.errors import VadError


def test_ucf_boxes_of_training_videos_stay_out_of_the_test_truth(tmp_path):
    root = features(tmp_path / "f", "Arson022_x264", "Abuse001_x264", "Normal_Videos_872_x264")
    manifest, truth = formats.read(
        "ucf_crime",
        root,
        annotations=write(tmp_path / "a.txt", "Arson/Arson022_x264.mp4 800 Arson 350 400 -1 -1"),
        boxes=box_file(tmp_path / "b.json", ("Arson022_x264", 350, 400), ("Abuse001_x264", 9, 20)),
    )

    split = {v.key: v.split for v in manifest.videos}
    assert split == {
        "Arson022_x264": "test", "Abuse001_x264": "train", "Normal_Videos_872_x264": "train"
    }  # fmt: skip
    assert truth["Abuse001_x264"].intervals == ((9, 21),)
    assert truth["Arson022_x264"].tracks[0].end_frame == 401
    # the boxes reach to 410 x 300, the videos of this data set are 320 x 240
    assert truth["Arson022_x264"].tracks[0].keyframes == ((350, 10.0, 20.0, 320.0, 240.0),)
    assert manifest.rules["boxes_clamped"] == 2


def test_ucf_reads_the_official_list_that_has_no_frame_counts(tmp_path):
    root = features(tmp_path / "f", "Arson022_x264_i3d", "Normal_Videos_872_x264_i3d")

    manifest, truth = formats.read(
        "ucf_crime",
        root,
        annotations=write(tmp_path / "a.txt", "Arson022_x264.mp4  Arson  350  400  -1  -1  "),
    )

    assert truth["Arson022_x264"].intervals == ((350, 401),)
    assert manifest.rules["frames"] == "unknown"


def test_ucf_refuses_a_training_list_of_other_videos(tmp_path):
    root = features(tmp_path / "f", "Arson022_x264", "Abuse001_x264")
    annotations = write(tmp_path / "a.txt", "Arson022_x264.mp4  Arson  350  400  -1  -1  ")
    other = write(tmp_path / "train.list", "Abuse002_x264.mp4", "Abuse003_x264.mp4")

    with pytest.raises(VadError) as caught:
        formats.read("ucf_crime", root, annotations=annotations, train_list=other)

    assert caught.value.problems == (f"{other}: none of its 2 videos is in {root}",)


def test_the_published_ucf_boxes_are_all_read(published, tmp_path):
    folder = published / "ucf_crime"
    train = folder / "UCF_Train.list"
    root = stand_in(tmp_path / "f", train, folder / "UCF_Test.list")

    manifest, truth = formats.read(
        "ucf_crime",
        root,
        annotations=folder / "UCF_Annotation.txt",
        boxes=folder / "boxes_ucf_crime.json",
        train_list=train,
    )

    split = {v.key: v.split for v in manifest.videos}
    with_boxes = Counter(split[key] for key, t in truth.items() if t.tracks)
    assert sum(len(t.tracks) for t in truth.values()) == 3110
    assert with_boxes == {"test": 140, "train": 769}
    assert sum(v.num_frames for v in manifest.split("test")) == 1_111_808
    assert (len(manifest.split("train", 0)), len(manifest.split("train", 1))) == (800, 810)
