"""Readers of UCF-Crime, UCSD Ped, described footage and the synthetic clips."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vad.data import formats
from vad.data.formats.common import Problems
from vad.data.formats.ucf_crime import CLASSES, class_of, read_annotations
from vad.data.manifest import Truth
from vad.errors import ConfigError, VadError
from vad.timeline import interval_mask


def problems_of(format: str, root: Path, **options: Any) -> str:
    with pytest.raises(VadError) as error:
        formats.read(format, root, **options)
    assert error.value.code == "dataset-invalid"
    return "\n".join(error.value.problems)


def write_frames(folder: Path, count: int = 4, filled: tuple[int, ...] = ()) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("L", (24, 16), 255 if i in filled else 0).save(folder / f"{i + 1:03d}.png")
    return folder


# -- all readers ------------------------------------------------------------------------------


def test_an_unknown_format_and_unknown_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="kinetics"):
        formats.read("kinetics", tmp_path)
    with pytest.raises(ConfigError) as error:
        formats.read("ucf_crime", tmp_path, annotations="/nowhere.txt", colour="red")

    assert set(error.value.fields) == {"annotations", "colour"}


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(VadError, match="nowhere") as error:
        formats.read("generic", tmp_path / "nowhere")

    assert error.value.code == "file-missing"


def test_the_readers_need_neither_torch_nor_a_decoder():
    code = (
        "import sys, vad.data.formats, vad.data.packing;"
        "print([m for m in ('torch', 'decord', 'av') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


# -- UCF-Crime --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Normal_Videos_924_x264", "Normal"),
        ("RoadAccidents021_x264", "RoadAccidents"),
        ("ExAplosion016_x264", "Explosion"),
        ("Birthday001_x264", None),
    ],
)
def test_the_class_of_a_ucf_video_is_in_its_name(name, expected):
    assert class_of(name) == expected


def annotate(folder: Path, *lines: str) -> Path:
    path = folder / "annotation.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_every_bad_line_of_an_annotation_is_listed_with_its_number(tmp_path):
    path = annotate(
        tmp_path,
        "Abuse/Abuse001_x264.mp4 100 Abuse 10 20 -1 -1",
        "Abuse/Abuse002_x264.mp4 100 Abuse 30 20 -1 -1",
        "Abuse/Abuse003_x264.mp4 100 Abuse 90 120 -1 -1",
        "Abuse/Abuse004_x264.mp4 100 Abuse 10",
        "Abuse/Abuse005_x264.mp4 many Abuse 10 20",
        "Abuse/Abuse001_x264.mp4 100 Abuse 10 20 -1 -1",
        "Party/Party001_x264.mp4 100 Party 10 20",
        "Abuse/Abuse006_x264.mp4 100 Arson 10 20",
        "Normal/Normal_Videos_001_x264.mp4 100 Normal 5 9",
        "Abuse/Abuse007_x264.mp4 100 Abuse -1 -1 -1 -1",
        "",
        "Abuse/Abuse008_x264.mp4 100 Abuse 0 101 -1 -1",
    )
    problems = Problems(tmp_path)

    found = read_annotations(path, problems)

    lines = [text.split(":")[0] for text in problems.found]
    assert lines == [f"annotation.txt, line {n}" for n in range(2, 11)]
    for said in ("reversed", "leaves its 100", "whole number", "line 1 already"):
        assert any(said in text for text in problems.found), said
    assert set(found) == {"Abuse001_x264", "Abuse008_x264"}
    assert found["Abuse008_x264"].intervals == ((0, 100),)


def test_ucf_splits_come_from_the_annotation_and_nothing_is_half_imported(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for name in (
        "train/Abuse002_x264",
        "test/Abuse001_x264",
        "train/Normal_Videos001_x264",
        "test/Normal_Videos_003_x264",
    ):
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 4), np.float32))
    good = "Abuse/Abuse001_x264.mp4 100 Abuse 10 20 -1 -1"
    normal = "N/Normal_Videos_003_x264.mp4 50 Normal -1 -1 -1 -1"
    missing = "N/Normal_Videos_004_x264.mp4 50 Normal -1 -1 -1 -1"

    path = annotate(tmp_path, good, normal, missing)
    manifest, truth = formats.read("ucf_crime", tmp_path, annotations=path)

    assert [(v.key, v.split, v.label) for v in manifest.videos] == [
        ("Abuse002_x264", "train", 1),
        ("Normal_Videos001_x264", "train", 0),
        ("Abuse001_x264", "test", 1),
        ("Normal_Videos_003_x264", "test", 0),
    ]
    assert truth["Abuse001_x264"].intervals == ((10, 21),)
    assert truth["Normal_Videos_003_x264"] == Truth()
    assert "Abuse002_x264" not in truth
    assert manifest.rules["test_videos_missing"] == ["Normal_Videos_004_x264"]

    annotate(tmp_path, good)  # then a test video would silently be trained on
    assert "does not name it" in problems_of("ucf_crime", tmp_path, annotations=path)


def test_the_published_ucf_annotation_comes_to_the_published_numbers(shared, tmp_path):
    path = shared / "data" / "annotations" / "ucf_crime" / "UCF_Annotation.txt"
    problems = Problems(tmp_path)

    listed = read_annotations(path, problems).values()
    exclusive = read_annotations(path, problems, end_inclusive=False).values()

    def positives(rows: Any) -> int:
        masks = (interval_mask(r.intervals, r.num_frames) for r in rows)
        return sum(int(m[: len(m) // 16 * 16].sum()) for m in masks)

    assert not problems.found
    assert len(listed) == 290
    assert sum(r.num_frames for r in listed) == 1_111_808
    assert sum(r.num_frames // 16 * 16 for r in listed) == 1_109_824
    assert positives(listed) == 84_309
    assert positives(exclusive) == 84_160
    assert sum(r.clipped for r in listed) == 5
    counts = Counter(c for r in listed for c in r.classes)
    assert set(counts) == set(CLASSES)
    assert counts["Explosion"] == 21 and counts["RoadAccidents"] == 23


def test_the_real_ucf_features_are_read_with_labels_from_names(shared):
    manifest, truth = formats.read(
        "ucf_crime",
        shared / "data" / "ucf_crime_features",
        annotations=shared / "data" / "annotations" / "ucf_crime" / "UCF_Annotation.txt",
    )

    counts = Counter((v.split, v.label) for v in manifest.videos)
    assert counts == {("train", 0): 707, ("train", 1): 794, ("test", 0): 145, ("test", 1): 139}
    assert len(manifest.rules["test_videos_missing"]) == 6
    assert set(truth) == {v.key for v in manifest.split("test")}
    assert all(bool(truth[v.key].intervals) == bool(v.label) for v in manifest.split("test"))


# -- UCSD Ped ---------------------------------------------------------------------------------


def ped(root: Path) -> Path:
    """The distributed layout, small: one training clip, two test clips, one of them official."""
    write_frames(root / "Train" / "Train001")
    write_frames(root / "Test" / "Test001")
    write_frames(root / "Test" / "Test001_gt", filled=(1, 2))
    return root


def test_ped_frame_folders_are_read_with_the_masks_as_intervals(tmp_path):
    manifest, truth = formats.read("ucsd_ped", ped(tmp_path))

    assert [(v.key, v.split, v.label, v.num_frames) for v in manifest.videos] == [
        ("Train001", "train", 0, 4),
        ("Test001", "test", 1, 4),
    ]
    assert truth == {"Test001": Truth(intervals=((1, 3),), masks="Test/Test001_gt")}


def test_ped_masks_that_do_not_fit_their_clip_are_refused(tmp_path):
    root = ped(tmp_path)
    (root / "Test" / "Test001_gt" / "004.png").unlink()

    assert "3 masks for 4 frames" in problems_of("ucsd_ped", root)


def test_a_normal_ped_clip_with_masks_is_a_contradiction(tmp_path):
    root = ped(tmp_path)
    split = {
        "train": {"normal": ["Test001"], "abnormal": []},
        "test": {"normal": ["Train001"], "abnormal": ["Test999"]},
    }
    (root / "split_weak.json").write_text(json.dumps(split))
    assert "there is no such clip" in problems_of("ucsd_ped", root)

    split["test"]["abnormal"] = []
    (root / "split_weak.json").write_text(json.dumps(split))
    assert "masks are not empty" in problems_of("ucsd_ped", root)


def test_the_official_layout_of_a_real_clip_is_read(shared):
    manifest, truth = formats.read("ucsd_ped", shared / "data" / "ucsd_ped2" / "official_layout")

    assert [(v.key, v.num_frames, v.width, v.height) for v in manifest.videos] == [
        ("Test009", 120, 360, 240)
    ]
    assert truth["Test009"].intervals == ((0, 120),)


@pytest.mark.slow
def test_real_ped2_has_the_weak_split_and_the_official_ranges(shared):
    manifest, truth = formats.read("ucsd_ped", shared / "data" / "ucsd_ped2")

    counts = Counter((v.split, v.label) for v in manifest.videos)
    assert counts == {("train", 0): 4, ("train", 1): 6, ("test", 0): 12, ("test", 1): 6}
    assert sum(v.num_frames for v in manifest.split("test")) == 3000
    assert truth["Test001"].intervals == ((60, 180),)  # official: 61-180, counted from 1
    assert truth["Test012"].intervals == ((87, 180),)


# -- own footage ------------------------------------------------------------------------------


def describe(root: Path, *videos: dict[str, Any]) -> Path:
    listed = ",\n".join(json.dumps(v) for v in videos)
    (root / "dataset.json").write_text(f'{{"name": "ours",\n"videos": [\n{listed}\n]}}')
    return root


def test_json_and_csv_say_the_same(tmp_path):
    for name in ("a", "b", "c"):
        write_frames(tmp_path / "clips" / name)
    describe(
        tmp_path,
        {"path": "clips/a", "split": "train", "label": 0},
        {"path": "clips/b", "split": "train", "class": "Fall"},
        {
            "key": "c",
            "path": "clips/c",
            "split": "test",
            "classes": ["Fall", "Fight"],
            "intervals": [[2, 4], [0, 1]],
        },
    )
    from_json, json_truth = formats.read("generic", tmp_path)
    table = tmp_path / "other.csv"
    table.write_text(
        "key,path,split,label,class,intervals\n"
        "a,clips/a,train,0,,\n"
        "b,clips/b,train,1,Fall,\n"
        "c,clips/c,test,,Fall;Fight,2-4; 0-1\n",
        encoding="utf-8-sig",
    )
    from_csv, csv_truth = formats.read("generic", tmp_path, annotations=table)

    assert from_json.videos == from_csv.videos
    assert json_truth == csv_truth == {"c": Truth(intervals=((0, 1), (2, 4)))}
    assert from_json.name == "ours"
    assert [v.num_frames for v in from_json.videos] == [4, 4, 4]


def test_every_fault_of_a_description_is_listed_with_its_line(tmp_path):
    for name in ("a", "b", "c", "d"):
        write_frames(tmp_path / name)
    outside = write_frames(tmp_path.parent / f"{tmp_path.name}-outside")
    (tmp_path / "link").symlink_to(outside)
    describe(
        tmp_path,
        {"path": "a", "split": "train", "label": 0},
        {"path": "a", "split": "train", "label": 0},
        {"path": "../etc/passwd", "split": "train", "label": 0},
        {"path": "/etc/passwd", "split": "train", "label": 0},
        {"path": "link", "split": "train", "label": 0},
        {"path": "nowhere", "split": "train", "label": 0},
        {"path": "b", "split": "validation", "label": 0},
        {"key": "no label", "path": "b", "split": "train"},
        {"key": "reversed", "path": "b", "split": "test", "label": 1, "intervals": [[3, 1]]},
        {"key": "beyond", "path": "c", "split": "test", "label": 1, "intervals": [[1, 9]]},
        {"key": "contradiction", "path": "b", "split": "test", "label": 0, "class": "Fall"},
        {"key": "no truth", "path": "b", "split": "test", "label": 1},
        {"key": "typo", "path": "b", "split": "train", "label": 0, "frame": 3},
        {"key": "count", "path": "d", "split": "train", "label": 0, "num_frames": 5},
    )

    found = problems_of("generic", tmp_path)

    for line, said in {
        4: "used on line 3 already",
        5: "leads out",
        6: "leads out",
        7: "leads out",
        8: "does not exist",
        9: "expected train or test",
        10: "a label (0 normal, 1 abnormal) or a class",
        11: "reversed",
        12: "leaves the 4 frames",
        13: "label is 0, but the class is Fall",
        14: "needs its intervals",
        15: "unknown keys frame",
        16: "4 can be decoded",
    }.items():
        hits = [p for p in found.splitlines() if f"line {line}:" in p]
        assert any(said in p for p in hits), (line, said, found)
    assert "line 3:" not in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1"),
        ("[]", "expected"),
        ('{"videos": {}}', "expected"),
        ('{"videos": []}', "lists no video"),
        ('{"videos": [3]}', "expected an object"),
        ('{"vidoes": []}', "expected"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_description_that_is_none_is_refused(tmp_path, text, said):
    (tmp_path / "dataset.json").write_text(text)

    assert said in problems_of("generic", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\na,0\n", "the column split is missing"),
        ("path,split,lable\na,train,0\n", "unknown columns"),
        ("key,split,label\na,train\n", "line 2: too many or too few fields"),
        ("key,split,label\na,train,2\n", "line 2: a: label is '2'"),
        ("key,split,label,intervals,num_frames\na,test,1,1-x,9\n", "no interval"),
    ],
)
def test_a_table_with_faults_is_refused_with_the_line(tmp_path, text, said):
    (tmp_path / "dataset.csv").write_text(text)

    assert said in problems_of("generic", tmp_path)


def test_a_table_without_a_description_names_what_is_looked_for(tmp_path):
    with pytest.raises(VadError, match=r"dataset\.json nor dataset\.csv"):
        formats.read("generic", tmp_path)


def test_features_without_videos_can_be_described(tmp_path):
    (tmp_path / "dataset.csv").write_text(
        "key,split,label,intervals,num_frames\na,train,0,,\nb,test,1,3-9,40\n"
    )

    manifest, truth = formats.read("generic", tmp_path, end_inclusive="yes")

    assert [(v.key, v.num_frames, v.path) for v in manifest.videos] == [("a", 0, ""), ("b", 40, "")]
    assert truth["b"].intervals == ((3, 10),)
