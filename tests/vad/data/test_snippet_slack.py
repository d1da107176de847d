"""How far features may differ in length from their video, and what then happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad.errors import ShapeError
from vad.timeline import SnippetRule, snippet_to_frame


@given(
    frames=st.integers(1, 400), snippets=st.integers(1, 30), slack=st.integers(0, 30),
    length=st.integers(1, 20),
)  # fmt: skip
def test_bounds_cover_every_frame_once_or_the_length_is_refused(frames, snippets, slack, length):
    rule = SnippetRule("hold", length, slack)
    low = max(1, frames // length - slack)
    fits = low <= snippets <= max(low, -(-frames // length) + slack)
    if not fits:
        with pytest.raises(ShapeError):
            rule.bounds(snippets, frames)
        return
    bounds = rule.bounds(snippets, frames)
    assert bounds[0] == 0 and bounds[-1] == frames
    assert (np.diff(bounds) >= 0).all()
    assert (np.diff(bounds)[:-1] <= length).all()


def test_missing_snippets_repeat_the_last_score_and_spare_ones_are_cut_off():
    scores = np.array([0.1, 0.2, 0.9], np.float32)

    repeated = snippet_to_frame(scores, 7, SnippetRule("hold", 1, slack=4))
    cut = snippet_to_frame(scores, 2, SnippetRule("hold", 1, slack=1))

    assert repeated.tolist() == pytest.approx([0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9])
    assert cut.tolist() == pytest.approx([0.1, 0.2])


def test_a_rule_without_slack_says_what_it_said_before_there_was_one():
    assert SnippetRule("hold", 16).to_dict() == {"rule": "hold", "snippet_len": 16}
    assert SnippetRule(**SnippetRule("hold", 16, 2).to_dict()) == SnippetRule("hold", 16, 2)
