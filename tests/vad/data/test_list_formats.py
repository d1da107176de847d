"""Readers of published lists: XD-Violence, MSAD, ShanghaiTech, and the boxes of UCF-Crime."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vad.configs import FORMATS, RegisterConfig
from vad.data import formats
from vad.data.formats.common import Problems
from vad.data.formats.lists import read_list, video_name
from vad.data.formats.xd_violence import classes_of
from vad.errors import ConfigError, VadError

VIOLENT = "v=a__#1_label_B2-G-0"
NORMAL = "The.Film.2013__#01-55-12_label_A"


def features(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((2, 4), np.float32))
    return folder


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def box_file(path: Path, *clips: tuple[str, int, int], box: dict | None = None) -> Path:
    corners = [[10, 20], [410, 20], [410, 300], [10, 300]]
    entries = [
        {
            "id": f"{name}_{start}_{end}",
            "file_name": f"{name}.mp4",
            "start_frame": start,
            "end_frame": end,
            "bounding_boxes": [
                {"start_frame": start, "end_frame": end, "keyframes": {str(start): corners}}
                | (box or {})
            ],
        }
        for name, start, end in clips
    ]
    path.write_text(json.dumps(entries, indent=2))
    return path


def problems_of(call) -> tuple[str, ...]:
    with pytest.raises(VadError) as caught:
        call()
    assert caught.value.code == "dataset-invalid"
    return caught.value.problems


# --- names and lists -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("/data/xd/v=a__#1_label_B1-0-0__4.npy", "v=a__#1_label_B1-0-0"),
        ("The.Film.2013__#01_label_A", "The.Film.2013__#01_label_A"),
        ("C:\\sh\\01_0015_i3d.npy", "01_0015"),
        ("/x/Abuse028_x264.mp4", "Abuse028_x264"),
        ("Abuse028_x264_i3d__0.npy", "Abuse028_x264"),
        ("my_clip_2.avi", "my_clip_2"),
    ],
)
def test_a_list_entry_means_the_video_of_its_name(entry, name):
    assert video_name(entry) == name


def test_crops_in_a_list_are_one_video_and_a_repeated_entry_is_a_problem(tmp_path):
    path = write(tmp_path / "a.list", "/x/A__0.npy", "/x/A__1.npy", "", "/y/B.npy", "/z/B.npy")
    problems = Problems(tmp_path)

    assert read_list(path, problems) == {"A": 1, "B": 4}
    assert problems.found == ["a.list, line 5: B.npy was on line 4 already"]


def test_a_video_in_both_lists_is_a_problem_with_both_lines(tmp_path):
    root = features(tmp_path / "f", VIOLENT, NORMAL)
    test = write(tmp_path / "test.list", VIOLENT, NORMAL)
    train = write(tmp_path / "train.list", NORMAL)
    annotations = write(tmp_path / "a.txt", f"{VIOLENT} 0 9")

    found = problems_of(
        lambda: formats.read(
            "xd_violence", root, annotations=annotations, train_list=train, test_list=test
        )
    )

    assert any("line 2" in p and "train.list, line 1" in p for p in found)


# --- XD-Violence ---------------------------------------------------------------------------------


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


# --- MSAD ----------------------------------------------------------------------------------------


def msad(tmp_path: Path, *clips, counts: str = "Fire_1.mp4 96", **options):
    root = features(tmp_path / "f", "Fire_1", "MSAD_normal_testing_1", "People_falling_2")
    return formats.read(
        "msad",
        root,
        boxes=box_file(tmp_path / "b.json", *clips),
        annotations=write(tmp_path / "a.txt", counts, "MSAD_normal_testing_1.mp4 48"),
        train_list=write(tmp_path / "train.list", "People_falling_2.npy"),
        **options,
    )


def test_msad_truth_is_the_events_of_the_box_file_with_their_last_frame(tmp_path):
    manifest, truth = msad(tmp_path, ("Fire_1", 10, 19), ("People_falling_2", 3, 4))

    assert truth["Fire_1"].intervals == ((10, 20),)
    track = truth["Fire_1"].tracks[0]
    assert (track.start_frame, track.end_frame, track.name) == (10, 20, "Fire")
    assert track.keyframes == ((10, 10.0, 20.0, 410.0, 300.0),)
    assert {v.key: (v.split, v.label, v.num_frames) for v in manifest.videos} == {
        "Fire_1": ("test", 1, 96),
        "MSAD_normal_testing_1": ("test", 0, 48),
        "People_falling_2": ("train", 1, 0),
    }
    assert truth["People_falling_2"].intervals == ((3, 5),)  # of a training video: kept apart


def test_msad_events_are_cut_to_the_listed_frames_and_what_lies_behind_is_noted(tmp_path):
    manifest, truth = msad(
        tmp_path, ("Fire_1", 80, 99), ("Fire_1", 100, 120), ("People_falling_2", 3, 4)
    )

    assert truth["Fire_1"].intervals == ((80, 96),)
    assert [(t.start_frame, t.end_frame) for t in truth["Fire_1"].tracks] == [(80, 96)]
    assert manifest.rules["intervals_clipped"] == 1
    assert manifest.rules["events_outside"] == ["Fire_1"]
    assert (manifest.rules["boxes_shortened"], manifest.rules["boxes_outside"]) == (1, 1)


def test_msad_leaves_out_the_events_that_the_official_truth_has_not(tmp_path):
    root = features(tmp_path / "f", "Robbery_8")
    given = {
        "boxes": box_file(tmp_path / "b.json", ("Robbery_8", 42, 198), ("Robbery_8", 199, 369)),
        "annotations": write(tmp_path / "a.txt", "Robbery_8 416"),
    }

    manifest, official = formats.read("msad", root, **given)
    _, everything = formats.read("msad", root, all_events=True, **given)

    assert official["Robbery_8"].intervals == ((199, 370),)
    assert everything["Robbery_8"].intervals == ((42, 370),)
    assert manifest.rules["events_left_out"] == ["Robbery_8"]


def test_msad_names_what_is_wrong_with_file_and_line(tmp_path):
    found = problems_of(
        lambda: msad(
            tmp_path,
            ("MSAD_normal_testing_1", 3, 9),
            ("People_falling_2", 9, 3),
            counts="Fire_1.mp4 many",
        )
    )

    assert any("a.txt, line 1: Fire_1: expected a name and a number" in p for p in found)
    assert any(
        "b.json, line 2: MSAD_normal_testing_1 is normal, but has an event" in p for p in found
    )
    assert any("from frame 9 to 3: reversed" in p and ", line 3" in p for p in found)
    assert any("Fire_1: no list and no folder" in p or "Fire_1.npy: no list" in p for p in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "line 1: expected a list"),
        ("[\n1]", "line 2: an entry is int"),
        ("[\n{]", "line 2: no JSON"),
        ('[\n\n{"file_name": "Fire_1.mp4"}]', "line 3: the event needs whole numbers"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_box_file_that_is_none_is_refused_with_its_line(tmp_path, text, said):
    root = features(tmp_path / "f", "test/Fire_1")
    path = tmp_path / "b.json"
    path.write_text(text)

    assert any(said in p for p in problems_of(lambda: formats.read("msad", root, boxes=path)))


@pytest.mark.parametrize(
    "box",
    [
        {"keyframes": {}},
        {"keyframes": {"x": [[0, 0]] * 4}},
        {"keyframes": {"1": [[0, 0]] * 3}},
        {"keyframes": {"1": [[0, float("nan")]] * 4}},
        {"keyframes": {"1": [[0, "a"]] * 4}},
        {"keyframes": [1]},
        {"start_frame": True},
    ],
)
def test_a_box_that_is_none_is_refused(tmp_path, box):
    root = features(tmp_path / "f", "test/Fire_1")
    path = box_file(tmp_path / "b.json", ("Fire_1", 1, 5), box=box)

    found = problems_of(lambda: formats.read("msad", root, boxes=path))

    assert any("b.json, line 2: box 1" in p for p in found)


# --- ShanghaiTech --------------------------------------------------------------------------------


def shanghai(tmp_path: Path, masks: dict[str, object], **options):
    root = features(tmp_path / "sh", "01_0014_i3d", "01_0015_i3d", "01_001_i3d", "01_002_i3d")
    folder = root / "testing" / "test_frame_mask"
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        np.save(folder / f"{name}.npy", np.asarray(mask), allow_pickle=True)
    test = write(tmp_path / "test.list", "/x/01_0015_i3d.npy", "/x/01_001_i3d.npy")
    return formats.read("shanghaitech", root, test_list=test, **options)


def mask(frames: int, start: int, end: int) -> np.ndarray:
    values = np.zeros(frames, np.uint8)
    values[start:end] = 1
    return values


def test_shanghaitech_labels_come_from_names_and_truth_from_masks(tmp_path):
    manifest, truth = shanghai(
        tmp_path, {"01_0014": mask(100, 5, 9), "01_0015": mask(64, 60, 64)[:, None]}
    )

    assert {v.key: (v.split, v.label, v.num_frames) for v in manifest.videos} == {
        "01_0014": ("train", 1, 100),
        "01_002": ("train", 0, 0),
        "01_0015": ("test", 1, 64),
        "01_001": ("test", 0, 0),
    }
    assert truth["01_0015"].intervals == ((60, 64),)
    assert truth["01_0014"].intervals == ((5, 9),)  # in the truth of the training split
    assert truth["01_001"].intervals == ()


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({}, "01_0015 is an abnormal test video without a mask"),
        ({"01_0015": mask(64, 0, 0)}, "by its name label 1, but its mask is empty"),
        ({"01_001": mask(64, 0, 3)}, "by its name label 0, but its mask holds an anomaly"),
        ({"01_0015": [0, 1, 2]}, "holds other values than 0 and 1"),
        ({"01_0015": [0, np.nan]}, "holds other values than 0 and 1"),
        ({"01_0015": np.ones((4, 4))}, "has shape [4, 4], expected one number a frame"),
        ({"01_0015": np.array([{}], object)}, "is no .npy file of numbers"),
    ],
)
def test_shanghaitech_masks_that_contradict_or_are_damaged_are_refused(tmp_path, masks, said):
    found = problems_of(lambda: shanghai(tmp_path, masks))

    assert any(said in p for p in found)


# --- UCF-Crime's boxes ---------------------------------------------------------------------------


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


def test_the_fields_of_a_register_run_are_the_options_of_its_format(tmp_path):
    root = features(tmp_path / "f", VIOLENT, NORMAL)
    config = RegisterConfig(
        name="xd",
        format="xd_violence",
        root=str(root),
        annotations=str(write(tmp_path / "a.txt", f"{VIOLENT} 1 2")),
        test_list=str(write(tmp_path / "t.list", VIOLENT, NORMAL)),
        interval_end="inclusive",
    )

    manifest, truth = formats.read_config(config)

    assert len(manifest.split("test")) == 2
    assert truth[VIOLENT].intervals == ((1, 3),)
    with pytest.raises(ConfigError) as caught:
        formats.read_config(dataclasses.replace(config, boxes=str(tmp_path / "a.txt")))
    assert list(caught.value.fields) == ["boxes"]


# --- the published files -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    folder = shared / "data" / "annotations"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist")
    return folder


def stand_in(folder: Path, *lists: Path) -> Path:
    """A folder with an empty feature file for every listed video: only names count here."""
    folder.mkdir()
    for path in lists:
        for name in read_list(path, Problems(folder)):
            (folder / f"{name}.npy").touch()
    return folder


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


def test_the_published_msad_files_come_to_the_official_truth(published, tmp_path):
    folder = published / "msad"
    lists = {"train_list": folder / "MSAD_Train.list", "test_list": folder / "MSAD_Test.list"}
    root = stand_in(tmp_path / "f", *lists.values())
    given = {
        "boxes": folder / "boxes_msad.json",
        "annotations": folder / "MSAD_Annotation.txt",
        **lists,
    }

    manifest, truth = formats.read("msad", root, **given)
    _, everything = formats.read("msad", root, all_events=True, **given)

    test = manifest.split("test")
    positives = [
        sum(b - a for v in test for a, b in found[v.key].intervals) for found in (truth, everything)
    ]
    assert (len(manifest.split("train", 0)), len(manifest.split("train", 1))) == (360, 120)
    assert (len(manifest.split("test", 0)), len(manifest.split("test", 1))) == (120, 120)
    assert sum(v.num_frames for v in test) == 143_920
    assert positives == [33_160, 33_520]  # the first is the official array's
    assert manifest.rules["events_outside"] == ["Explosion_3"]
    assert manifest.rules["events_left_out"] == ["Fighting_13", "Fighting_3", "Robbery_8"]


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


def test_every_reader_and_each_of_its_options_can_be_named_in_a_register_run():
    fields = {f.name for f in dataclasses.fields(RegisterConfig)} | {"end_inclusive"}

    assert set(formats.FORMATS) == set(FORMATS)
    for reader in formats.FORMATS.values():
        assert {o.name for o in reader.options} <= fields
