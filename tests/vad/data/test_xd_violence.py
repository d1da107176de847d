"""The reader of XD-Violence: labels from names, intervals from the annotation."""

from __future__ import annotations

from collections import Counter

import pytest
from list_files import NORMAL, VIOLENT, features, problems_of, stand_in, write

from vad.data import formats
from vad.data.formats.xd_violence import classes_of


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("x_label_A", ()),
        ("x_label_B1-0-0", ("Fighting",)),
        ("x_label_G-B2-B6", ("Explosion", "Shooting", "Car accident")),
        ("x_label_B1", ("Fighting",)),
        ("x_label_B3-0-0", None),
        ("x_label_A-B1-0", None),
        ("x_label_0-0-0", None),
        ("x", None),
    ],
)
def test_xd_classes_come_from_the_codes_of_the_name(name, classes):
    assert classes_of(name) == classes


def test_xd_reads_labels_from_names_and_splits_from_lists(tmp_path):
    train = "v=b__#1_label_B6-0-0"
    root = features(tmp_path / "f", VIOLENT, NORMAL, train, "other__#1_label_A")
    manifest, truth = formats.read(
        "xd_violence",
        root,
        annotations=write(tmp_path / "a.txt", f"{VIOLENT} 10 20 30 45"),
        test_list=write(tmp_path / "test.list", f"/x/{NORMAL}.npy", f"/x/{VIOLENT}.npy"),
        train_list=write(tmp_path / "train.list", f"/x/{train}.npy"),
    )

    videos = {v.key: v for v in manifest.videos}
    assert set(videos) == {VIOLENT, NORMAL, train}
    assert (videos[VIOLENT].label, videos[VIOLENT].classes) == (1, ("Shooting", "Explosion"))
    assert (videos[NORMAL].split, videos[NORMAL].label) == ("test", 0)
    assert truth[VIOLENT].intervals == ((10, 20), (30, 45))
    assert truth[NORMAL].intervals == () and train not in truth
    assert manifest.rules["test_protocol"] == "violent and normal videos"
    assert manifest.rules["videos_left_out"] == 1


def test_xd_ends_count_when_asked_and_codes_before_pairs_are_read_over(tmp_path):
    root = features(tmp_path / "f", f"test/{VIOLENT}", f"train/{NORMAL}")
    annotations = write(tmp_path / "a.txt", f"{VIOLENT}.mp4 B2 10 20 G 21 30")

    manifest, truth = formats.read(
        "xd_violence", root, annotations=annotations, end_inclusive="yes"
    )

    assert truth[VIOLENT].intervals == ((10, 31),)
    assert manifest.rules["test_protocol"] == "violent videos only"


def test_xd_names_every_wrong_line(tmp_path):
    root = features(tmp_path / "f", VIOLENT, "v=c_label_B9-0-0", "v=d_label_G-0-0")
    annotations = write(
        tmp_path / "a.txt",
        f"{VIOLENT} 20 10",
        "x_label_A 1 2",
        "y_label_G-0-0 1 2 3",
        "z_label_G-0-0 1 two",
        "w_label_G-0-0 1 2",
        "w_label_G-0-0 1 2",
    )
    test = write(tmp_path / "t.list", VIOLENT, "v=c_label_B9-0-0", "v=d_label_G-0-0")

    found = problems_of(
        lambda: formats.read("xd_violence", root, annotations=annotations, test_list=test)
    )

    for part in (
        "line 1: v=a__#1_label_B2-G-0: the interval 20 to 10 is reversed",
        "line 2: x_label_A: a normal video with an interval",
        "line 3: y_label_G-0-0: expected pairs of frames, got 3 numbers",
        "line 4: z_label_G-0-0: a frame number is not a whole number",
        "line 6: w_label_G-0-0 was on line 5 already",
        "v=c_label_B9-0-0.npy: the name holds no known label code",
        "v=d_label_G-0-0 is a violent test video without an interval",
    ):
        assert any(part in p for p in found), part


def test_xd_does_not_guess_the_split_of_a_normal_video(tmp_path):
    root = features(tmp_path / "f", VIOLENT, NORMAL)

    found = problems_of(
        lambda: formats.read(
            "xd_violence", root, annotations=write(tmp_path / "a.txt", f"{VIOLENT} 1 2")
        )
    )

    assert found == (f"{NORMAL}.npy: no list and no folder says to which split it belongs",)


def test_the_published_xd_lists_come_to_the_published_counts(published, tmp_path):
    xd = published / "xd_violence"
    lists = {"train_list": xd / "XD_Train.list", "test_list": xd / "XD_Test.list"}
    root = stand_in(tmp_path / "f", *lists.values())

    manifest, truth = formats.read(
        "xd_violence", root, annotations=xd / "XD_Annotation.txt", **lists
    )

    assert len(manifest.split("train", 0)) == 2047 and len(manifest.split("train", 1)) == 1904
    assert len(manifest.split("test", 0)) == 0 and len(manifest.split("test", 1)) == 500
    assert sum(len(t.intervals) for t in truth.values()) == 1238
    assert max(len(t.intervals) for t in truth.values()) == 22
    assert manifest.rules["test_protocol"] == "violent videos only"
    assert Counter(c for v in manifest.split("test") for c in v.classes) == {
        "Fighting": 126, "Car accident": 106, "Shooting": 104, "Explosion": 103, "Riot": 101,
        "Abuse": 11,
    }  # fmt: skip
