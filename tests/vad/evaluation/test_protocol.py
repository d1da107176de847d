"""Protocols: equal exactly when two numbers may be compared, and clear about why not."""

from __future__ import annotations

import dataclasses
import json

import pytest

from vad.data.manifest import Truth, Video
from vad.evaluation.protocol import Protocol, differences
from vad.timeline import SnippetRule

VIDEOS = (
    Video(key="a", split="test", label=1, num_frames=64),
    Video(key="b", split="test", label=0, num_frames=48),
)
TRUTH = {"a": Truth(intervals=((3, 9),))}


def protocol(**changes) -> Protocol:
    given = {"dataset": "d" * 64, "videos": VIDEOS, "truth": TRUTH, "rule": SnippetRule()}
    return Protocol.of(**{**given, **changes})


def test_equal_circumstances_have_equal_fingerprints():
    again = protocol(videos=VIDEOS[::-1], truth={**TRUTH, "b": Truth()})

    assert again.fingerprint == protocol().fingerprint
    assert differences(again, protocol()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "e" * 64}, "data set version"),
        ({"videos": VIDEOS[:1]}, "number of videos differs: 2 and 1"),
        ({"videos": (VIDEOS[0], dataclasses.replace(VIDEOS[1], key="c"))}, "equally many"),
        ({"truth": {"a": Truth(intervals=((3, 10),))}}, "ground truth"),
        ({"videos": (dataclasses.replace(VIDEOS[0], num_frames=63), VIDEOS[1])}, "ground truth"),
        ({"rule": SnippetRule("stretch")}, "snippet-to-frame rule differs: hold and stretch"),
        ({"rule": SnippetRule("hold", 32)}, "frames per snippet differs: 16 and 32"),
        ({"tail": "cut"}, "tail rule differs: hold and cut"),
        ({"smoothing": 5}, "smoothing over snippets differs: 1 and 5"),
        ({"crops": "centre"}, "crop averaging differs: mean and centre"),
        ({"score": "stage1*stage2"}, "evaluated score differs"),
        ({"split": "train"}, "split differs"),
    ],
)
def test_a_change_makes_numbers_incomparable_and_is_named(changes, said):
    first, second = protocol(), protocol(**changes)

    assert first.fingerprint != second.fingerprint
    assert any(said in sentence for sentence in differences(first, second))


def test_another_version_of_the_metric_code_is_named():
    newer = dataclasses.replace(protocol(), metric_version=99)

    assert "version of the metric code" in differences(protocol(), newer)[0]


def test_stretched_snippets_have_no_length_and_no_tail():
    one = protocol(rule=SnippetRule("stretch", 16), tail="hold")
    other = protocol(rule=SnippetRule("stretch", 54), tail="cut")

    assert one.fingerprint == other.fingerprint


def test_a_stored_protocol_comes_back_even_from_a_newer_version():
    stored = json.loads(json.dumps(protocol().to_dict())) | {"invented_later": 1}

    assert Protocol.from_dict(stored) == protocol()
    assert Protocol.from_dict(stored).fingerprint == protocol().fingerprint
