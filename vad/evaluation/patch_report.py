"""From stored maps and the truth of places to the patch-level part of a result. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from vad.data.manifest import Track, Video
from vad.evaluation.patch import Limits, patch_metrics, patch_sweep, tiou
from vad.evaluation.patch_bootstrap import intervals_and_draws
from vad.evaluation.patch_scores import VideoPatches
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.patch_truth import PatchTruth
from vad.timeline import SnippetRule


def scored_video(
    video: Video,
    truth: PatchTruth,
    tracks: tuple[Track, ...],
    patches: VideoPatches,
    frame_scores: np.ndarray,
    *,
    rule: SnippetRule,
    merge: str = "merged",
) -> PatchVideo:
    """The maps of one video beside its truth.

    Args:
        video, truth, tracks: of as many frames as the scores cover.
        frame_scores: [T] float32, the evaluated score of each snippet: the gate.
        rule: how snippets cover frames.
        merge: `merged` takes of each patch the highest score over the snippet's tubelets; `each`
            gives every tubelet's map an equal part of the snippet's frames. Frames behind the last
            whole snippet keep its last map.
    """
    snippets, tubelets, count = patches.maps.shape
    starts, frames = patches.start_frames, patches.frames
    if merge == "merged":
        maps, gate, firsts = patches.maps.max(axis=1), frame_scores, starts
    else:
        span = np.minimum(frames, rule.snippet_len) if rule.rule == "hold" else frames
        parts = span[:, None] * np.arange(tubelets) // tubelets
        maps = patches.maps.reshape(snippets * tubelets, count)
        gate, firsts = np.repeat(frame_scores, tubelets), (starts[:, None] + parts).ravel()
    return PatchVideo(
        video=video,
        maps=maps,
        frame_scores=gate,
        bounds=np.append(firsts, frames.sum()),
        truth=truth,
        tracks=tracks,
    )


def report(patches: PatchSet, *, samples: int, seed: int) -> dict[str, Any]:
    """Everything that patches add to a result, as plain JSON types.

    Returns:
        `metrics`: name of `PATCH_METRICS` to value or None; `intervals`: 95 % intervals of some of
        them; `draws`: values of these to pair with other runs, see `intervals_and_draws`;
        `videos`, `frames`: how many; `per_video`: one row each.
    """
    intervals, draws = intervals_and_draws(patches, samples=samples, seed=seed)
    return {
        "metrics": patch_metrics(patches),
        "intervals": intervals,
        "draws": draws,
        "videos": len(patches.videos),
        "frames": patches.num_frames,
        "per_video": [_row(video) for video in patches.videos],
    }


def _row(video: PatchVideo) -> dict[str, Any]:
    """Areas are None where all patches of the video are of one kind."""
    alone = PatchSet(videos=(video,))
    positives, _ = video.counts()
    return {
        "key": video.video.key,
        "label": video.video.label,
        "frames": video.truth.num_frames,
        "frames_with_box": int(np.diff(video.truth.bounds)[video.truth.located].sum()),
        "positive_patches": int(positives.sum()),
        "patch_auc": patch_sweep(alone, gated=True).auc(),
        "patch_auc_ungated": patch_sweep(alone, gated=False).auc(),
        "tiou": tiou(alone, Limits()).value,
        "max_patch": float(video.maps.max()),
    }
