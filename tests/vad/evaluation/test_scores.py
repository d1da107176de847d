"""Score sets: built with the truth of a data set, refused when lengths disagree, kept in a file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation_sets import make_set, random_set, score_sets
from hypothesis import given, settings
from hypothesis import strategies as st

from vad import evaluation
from vad.data.manifest import Truth, Video
from vad.errors import VadError
from vad.evaluation.scores import ScoreSet, read_metadata, smooth
from vad.timeline import SnippetRule

RULE = SnippetRule()


def video(key: str, frames: int, label: int = 0, classes: tuple[str, ...] = ()) -> Video:
    return Video(key=key, split="test", label=label, classes=classes, num_frames=frames)


def values(count: int) -> np.ndarray:
    return np.linspace(0.1, 0.9, count, dtype=np.float32)


def test_a_snippet_knows_its_frames_and_its_positive_frames():
    scores = ScoreSet.build(
        {"a": values(3), "b": values(2)},
        videos=[video("b", 32), video("a", 50, 1, ("Fall",))],
        truth={"a": Truth(intervals=((14, 18), (40, 50)))},
        rule=RULE,
    )

    assert scores.keys == ("b", "a")
    assert scores.frames.tolist() == [16, 16, 16, 16, 18]
    assert scores.positives.tolist() == [0, 0, 2, 2, 10]
    assert scores.video("a").start_frames.tolist() == [0, 16, 32]


def test_the_cut_tail_counts_sixteen_frames_a_snippet_and_needs_no_frame_count():
    made = ScoreSet.build(
        {"floor": values(3), "ceil": values(4), "unknown": values(2)},
        videos=[video("floor", 50, 1), video("ceil", 50, 1), video("unknown", 0)],
        truth={key: Truth(intervals=((40, 50),)) for key in ("floor", "ceil")},
        rule=RULE,
        tail="cut",
    )

    assert made.per_video(made.frames).tolist() == [48, 64, 32]
    assert made.per_video(made.positives).tolist() == [8, 10, 0]


def test_stretched_snippets_share_the_frames_of_the_video():
    made = ScoreSet.build(
        {"a": values(4)},
        videos=[video("a", 10, 1)],
        truth={"a": Truth(intervals=((0, 10),))},
        rule=SnippetRule("stretch"),
    )

    assert made.frames.tolist() == [3, 2, 3, 2]
    assert made.positives.tolist() == [3, 2, 3, 2]


@given(frames=st.integers(1, 300), data=st.data())
@settings(max_examples=60, deadline=None)
def test_positive_frames_are_those_of_the_intervals(frames, data):
    edges = sorted(data.draw(st.sets(st.integers(0, frames), max_size=6)))
    intervals = tuple(zip(edges[::2], edges[1::2], strict=False))
    count = data.draw(st.sampled_from(sorted({max(1, frames // 16), -(-frames // 16)})))

    made = ScoreSet.build(
        {"a": values(count)},
        videos=[video("a", frames, 1)],
        truth={"a": Truth(intervals=intervals)},
        rule=RULE,
    )

    assert made.frames.sum() == frames == len(made.frame_scores("a"))
    assert made.positives.sum() == sum(end - start for start, end in intervals)


def test_every_video_that_does_not_fit_is_named_at_once():
    with pytest.raises(VadError) as caught:
        ScoreSet.build(
            {"long": values(9), "nan": np.array([0.1, np.nan]), "flat": values(4).reshape(2, 2),
             "stranger": values(2), "untold": values(2)},
            videos=[video("long", 32), video("nan", 32), video("flat", 32), video("missing", 32),
                    video("uncounted", 0), video("untold", 32, 1)],
            truth={},
            rule=RULE,
        )  # fmt: skip

    assert caught.value.code == "evaluation-impossible"
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert named == ["stranger", "long", "nan", "flat", "missing", "uncounted", "untold"]
    assert "9 scores" in caught.value.problems[1]
    assert "2 to 2 for 32 frames" in caught.value.problems[1]


def test_an_unknown_frame_count_says_which_tail_rule_helps():
    with pytest.raises(VadError) as caught:
        ScoreSet.build({"a": values(2)}, videos=[video("a", 0)], truth={}, rule=RULE)

    assert "'cut'" in caught.value.problems[0]


def test_no_video_at_all_is_refused():
    with pytest.raises(VadError, match="no video"):
        ScoreSet.build({}, videos=[], truth={}, rule=RULE)


@given(scores=score_sets())
@settings(max_examples=25, deadline=None)
def test_a_saved_set_comes_back_exactly(scores, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.safetensors"

    sha256 = scores.save(path, {"note": "Überfall №1", "step": 500})
    loaded = ScoreSet.load(path)

    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert (loaded.keys, loaded.classes) == (scores.keys, scores.classes)
    for name in ("labels", "offsets", "scores", "frames", "positives"):
        mine, theirs = getattr(scores, name), getattr(loaded, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert read_metadata(path) == {"note": "Überfall №1", "step": 500}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_same_scores_make_the_same_bytes(tmp_path):
    first = random_set(1).save(tmp_path / "a", {"b": 1, "a": [2]})
    second = random_set(1).save(tmp_path / "b", {"b": 1, "a": [2]})

    assert first == second


@pytest.mark.parametrize("damage", ["cut", "text", "foreign", "version", "contradiction"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "scores.safetensors"
    random_set(1).save(path)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-9])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "contradiction":
        scores = random_set(1).scores
        at = content.index(scores.tobytes())
        path.write_bytes(content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :])  # a NaN
    elif damage == "version":
        path.write_bytes(content.replace(b'\\"version\\":1', b'\\"version\\":9'))
    else:
        import safetensors.numpy

        safetensors.numpy.save_file({"x": np.zeros(3)}, path)

    with pytest.raises(VadError) as caught:
        ScoreSet.load(path)

    assert caught.value.code == "scores-invalid"
    assert str(path) in caught.value.message


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(VadError) as caught:
        ScoreSet.load(tmp_path / "none.safetensors")

    assert caught.value.code == "file-missing"


@pytest.mark.parametrize(
    ("row", "said"),
    [((np.nan, 1, 0), "finite"), ((0.5, 1, 2), "more positive"), ((0.5, 1, -1), "more positive")],
)
def test_contradicting_arrays_are_refused(row, said):
    with pytest.raises(VadError, match=said):
        make_set([(1, ("Fall",), [row])])


def test_scores_cannot_be_changed_afterwards():
    scores = random_set(1)

    with pytest.raises(ValueError, match="read-only"):
        scores.scores[0] = 0.0


@given(
    series=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), window=st.integers(1, 9)
)
@settings(max_examples=80, deadline=None)
def test_smoothing_is_the_mean_of_the_snippets_around(series, window):
    expected = [
        np.mean(series[max(0, t - window // 2) : t + (window - 1) // 2 + 1])
        for t in range(len(series))
    ]

    assert smooth(np.array(series, dtype=np.float32), window) == pytest.approx(expected, abs=1e-6)


def test_smoothing_stays_inside_each_video():
    scores = make_set([(0, (), [(0.0, 1, 0), (0.0, 1, 0)]), (1, ("Fall",), [(0.9, 1, 1)] * 2)])

    assert scores.smoothed(3).scores.tolist() == pytest.approx([0, 0, 0.9, 0.9])


def test_selected_videos_keep_their_snippets():
    scores = random_set(2)

    chosen = scores.select(np.array([7, 2]))

    assert chosen.keys == (scores.keys[7], scores.keys[2])
    for key in chosen.keys:
        assert np.array_equal(chosen.frame_scores(key), scores.frame_scores(key))


def test_evaluating_needs_neither_torch_nor_django():
    modules = [f"vad.evaluation.{path.stem}" for path in Path(evaluation.__path__[0]).glob("*.py")]
    code = (
        f"import sys, {', '.join(m for m in modules if not m.endswith('__init__'))};"
        "print([m for m in ('torch', 'django', 'sklearn', 'scipy') if m in sys.modules])"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"
