"""RBDC and TBDC: are abnormal regions, and whole tracks of them, found? numpy only.

Boxes are x0, y0, x1, y1 with x1 and y1 just behind the last pixel, so a width is x1 - x0. For
boxes that name their last pixel, add 1 to x1 and y1 first: the published code counts widths that
way, and the numbers are then the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vad.data.manifest import Track, Video
from vad.errors import ShapeError, VadError
from vad.evaluation.patch_truth import PatchRule, box_iou, has_area, scaled_boxes

ALPHA = 0.1  # share of a track's regions that must be found
BETA = 0.1  # least IoU between a detection and the region that it finds
JOIN_IOU = 0.1  # of boxes that follow one another and make one track
PAIRS_AT_ONCE = 1_000_000  # bounds the memory, about 0.2 GB


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections:
    """n predicted boxes, each standing still on the frames [start, end) of one video.

    A box over 16 frames counts exactly as 16 boxes on one frame each.

    Args:
        videos: [n] int64, position of the video in the test set.
        starts, ends: [n] int64, frames.
        boxes: [n, 4] float64.
        scores: [n], finite.

    Raises:
        ShapeError: the arrays differ in length.
        VadError: `scores-invalid`, a score is not finite, or a span of frames is reversed.
    """

    videos: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        _check_rows(self.boxes, self.videos, self.starts, self.ends, self.scores)
        if not np.isfinite(self.scores).all() or (self.ends < self.starts).any():
            raise VadError(
                "scores-invalid",
                "A detection has a score that is not a finite number, or ends before it starts.",
                "Evaluate the checkpoint again.",
            )

    @classmethod
    def joined(cls, parts: Sequence[Detections]) -> Detections:
        """All detections of several parts; none at all is allowed."""
        none = np.zeros(0, dtype=np.int64)
        return cls(
            videos=np.concatenate([none, *(p.videos for p in parts)]),
            starts=np.concatenate([none, *(p.starts for p in parts)]),
            ends=np.concatenate([none, *(p.ends for p in parts)]),
            boxes=np.concatenate([np.zeros((0, 4)), *(p.boxes for p in parts)]),
            scores=np.concatenate([np.zeros(0), *(p.scores for p in parts)]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TrueRegions:
    """m true boxes, each on one frame, part of a track.

    Args:
        videos: [m] int64, position of the video in the test set.
        tracks: [m] int64, unique inside a video.
        frames: [m] int64.
        boxes: [m, 4] float64.

    Raises:
        ShapeError: the arrays differ in length.
    """

    videos: np.ndarray
    tracks: np.ndarray
    frames: np.ndarray
    boxes: np.ndarray

    def __post_init__(self) -> None:
        _check_rows(self.boxes, self.videos, self.tracks, self.frames)

    @classmethod
    def joined(cls, parts: Sequence[TrueRegions]) -> TrueRegions:
        """All regions of several parts."""
        none = np.zeros(0, dtype=np.int64)
        return cls(
            videos=np.concatenate([none, *(p.videos for p in parts)]),
            tracks=np.concatenate([none, *(p.tracks for p in parts)]),
            frames=np.concatenate([none, *(p.frames for p in parts)]),
            boxes=np.concatenate([np.zeros((0, 4)), *(p.boxes for p in parts)]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionCurve:
    """What is found at each distinct score of a detection, from the highest down.

    Args:
        thresholds: [k], falling.
        false_positives: [k], detections without any match per frame of the test set; may pass 1.
        region_rate, track_rate: [k], found share of all regions, of all tracks.
    """

    thresholds: np.ndarray
    false_positives: np.ndarray
    region_rate: np.ndarray
    track_rate: np.ndarray

    @cached_property
    def rbdc(self) -> float:
        """Area under the region rate over 0 to 1 false positives a frame."""
        return self._area(self.region_rate)

    @cached_property
    def tbdc(self) -> float:
        """Area under the track rate over 0 to 1 false positives a frame."""
        return self._area(self.track_rate)

    def _area(self, rate: np.ndarray) -> float:
        x = np.concatenate([[0.0], self.false_positives])
        y = np.concatenate([[0.0], rate])
        inside = x <= 1.0
        x_end = np.append(x[inside], 1.0)
        y_end = np.append(y[inside], np.interp(1.0, x, y))  # holds the last rate if x ends earlier
        return float(np.trapezoid(y_end, x_end))


@dataclass(frozen=True, eq=False, kw_only=True)
class Matches:
    """What is found at which score, each inside its own video; minus infinity is never.

    Args:
        videos, scores, missed: [n] of the detections, with the frames of each without any match.
        region_videos, region_found_at: [m] of the true regions.
        track_videos, track_found_at: [k] of the tracks.
    """

    videos: np.ndarray
    scores: np.ndarray
    missed: np.ndarray
    region_videos: np.ndarray
    region_found_at: np.ndarray
    track_videos: np.ndarray
    track_found_at: np.ndarray

    def curve(self, num_frames: int) -> RegionCurve:
        """Both rates against false positives per frame.

        Args:
            num_frames: of the whole test set, normal videos included.
        """
        thresholds, group = np.unique(self.scores, return_inverse=True)
        false = np.bincount(group, weights=self.missed, minlength=len(thresholds))[::-1].cumsum()
        thresholds = thresholds[::-1]
        return RegionCurve(
            thresholds=thresholds,
            false_positives=false / num_frames,
            region_rate=_share_from(self.region_found_at, thresholds),
            track_rate=_share_from(self.track_found_at, thresholds),
        )


def region_curve(
    detections: Detections,
    truth: TrueRegions,
    *,
    num_frames: int,
    alpha: float = ALPHA,
    beta: float = BETA,
) -> RegionCurve:
    """Region and track detection rates against false positives.

    A detection finds every true region of its frame with an IoU of at least `beta`; one without
    any match is a false positive; one that only meets regions found before is neither. A track is
    found when at least `alpha` of its regions are. Detections of equal score are taken together,
    so their order does not matter.

    Args:
        num_frames: of the whole test set, normal videos included.
        alpha, beta: shares, above 0 and at most 1.

    Raises:
        VadError: `evaluation-impossible`, there is no true region or no frame.

    Source: Ramachandra and Jones, Street Scene, WACV 2020; the public code of Georgescu et al.
    (pinned in tests/vad/parity), which goes through detections one by one.
    """
    if not (0 < alpha <= 1 and 0 < beta <= 1):
        raise ValueError("alpha and beta are shares, above 0 and at most 1")
    if len(truth.boxes) == 0 or num_frames < 1:
        raise VadError(
            "evaluation-impossible",
            "Without true regions or without frames there is no region detection rate.",
            "Evaluate on a split whose abnormal videos have boxes.",
        )
    return match_regions(detections, truth, alpha=alpha, beta=beta).curve(num_frames)


def match_regions(
    detections: Detections, truth: TrueRegions, *, alpha: float = ALPHA, beta: float = BETA
) -> Matches:
    """Match once; `region_curve` says how. The videos are matched each for itself.

    Args:
        truth: at least one region.
    """
    found_at, missed = _match(detections, truth, beta)
    track_videos, track_found_at = _tracks_found_at(found_at, truth, alpha)
    return Matches(
        videos=detections.videos,
        scores=detections.scores,
        missed=missed,
        region_videos=truth.videos,
        region_found_at=found_at,
        track_videos=track_videos,
        track_found_at=track_found_at,
    )


def true_regions(
    tracks: Sequence[Track], video: Video, *, position: int, rule: PatchRule
) -> TrueRegions:
    """One region a frame and box of a video, in scaled pixels, boxes joined to tracks.

    Two boxes are one track when one starts where the other ends (on its last frame or the next)
    and the boxes there have an IoU of at least 0.1. Ours: published box files have no track ids.

    Args:
        tracks: boxes over time, as `truth_from_tracks` accepts them.
        video: with its frame count and size.
        position: of the video in the test set.

    Returns:
        Regions with an area inside the frame; possibly none.
    """
    owner = _joined(tracks, video, rule)
    parts = []
    for number, track in enumerate(tracks):
        frames = np.arange(track.start_frame, min(track.end_frame, video.num_frames))
        boxes = scaled_boxes(track, frames, video, rule)
        inside = has_area(boxes)
        count = int(inside.sum())
        parts.append(
            TrueRegions(
                videos=np.full(count, position),
                tracks=np.full(count, owner[number]),
                frames=frames[inside],
                boxes=boxes[inside],
            )
        )
    return TrueRegions.joined(parts)


def _match(
    detections: Detections, truth: TrueRegions, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """The score at which each true region is found [m], and each detection's false frames [n].

    A region that nothing finds is found at minus infinity.
    """
    found_at = np.full(len(truth.boxes), -np.inf)
    missed = (detections.ends - detections.starts).astype(np.float64)
    for position in np.unique(truth.videos):
        regions = np.flatnonzero(truth.videos == position)
        regions = regions[np.argsort(truth.frames[regions], kind="stable")]
        frames = truth.frames[regions]
        here = np.flatnonzero(detections.videos == position)
        ends = np.searchsorted(frames, detections.ends[here])
        pairs = int((ends - np.searchsorted(frames, detections.starts[here])).sum())
        for own in np.array_split(here, 1 + pairs // PAIRS_AT_ONCE):
            first = np.searchsorted(frames, detections.starts[own])
            count = np.searchsorted(frames, detections.ends[own]) - first
            which = np.repeat(np.arange(len(own)), count)  # pairs of a detection and a region
            offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
            place = np.repeat(first, count) + offset
            met = box_iou(detections.boxes[own[which]], truth.boxes[regions[place]]) >= beta
            which, place = which[met], place[met]
            np.maximum.at(found_at, regions[place], detections.scores[own[which]])
            hit = np.unique(np.stack([which, frames[place]], axis=1), axis=0)[:, 0]
            missed[own] -= np.bincount(hit, minlength=len(own))
    return found_at, missed


def _tracks_found_at(
    found_at: np.ndarray, truth: TrueRegions, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """The video of each track, and the score at which enough of its regions are found."""
    names = np.stack([truth.videos, truth.tracks], axis=1)
    unique, track = np.unique(names, axis=0, return_inverse=True)
    order = np.lexsort((-found_at, track))
    firsts = np.flatnonzero(np.diff(track[order], prepend=-1))
    scores = []
    for falling in np.split(found_at[order], firsts[1:]):
        enough = np.arange(1, len(falling) + 1) / len(falling) >= alpha
        scores.append(falling[int(enough.argmax())])
    return unique[:, 0], np.array(scores)


def _share_from(found_at: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """[k], the share of all that is found at or above each threshold."""
    rising = np.sort(found_at)
    return (len(rising) - np.searchsorted(rising, thresholds)) / len(rising)


def _joined(tracks: Sequence[Track], video: Video, rule: PatchRule) -> np.ndarray:
    """[n] int64, the number of the track that each box belongs to."""
    ends = [
        scaled_boxes(track, np.array([track.start_frame, track.end_frame - 1]), video, rule)
        for track in tracks
    ]
    owner = np.arange(len(tracks))
    for a, before in enumerate(tracks):
        for b, after in enumerate(tracks):
            touching = a != b and after.start_frame in (before.end_frame - 1, before.end_frame)
            if touching and box_iou(ends[a][1:], ends[b][:1])[0] >= JOIN_IOU:
                owner[owner == owner[b]] = owner[a]
    return owner


def _check_rows(boxes: np.ndarray, *columns: np.ndarray) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError("boxes", expected="[n, 4]", got=boxes.shape)
    for column in columns:
        if column.shape != (len(boxes),):
            raise ShapeError("a column of boxes", expected=f"({len(boxes)},)", got=column.shape)
