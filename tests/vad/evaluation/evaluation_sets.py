"""Score sets for the tests of this folder, and the same data frame by frame."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from vad.evaluation.scores import ScoreSet


def make_set(videos: list[tuple[int, tuple[str, ...], list[tuple[float, int, int]]]]) -> ScoreSet:
    """From (label, classes, [(score, frames, positive frames), …]) a video."""
    rows = [row for _, _, snippets in videos for row in snippets]
    return ScoreSet(
        keys=tuple(f"video-{v:03d}" for v in range(len(videos))),
        labels=np.array([label for label, _, _ in videos], dtype=np.int8),
        classes=tuple(classes for _, classes, _ in videos),
        offsets=np.cumsum([0, *(len(s) for _, _, s in videos)], dtype=np.int64),
        scores=np.array([row[0] for row in rows], dtype=np.float32),
        frames=np.array([row[1] for row in rows], dtype=np.int64),
        positives=np.array([row[2] for row in rows], dtype=np.int64),
    )


def random_set(
    seed: int,
    *,
    normal: int = 6,
    abnormal: int = 6,
    length: int = 12,
    levels: int = 0,
    lift: float = 1.0,
    classes: tuple[str, ...] = ("Fall", "Fight"),
) -> ScoreSet:
    """Random scores, higher on positive snippets by `lift`; `levels` > 0 rounds them to ties."""
    rng = np.random.default_rng(seed)
    videos = []
    for v in range(normal + abnormal):
        label = int(v >= normal)
        count = int(rng.integers(2, length + 1))
        event = np.zeros(count, dtype=bool)
        if label:
            start = int(rng.integers(0, count))
            event[start : start + 1 + count // 3] = True
        mood = rng.normal(0, 0.7)
        values = 1 / (1 + np.exp(-(rng.normal(0, 1, count) + mood + lift * event)))
        if levels:
            values = np.round(values * levels) / levels
        rows = []
        for value, positive in zip(values, event, strict=True):
            frames = int(rng.integers(1, 17))
            rows.append((float(value), frames, int(rng.integers(1, frames + 1)) * int(positive)))
        names = (classes[v % len(classes)],) if label and classes else ()
        videos.append((label, names, rows))
    return make_set(videos)


def expanded(scores: ScoreSet) -> tuple[np.ndarray, np.ndarray]:
    """Truth and score of every frame, [F] each: what the library never builds."""
    counts = np.stack([scores.positives, scores.negatives], axis=1)
    truth = np.repeat(np.tile([1, 0], len(counts)), counts.ravel())
    return truth, np.repeat(scores.scores, scores.frames)


@st.composite
def score_sets(draw: st.DrawFn) -> ScoreSet:
    """Small sets full of ties, empty snippets, and videos without one of the classes."""
    snippet = st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 5)).map(
        lambda s: (s[0] / 4, s[1] + s[2], s[2])
    )
    normal_snippet = st.tuples(st.integers(0, 4), st.integers(0, 5)).map(
        lambda s: (s[0] / 4, s[1], 0)
    )
    abnormal = st.tuples(
        st.just(1),
        st.sampled_from([("Fall",), ("Fight",), ("Fall", "Fight")]),
        st.lists(snippet, min_size=1, max_size=6),
    )
    normal = st.tuples(st.just(0), st.just(()), st.lists(normal_snippet, min_size=1, max_size=6))
    return make_set(draw(st.lists(st.one_of(abnormal, normal), min_size=1, max_size=7)))
