"""Lists of videos: names, splits, and the readers' options in a register run."""

from __future__ import annotations

import dataclasses

import pytest
from list_files import NORMAL, VIOLENT, features, problems_of, write

from vad.configs import FORMATS, RegisterConfig
from vad.data import formats
from vad.data.formats.common import Problems
from vad.data.formats.lists import read_list, video_name
from vad.errors import ConfigError


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


def test_every_reader_and_each_of_its_options_can_be_named_in_a_register_run():
    fields = {f.name for f in dataclasses.fields(RegisterConfig)} | {"end_inclusive"}

    assert set(formats.FORMATS) == set(FORMATS)
    for reader in formats.FORMATS.values():
        assert {o.name for o in reader.options} <= fields
