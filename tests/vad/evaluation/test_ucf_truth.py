"""The official UCF-Crime annotations give the frame counts that the literature evaluates on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vad.data.manifest import Truth, Video
from vad.evaluation.frame import evaluate
from vad.evaluation.scores import ScoreSet
from vad.timeline import SnippetRule

# frames and positive frames: reference numbers for these annotations
COUNTS = [
    ("floor", "cut", "inclusive", 1_109_824, 84_309),
    ("floor", "cut", "half-open", 1_109_824, 84_160),
    ("ceil", "cut", "inclusive", 1_114_144, 84_343),
    ("ceil", "cut", "half-open", 1_114_144, 84_189),
    ("floor", "hold", "inclusive", 1_111_808, None),
]


def read(path: Path, ends: str) -> tuple[list[Video], dict[str, Truth]]:
    videos, truth = [], {}
    for line in path.read_text().split("\n"):
        if not line.strip():
            continue
        name, frames, kind, *edges = line.split()
        key, label = Path(name).stem, int(kind != "Normal")
        pairs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        extra = int(ends == "inclusive")
        intervals = tuple((a, b + extra) for a, b in pairs if a >= 0)
        classes = (kind,) if label else ()
        videos.append(
            Video(key=key, split="test", label=label, classes=classes, num_frames=int(frames))
        )
        truth[key] = Truth(intervals=intervals)
    return videos, truth


def score(path: Path, snippets: str, tail: str, ends: str) -> ScoreSet:
    videos, truth = read(path, ends)
    rng = np.random.default_rng(0)
    count = {v.key: -(-v.num_frames // 16) if snippets == "ceil" else v.num_frames // 16
             for v in videos}  # fmt: skip
    scores = {key: rng.random(n, dtype=np.float32) for key, n in count.items()}
    return ScoreSet.build(scores, videos=videos, truth=truth, rule=SnippetRule(), tail=tail)


@pytest.fixture
def annotation(shared: Path) -> Path:
    path = shared / "data" / "annotations" / "ucf_crime" / "UCF_Annotation.txt"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(("snippets", "tail", "ends", "frames", "positive"), COUNTS)
def test_frames_and_positive_frames_are_the_known_ones(
    annotation, snippets, tail, ends, frames, positive
):
    scores = score(annotation, snippets, tail, ends)

    assert len(scores) == 290
    assert scores.frames.sum() == frames
    if positive is not None:
        assert scores.positives.sum() == positive


def test_random_scores_on_the_whole_split_are_chance(annotation):
    report = evaluate(score(annotation, "floor", "cut", "inclusive"))

    assert report["metrics"]["auc"] == pytest.approx(0.5, abs=0.01)
    assert report["metrics"]["ap_step"] == pytest.approx(84_309 / 1_109_824, abs=0.01)
    # the list's typing error ExAplosion makes a fourteenth class here: `read` maps no names
    assert len(report["per_class"]) == 14
