"""Where the anomalies of test videos are, and whether patch scores find them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vad.data.manifest import Manifest, Track, Truth, Video
from vad.data.masks import MaskReader
from vad.evaluation.map_blur import Blur
from vad.evaluation.mask_tracks import Box, joined, mask_boxes
from vad.evaluation.patch_protocol import PatchProtocol, spatial_content
from vad.evaluation.patch_report import report, scored_video
from vad.evaluation.patch_scores import PatchScores
from vad.evaluation.patch_set import PatchSet
from vad.evaluation.patch_truth import PatchRule, PatchTruth, truth_from_masks, truth_from_tracks
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from vad.timeline import SnippetRule

_NO_PLACE = (
    "No abnormal test video has boxes or masks, so patches cannot be measured. Their maps are kept."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Place:
    """Where the anomalies of one video are; nowhere in a normal one.

    Args:
        video: with as many frames as its scores cover.
        truth: of these frames.
        tracks: the boxes that `truth` was made from, or those of the masks' regions.
        content: what the boxes or masks say, for the fingerprint.
    """

    video: Video
    truth: PatchTruth
    tracks: tuple[Track, ...]
    content: list[Any]


@dataclass(frozen=True, eq=False)
class Places:
    """The videos of a patch-level evaluation, and those that it cannot have.

    Args:
        videos: by key; empty where no abnormal video has boxes or masks.
        unlocated: abnormal videos without: abnormal in time, place unknown.
    """

    videos: Mapping[str, Place]
    unlocated: tuple[str, ...]


def read_places(
    manifest: Manifest,
    videos: Sequence[Video],
    truth: Mapping[str, Truth],
    frames: Mapping[str, int],
    rule: PatchRule,
) -> Places:
    """Read boxes, or masks where a video has no boxes.

    Args:
        videos: the evaluated ones.
        truth: by video key.
        frames: how many frames the scores of each video cover.
        rule: how a box or mask becomes patches.

    Raises:
        VadError: `annotation-invalid`, `file-missing` or `evaluation-impossible`: boxes or masks
            are there, but wrong, gone, or of a video of unknown size.
    """
    none = Truth()
    known = {v.key for v in videos if _has_place(truth.get(v.key, none))}
    unlocated = tuple(v.key for v in videos if v.label == 1 and v.key not in known)
    if not any(v.label == 1 and v.key in known for v in videos):
        return Places({}, unlocated)
    gone = set(unlocated)
    return Places(
        {
            v.key: _place(manifest, v, truth.get(v.key, none), frames[v.key], rule)
            for v in videos
            if v.key not in gone
        },
        unlocated,
    )


def measure_patches(
    maps: PatchScores,
    evaluated: ScoreSet,
    places: Places,
    rule: PatchRule,
    *,
    frame_protocol: Protocol,
    snippet_rule: SnippetRule,
    merge: str,
    blur: Blur,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """The patch-level part of a result, as plain JSON types.

    Args:
        maps: of the evaluated videos; those without a known place are not measured.
        evaluated: the frame scores that gate the patches.
        rule: that `places` were read by.
        frame_protocol, snippet_rule: of `evaluated`.
        merge: of tubelets, see `scored_video`.
        blur: that was applied to `maps`.
        samples, seed: of the bootstrap.

    Returns:
        What `report` returns, protocol and fingerprint, what was left out, and the grid. Where no
        place is known there are no numbers, and `why` says so.
    """
    unlocated = [key for key in places.unlocated if key in maps.index]
    located = {key: place for key, place in places.videos.items() if key in maps.index}
    found: dict[str, Any] = {"metrics": {}, "intervals": {}, "videos": 0, "frames": 0}
    found |= {"draws": {}, "per_video": [], "protocol": None, "fingerprint": "", "why": _NO_PLACE}
    if any(place.video.label == 1 for place in located.values()):
        protocol = PatchProtocol.of(
            frame_protocol,
            rule=rule,
            truth={key: place.content for key, place in located.items()},
            tubelets=maps.tubelets,
            merge=merge,
            blur=blur,
        )
        videos = [
            scored_video(
                place.video,
                place.truth,
                place.tracks,
                maps.video(key),
                evaluated.video(key).scores,
                rule=snippet_rule,
                merge=merge,
            )
            for key, place in located.items()
        ]
        found = {
            **report(PatchSet(videos=tuple(videos)), samples=samples, seed=seed),
            "protocol": protocol.to_dict(),
            "fingerprint": protocol.fingerprint,
            "why": "",
        }
    return {
        **found,
        "unlocated": len(unlocated),
        "unlocated_videos": unlocated,
        "grid": [rule.rows, rule.columns],
        "patch_size": rule.cell,
        "tubelets": maps.tubelets,
    }


def _has_place(truth: Truth) -> bool:
    return bool(truth.tracks or truth.masks)


def _place(manifest: Manifest, video: Video, truth: Truth, frames: int, rule: PatchRule) -> Place:
    covered = replace(video, num_frames=frames)
    tracks = truth.tracks
    if truth.masks and not truth.tracks:
        folder = manifest.media_path(truth.masks)
        reader = MaskReader(folder, video)
        boxes: list[list[Box]] = []

        def noted() -> Iterator[np.ndarray]:
            """The masks, read once for patches and for tracks."""
            for mask in reader:
                boxes.append(mask_boxes(mask))
                yield mask

        found = truth_from_masks(noted(), video, rule).fitted(frames)
        content = spatial_content(video, truth, reader.digest)
        tracks = joined(boxes)
    else:
        found = truth_from_tracks(covered, truth, rule)
        content = spatial_content(video, truth)
    return Place(video=covered, truth=found, tracks=tracks, content=content)
