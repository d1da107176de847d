"""The scores of an evaluation: one number a snippet, packed over all videos. numpy only.

All frames of a snippet share its score, so every frame-level metric can be computed exactly from
one row a snippet: the score, how many frames carry it, and how many of those are positive.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors
import safetensors.numpy

from vad.data.manifest import NORMAL, Truth, Video
from vad.data.tensorfile import write_bytes
from vad.errors import ShapeError, VadError
from vad.timeline import SnippetRule, interval_mask

FORMAT_VERSION = 1
TAILS = ("hold", "cut")
_HEADER = "vadlab"  # one metadata entry, so that the bytes do not depend on a hash map's order
_ARRAYS = ("labels", "offsets", "scores", "frames", "positives")


@dataclass(frozen=True, eq=False, kw_only=True)
class VideoScores:
    """The scores of one video, for timelines.

    Args:
        start_frames: [T], first frame of each snippet.
        scores, frames, positives: [T], as in `ScoreSet`.
    """

    key: str
    label: int
    classes: tuple[str, ...]
    scores: np.ndarray
    frames: np.ndarray
    positives: np.ndarray

    @property
    def num_frames(self) -> int:
        return int(self.frames.sum())

    @property
    def start_frames(self) -> np.ndarray:
        return np.cumsum(self.frames) - self.frames

    def frame_scores(self) -> np.ndarray:
        """[F], each snippet's score held over its frames."""
        return np.repeat(self.scores, self.frames)


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreSet:
    """Per-snippet scores of V videos, one after the other; n = all snippets together.

    Args:
        keys: V video names, unique.
        labels: [V] int8, 0 normal, 1 abnormal.
        classes: V tuples of class names; empty for a normal video.
        offsets: [V+1] int64; video v owns the snippets [offsets[v], offsets[v+1]).
        scores: [n] float32, finite.
        frames: [n] int64, frames of each snippet.
        positives: [n] int64, positive frames of each snippet.

    Raises:
        VadError: `scores-invalid`, the arrays contradict each other.
    """

    keys: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[tuple[str, ...], ...]
    offsets: np.ndarray
    scores: np.ndarray
    frames: np.ndarray
    positives: np.ndarray

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise VadError(
                "scores-invalid",
                f"The scores contradict themselves: {problem}.",
                "Evaluate the checkpoint again.",
            )
        for name in _ARRAYS:  # derived values are cached, so nobody may write
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @classmethod
    def build(
        cls,
        scores: Mapping[str, np.ndarray],
        *,
        videos: Sequence[Video],
        truth: Mapping[str, Truth],
        rule: SnippetRule,
        tail: str = "hold",
        smoothing: int = 1,
    ) -> Self:
        """Pack the scores of `videos`, in their order, with the truth that belongs to them.

        Args:
            scores: video key to [T], crops already averaged.
            videos: exactly the evaluated videos.
            truth: intervals by video key; every abnormal video needs an entry.
            rule: how snippets cover frames.
            tail: `hold` counts every frame of the video, those after the last whole snippet with
                its score; `cut` counts snippet_len frames a snippet, as published truth arrays of
                length 16*T do, and needs no frame counts. Under the rule `stretch` both are equal.
            smoothing: moving average over this many snippets; 1 is off.

        Raises:
            VadError: `evaluation-impossible`, listing every video whose scores are missing, not
                asked for, not finite or of the wrong length, or whose truth is missing.
        """
        if tail not in TAILS:
            raise ValueError(f"unknown tail rule {tail!r}; known: {', '.join(TAILS)}")
        wanted = {v.key for v in videos}
        problems = [
            f"{key}: has scores but is not evaluated" for key in scores if key not in wanted
        ]
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for video in videos:
            found = _video_part(video, scores.get(video.key), truth.get(video.key), rule, tail)
            if isinstance(found, str):
                problems.append(f"{video.key}: {found}")
            else:
                parts.append(found)
        if problems or not videos:
            raise _impossible(problems or ["no video to evaluate"])
        values = [smooth(part[0], smoothing) for part in parts]
        return cls(
            keys=tuple(v.key for v in videos),
            labels=np.array([v.label for v in videos], dtype=np.int8),
            classes=tuple(tuple(c for c in v.classes if c != NORMAL) for v in videos),
            offsets=np.cumsum([0, *(len(v) for v in values)], dtype=np.int64),
            scores=np.concatenate(values),
            frames=np.concatenate([part[1] for part in parts]),
            positives=np.concatenate([part[2] for part in parts]),
        )

    def __len__(self) -> int:
        """V, the number of videos."""
        return len(self.keys)

    @cached_property
    def video_of(self) -> np.ndarray:
        """[n] int64, the video that each snippet belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @cached_property
    def negatives(self) -> np.ndarray:
        """[n] int64, negative frames of each snippet."""
        return self.frames - self.positives

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each video key."""
        return {key: v for v, key in enumerate(self.keys)}

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """All classes of the abnormal videos, sorted."""
        return tuple(sorted({name for names in self.classes for name in names}))

    def has_class(self, name: str) -> np.ndarray:
        """[V] bool, videos of this class."""
        return np.array([name in names for names in self.classes], dtype=bool)

    def per_video(self, values: np.ndarray) -> np.ndarray:
        """[V], the sum of [n] values over each video."""
        return np.add.reduceat(values, self.offsets[:-1])

    @cached_property
    def max_scores(self) -> np.ndarray:
        """[V] float32, the highest score of each video: its video-level score."""
        return np.maximum.reduceat(self.scores, self.offsets[:-1])

    def video(self, key: str) -> VideoScores:
        """The scores of one video.

        Raises:
            KeyError: the video was not evaluated.
        """
        return self._at(self.index[key])

    def videos(self) -> Iterator[VideoScores]:
        """All videos, in order."""
        return (self._at(v) for v in range(len(self)))

    def frame_scores(self, key: str) -> np.ndarray:
        """[F] float32, each snippet's score held over its frames."""
        return self.video(key).frame_scores()

    def select(self, videos: np.ndarray) -> ScoreSet:
        """The chosen videos only: [V] bool, or positions in the order wanted."""
        chosen = np.arange(len(self))[videos]
        spans = [np.arange(self.offsets[v], self.offsets[v + 1]) for v in chosen]
        rows = np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)
        return ScoreSet(
            keys=tuple(self.keys[v] for v in chosen),
            labels=self.labels[chosen],
            classes=tuple(self.classes[v] for v in chosen),
            offsets=np.cumsum([0, *(len(s) for s in spans)], dtype=np.int64),
            scores=self.scores[rows],
            frames=self.frames[rows],
            positives=self.positives[rows],
        )

    def smoothed(self, window: int) -> ScoreSet:
        """The same set with every video's scores averaged over `window` snippets."""
        parts = [smooth(video.scores, window) for video in self.videos()]
        return replace(self, scores=np.concatenate(parts))

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> str:
        """Write a safetensors file beside its place, sync it, rename it. Returns its sha256.

        Args:
            metadata: anything JSON can hold; `read_metadata` gives it back.
        """
        header = {
            "version": FORMAT_VERSION,
            "keys": self.keys,
            "classes": self.classes,
            "metadata": dict(metadata or {}),
        }
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        content = safetensors.numpy.save(arrays, metadata={_HEADER: text})
        write_bytes(path, content)
        return hashlib.sha256(content).hexdigest()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; 70,000 snippets are 1.7 MB.

        Raises:
            VadError: `file-missing`, or `scores-invalid` for anything that `save` did not write.
        """
        header = _read_header(path)
        try:
            arrays = safetensors.numpy.load_file(path)
            return cls(
                keys=tuple(header["keys"]),
                classes=tuple(tuple(names) for names in header["classes"]),
                **{name: arrays[name] for name in _ARRAYS},
            )
        except (VadError, safetensors.SafetensorError, KeyError, TypeError) as exc:
            raise _damaged(path, exc) from exc

    def _at(self, v: int) -> VideoScores:
        part = slice(self.offsets[v], self.offsets[v + 1])
        return VideoScores(
            key=self.keys[v],
            label=int(self.labels[v]),
            classes=self.classes[v],
            scores=self.scores[part],
            frames=self.frames[part],
            positives=self.positives[part],
        )

    def _problem(self) -> str:
        """What contradicts what; empty if nothing does."""
        videos, n = len(self.keys), len(self.scores)
        expected = {
            "labels": ((videos,), np.int8),
            "offsets": ((videos + 1,), np.int64),
            "scores": ((n,), np.float32),
            "frames": ((n,), np.int64),
            "positives": ((n,), np.int64),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                kind = np.dtype(dtype).name
                return f"{name} is {array.dtype} {array.shape}, expected {kind} {shape}"
        if len(self.classes) != videos or len(set(self.keys)) != videos:
            return "the video names are not unique, or do not fit the classes"
        if self.offsets[0] != 0 or self.offsets[-1] != n or (np.diff(self.offsets) < 1).any():
            return "a video has no snippets, or snippets belong to no video"
        if not np.isfinite(self.scores).all():
            return "a score is not a finite number"
        if ((self.positives < 0) | (self.positives > self.frames)).any():
            return "a snippet has more positive frames than frames"
        return ""


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata given to `ScoreSet.save`, without reading any score."""
    return dict(_read_header(path)["metadata"])


