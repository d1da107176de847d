"""What changed from one version of a data set to another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vad.data.differences import FIELDS, differences
from vad.data.manifest import Manifest, Track, Truth, Video, fingerprint
from vad.data.versions import compare, store
from vad.errors import VadError

FIGHT = Video(
    key="fight", split="test", label=1, classes=("Fighting",), path="fight.mp4", num_frames=160,
    fps=25.0, width=320, height=240,
)  # fmt: skip
CALM = Video(key="calm", split="train", label=0, path="calm.mp4", num_frames=96, fps=25.0)
TRUTH = {"fight": Truth(intervals=((16, 48),))}
BOX = Track(start_frame=16, end_frame=48, keyframes=((16, 0.0, 0.0, 9.0, 9.0),))


def manifest(*videos: Video, **rules: object) -> Manifest:
    return Manifest(name="street", format="generic", videos=videos, rules=rules)


BEFORE = manifest(FIGHT, CALM, interval_end="included")


def test_a_version_does_not_differ_from_itself() -> None:
    found = differences(BEFORE, BEFORE, TRUTH, TRUTH)

    assert found.changes == ()
    assert found.unchanged == 2
    assert found.to_dict()["videos"] == {"added": 0, "removed": 0, "changed": 0, "unchanged": 2}


def test_videos_that_came_and_went_are_listed_by_kind_and_name() -> None:
    more = dataclasses.replace(CALM, key="a calm one")
    after = manifest(CALM, more, dataclasses.replace(CALM, key="another"))

    found = differences(BEFORE, after, TRUTH, {})

    assert [(c.kind, c.key) for c in found.changes] == [
        ("added", "a calm one"), ("added", "another"), ("removed", "fight"),
    ]  # fmt: skip
    assert found.kinds == {"added": 2, "removed": 1, "changed": 0}
    assert found.changes[-1].classes == ("Fighting",)
    assert found.unchanged == 1


@pytest.mark.parametrize(
    ("field", "video", "truth"),
    [
        ("split", {"split": "train"}, {}),
        ("label", {"label": 0}, {}),
        ("classes", {"classes": ("Running",)}, {}),
        ("num_frames", {"num_frames": 158}, {}),
        ("fps", {"fps": 10.0}, {}),
        ("size", {"width": 640}, {}),
        ("path", {"path": "moved/fight.mp4"}, {}),
        ("intervals", {}, {"intervals": ((16, 49),)}),
        ("boxes", {}, {"tracks": (BOX,)}),
        ("masks", {}, {"masks": "fight_gt"}),
    ],
)
def test_each_change_of_a_video_is_named_and_changes_the_fingerprint(
    field: str, video: dict[str, object], truth: dict[str, object]
) -> None:
    after = manifest(dataclasses.replace(FIGHT, **video), CALM, interval_end="included")
    truth_after = {"fight": dataclasses.replace(TRUTH["fight"], **truth)}

    found = differences(BEFORE, after, TRUTH, truth_after)

    assert found.fields == {field: 1}
    assert [c.key for c in found.of(field=field)] == ["fight"]
    was, now = found.changes[0].fields[field]
    assert was != now
    assert fingerprint(BEFORE, TRUTH) != fingerprint(after, truth_after)


def test_every_field_of_a_video_and_of_its_truth_is_compared() -> None:
    """A new one must be added to the differences, or versions differ without a reason."""
    of_a_video = {f.name for f in dataclasses.fields(Video)} - {"key", "width", "height"}
    of_truth = {f.name for f in dataclasses.fields(Truth)} - {"tracks"}

    assert of_a_video | of_truth | {"size", "boxes"} == set(FIELDS)


def test_truth_that_was_never_given_is_not_an_empty_one() -> None:
    found = differences(BEFORE, BEFORE, {}, {"fight": Truth()})

    assert found.changes[0].fields["intervals"] == (None, [])


def test_other_rules_are_a_difference_of_their_own() -> None:
    after = dataclasses.replace(
        manifest(FIGHT, CALM, interval_end="not included", slack=1), format="ucf_crime"
    )

    found = differences(BEFORE, after, TRUTH, TRUTH)

    assert found.changes == ()
    assert found.rules == {
        "format": ("generic", "ucf_crime"),
        "interval_end": ("included", "not included"),
        "slack": (None, 1),
    }


def test_changes_are_filtered_by_kind() -> None:
    after = manifest(dataclasses.replace(FIGHT, label=0), dataclasses.replace(CALM, key="new"))

    found = differences(BEFORE, after, TRUTH, TRUTH)

    assert [c.key for c in found.of("changed")] == ["fight"]
    assert [c.key for c in found.of("removed")] == ["calm"]
    assert [c.key for c in found.of("added", "label")] == []


def test_versions_are_compared_by_their_folders(tmp_path: Path) -> None:
    store(tmp_path / "one", BEFORE, TRUTH)
    store(tmp_path / "two", BEFORE, {"fight": Truth(intervals=((16, 50),))})

    found = compare(tmp_path / "one", tmp_path / "two")

    assert found.changes[0].fields == {"intervals": ([[16, 48]], [[16, 50]])}
    with pytest.raises(VadError) as error:
        compare(tmp_path / "one", tmp_path / "three")
    assert error.value.code == "file-missing"
