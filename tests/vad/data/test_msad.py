"""The reader of MSAD: events and boxes from one file."""

from __future__ import annotations

from pathlib import Path

import pytest
from list_files import box_file, features, problems_of, stand_in, write

from vad.data import formats


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