def smooth(scores: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average; at the ends over the snippets that exist.

    Args:
        scores: [T].
        window: snippets; an even window reaches one further into the past.

    Returns:
        [T] float32.
    """
    values = np.asarray(scores, dtype=np.float64)
    if window <= 1 or len(values) < 2:
        return values.astype(np.float32)
    at = np.arange(len(values))
    first = np.maximum(at - window // 2, 0)
    last = np.minimum(at + (window - 1) // 2, len(values) - 1)
    total = np.concatenate([[0.0], np.cumsum(values)])
    return ((total[last + 1] - total[first]) / (last + 1 - first)).astype(np.float32)


def _video_part(
    video: Video, scores: np.ndarray | None, truth: Truth | None, rule: SnippetRule, tail: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | str:
    """Scores, frames and positives of one video, each [T]; or what is wrong with it."""
    if scores is None:
        return "has no scores"
    scores = np.asarray(scores)
    if scores.ndim != 1 or len(scores) == 0:
        return f"its scores have shape {scores.shape}, expected [T] with T at least 1"
    if not np.isfinite(scores).all():
        return "a score is not a finite number"
    if truth is None and video.label == 1:
        return "is abnormal but has no temporal truth"
    cut = tail == "cut" and rule.rule == "hold"
    if video.num_frames == 0 and not cut:
        return "its frame count is unknown; evaluate with the tail rule 'cut', or count its frames"
    if video.num_frames > 0:
        try:
            bounds = rule.bounds(len(scores), video.num_frames)
        except ShapeError as exc:
            return f"has {len(scores)} scores. {exc.message}"
    if cut:
        bounds = np.arange(len(scores) + 1, dtype=np.int64) * rule.snippet_len
    mask = interval_mask(truth.intervals if truth else (), int(bounds[-1]))
    positives_before = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
    return scores, np.diff(bounds), np.diff(positives_before[bounds])


def _impossible(problems: list[str]) -> VadError:
    what = problems[0] if len(problems) == 1 else f"{len(problems)} videos have problems"
    return VadError(
        "evaluation-impossible",
        f"The scores do not fit the data set: {what}.",
        "Check that features, videos and annotations belong to the same data set version.",
        problems=problems,
    )


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
        if header["version"] != FORMAT_VERSION:
            raise ValueError(f"its version is {header['version']}, expected {FORMAT_VERSION}")
        if not {"keys", "classes", "metadata"} <= header.keys():
            raise ValueError("its header is incomplete")
    except FileNotFoundError:
        raise VadError(
            "file-missing", f"{path} does not exist.", "Evaluate the checkpoint again."
        ) from None
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OSError) as exc:
        raise _damaged(path, exc) from exc
    return header


def _damaged(path: Path, exc: Exception) -> VadError:
    return VadError(
        "scores-invalid",
        f"{path} is not a score file of this program: {exc}.",
        "Evaluate the checkpoint again.",
    )
