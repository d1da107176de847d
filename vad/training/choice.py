"""Which part of a video stage 2 looks at: from stage 1's memories to a segment, to frames.

Source: the training step of the published code of STPVAD, with its faults repaired: the map from a
segment to frames, features of the wrong videos, and choosing several segments.

Shapes: B videos of one label, N crops, S segments, C channels, k ranked segments, M chosen ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor

from vad.data.segments import segment_bounds
from vad.errors import ConfigError, ShapeError
from vad.models.memory import top_count
from vad.models.urdmu import BagOutput
from vad.timeline import SnippetRule

Choice = Literal["top", "second", "random", "several"]
Ranking = Literal["memory", "score"]


def rank_segments(out: BagOutput, by: Ranking = "memory") -> tuple[Tensor, Tensor]:
    """The segments that stage 1 finds most telling, best first, crops averaged.

    Args:
        out: of stage 1's training forward.
        by: `memory`, as published: the abnormal memory's response for abnormal videos, and the
            normal memory's for normal ones, which there prefers the least informative segment;
            `score`: the anomaly score for both.

    Returns:
        normal and abnormal [B, k] int64, k = floor(S/16) + 1.
    """
    values = (out.n_att, out.a_att)
    if by == "score":
        values = (out.normal_scores, out.abnormal_scores)
    normal, abnormal = (v.topk(top_count(v.shape[1]), dim=1).indices for v in values)
    return normal, abnormal


def choose_segments(
    normal: Tensor,
    abnormal: Tensor,
    how: Choice = "top",
    *,
    count: int = 3,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Pick from the ranked segments of each video.

    Args:
        normal, abnormal: [B, k] segments, best first, of `rank_segments`.
        how: the first; the second (published as `second_topk`); one random rank, common to all
            videos (`random_top`); or the first `count` (`multi_k`), for one pass each.
        count: for `several`.
        generator: for `random`, on the CPU; torch's default one when absent.

    Returns:
        [2B, M] int64, normal first; M is `count` for `several`, otherwise 1.

    Raises:
        ShapeError: the two rankings differ in shape.
        ConfigError: `how` is unknown, or more segments are asked for than were ranked.
    """
    if normal.ndim != 2 or normal.shape != abnormal.shape:
        raise ShapeError("abnormal", expected=f"{tuple(normal.shape)}, [B, k]", got=abnormal.shape)
    ranked = torch.cat([normal, abnormal])
    ranks = ranked.shape[1]
    if how == "top":
        first, last = 0, 1
    elif how == "second":
        first, last = 1, 2
    elif how == "random":
        first = int(torch.randint(ranks, (), generator=generator))
        last = first + 1
    elif how == "several":
        first, last = 0, count
    else:
        raise ConfigError({"how": f"{how!r} is unknown"}, what="The choice of segments")
    if not first < last <= ranks:
        text = f"{last} segments, of which stage 1 ranks {ranks}"
        raise ConfigError({"count": text}, what="The choice of segments")
    return ranked[:, first:last]


def chosen_features(features: Tensor, chosen: Tensor) -> Tensor:
    """Each video's own features at its own chosen segments, crops averaged.

    Args:
        features: [2B*N, S, C] of stage 1, normal first.
        chosen: [2B, M], of `choose_segments`.

    Returns:
        [2B, M, C].

    Raises:
        ShapeError: the number of sequences is no multiple of the number of videos.
    """
    if features.ndim != 3 or len(features) % len(chosen):
        expected = f"[{len(chosen)} times the crops, S, C]"
        raise ShapeError("features", expected=expected, got=tuple(features.shape))
    crops = len(features) // len(chosen)
    index = chosen.repeat_interleave(crops, dim=0)
    index = rearrange(index, "b m -> b m 1").expand(-1, -1, features.shape[-1])
    return reduce(features.gather(1, index), "(b n) m c -> b m c", "mean", n=crops)


def segment_snippets(segment: int, num_snippets: int, num_segments: int) -> tuple[int, int]:
    """The snippets `[first, end)` that a segment was made of; at least one.

    Args:
        segment: from 0.
        num_snippets: T of the video's feature file.
        num_segments: S.

    Raises:
        ConfigError: there is no such segment, or the video has no snippet.
    """
    if num_snippets < 1 or not 0 <= segment < num_segments:
        text = f"{segment} of {num_segments} segments, made of {num_snippets} snippets"
        raise ConfigError({"segment": text}, what="The chosen segment")
    bounds = segment_bounds(num_snippets, num_segments)
    first = int(bounds[segment])
    return first, max(int(bounds[segment + 1]), first + 1)


def segment_frames(
    segment: int,
    num_snippets: int,
    num_frames: int,
    *,
    num_segments: int = 200,
    window: int = 16,
    rule: SnippetRule | None = None,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """The frames of a segment to look at: a window around its middle snippet's middle.

    Args:
        segment: from 0.
        num_snippets: T of the video's features.
        num_frames: F, counted by decoding.
        num_segments: S.
        window: frames to take.
        rule: how snippets cover frames; 16 frames each by default.
        generator: on the CPU; takes a random snippet of the segment instead of the middle one.

    Returns:
        [window] int64, see `snippet_window`.

    Raises:
        ConfigError: there is no such segment, or the video has no snippet or no frame.
    """
    first, end = segment_snippets(segment, num_snippets, num_segments)
    snippet = first + (end - first - 1) // 2
    if generator is not None:
        snippet = first + int(torch.randint(end - first, (), generator=generator))
    return snippet_window(snippet, num_snippets, num_frames, window=window, rule=rule)


def snippet_window(
    snippet: int,
    num_snippets: int,
    num_frames: int,
    *,
    window: int = 16,
    rule: SnippetRule | None = None,
) -> np.ndarray:
    """The frames around a snippet's middle; training and scoring look through the same window.

    Args:
        snippet: from 0.
        num_snippets: T of the video's features.
        num_frames: F, counted by decoding. Features that claim more frames are looked at with the
            last ones there are.
        window: frames to take.
        rule: how snippets cover frames; 16 frames each by default.

    Returns:
        [window] int64, frame numbers in time order, from 0. Neighbours, moved inwards at the ends
        of the video; a video shorter than the window repeats its last frame.

    Raises:
        ConfigError: the video has no frame.
    """
    if num_frames < 1:
        raise ConfigError({"num_frames": "0 frames"}, what="The chosen segment")
    middle = (rule or SnippetRule()).middle(snippet, num_snippets, num_frames)
    start = max(0, min(middle - window // 2, num_frames - window))
    return np.minimum(np.arange(start, start + window, dtype=np.int64), num_frames - 1)
