"""Protocols of patch-level numbers: equal exactly when two numbers may be compared."""

from __future__ import annotations

import dataclasses
import json

import pytest

from vad.data.manifest import Track, Truth, Video
from vad.evaluation.patch_protocol import PatchProtocol, differences, spatial_content
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.protocol import Protocol
from vad.timeline import SnippetRule

VIDEO = Video(key="a", split="test", label=1, num_frames=64, width=320, height=240)
BOX = Track(start_frame=0, end_frame=9, keyframes=((0, 1.0, 2.0, 3.0, 4.0),), name="x")
OTHER = dataclasses.replace(BOX, end_frame=10)
FRAME = Protocol.of(
    dataset="d" * 64,
    videos=[VIDEO],
    truth={"a": Truth(intervals=((0, 9),))},
    rule=SnippetRule(),
    score="stage2, highest patch",
)


def content(*tracks: Track, masks: str = "") -> list:
    return spatial_content(VIDEO, Truth(tracks=tracks), masks)


def protocol(**changes) -> PatchProtocol:
    given = {
        "frame": FRAME,
        "rule": PatchRule(),
        "truth": {"a": content(BOX, OTHER), "b": content()},
        "tubelets": 2,
        **changes,
    }
    return PatchProtocol.of(given.pop("frame"), **given)


def test_equal_circumstances_have_equal_fingerprints():
    renamed = dataclasses.replace(BOX, name="y")
    again = protocol(truth={"b": content(), "a": content(OTHER, renamed)})

    assert again.fingerprint == protocol().fingerprint
    assert differences(again, protocol()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frame": dataclasses.replace(FRAME, score="stage1")}, "evaluated score differs"),
        ({"frame": dataclasses.replace(FRAME, smoothing=5)}, "smoothing over snippets differs"),
        ({"rule": PatchRule(rows=15, columns=20)}, "number of patch columns differs: 8 and 20"),
        ({"rule": PatchRule(cell=8)}, "size of a patch in pixels differs: 16 and 8"),
        ({"rule": PatchRule(overlap=0.5)}, "overlap that makes a patch abnormal differs"),
        ({"truth": {"a": content(BOX), "b": content()}}, "truth of places is not the same"),
        ({"truth": {"a": content(masks="0"), "b": content()}}, "truth of places is not the same"),
        ({"truth": {"a": content(BOX, OTHER)}}, "number of videos with a place differs: 2 and 1"),
        ({"truth": {"a": content(BOX), "c": content()}}, "equally many"),
        ({"merge": "each"}, "making of maps differs"),
    ],
)
def test_a_change_makes_numbers_incomparable_and_is_named(changes, said):
    first, second = protocol(), protocol(**changes)

    assert first.fingerprint != second.fingerprint
    assert any(said in sentence for sentence in differences(first, second))


def test_how_one_tubelet_would_be_merged_does_not_matter():
    one, other = protocol(tubelets=1), protocol(tubelets=1, merge="each")

    assert one.fingerprint == other.fingerprint


def test_a_stored_protocol_comes_back_even_from_a_newer_version():
    stored = json.loads(json.dumps(protocol().to_dict())) | {"invented_later": 1}

    assert PatchProtocol.from_dict(stored) == protocol()
    assert PatchProtocol.from_dict(stored).fingerprint == protocol().fingerprint
