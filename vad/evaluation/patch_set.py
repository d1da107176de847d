"""The scores of a patch-level evaluation beside their truth: one map a snippet. numpy only.

A map holds for every frame of its snippet, patches in the order of `PatchRule`. (The published
SST-WSVADL code repeats every patch 16 times instead of the map, which scrambles places: perfect
scores then reach an AUC of 0.51.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vad.data.manifest import Track, Video
from vad.errors import ShapeError, VadError
from vad.evaluation.patch_truth import PatchRule, PatchTruth, check_bounds


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchVideo:
    """The patch scores and the patch truth of one video; M maps, one after the other in time.

    A map usually covers a snippet. With several tubelets a snippet each may have its own map over
    its own frames: only `bounds` knows.

    Args:
        video: its label tells whether TIoU counts it; F is its frame count.
        maps: [M, P] float32, finite, at least 0; 0 where no token was kept.
        frame_scores: [M] float32, finite, at least 0: the score of the frames that a map covers.
        bounds: [M+1] int64, first frame of each map, and F; never falling, from 0.
        truth: of the same F frames.
        tracks: the boxes that `truth` was made from, or of the masks' regions, for RBDC and TBDC.

    Raises:
        ShapeError: an array does not have its shape.
        VadError: `scores-invalid`, a score is not float32, not finite or negative;
            `evaluation-impossible`, frame counts do not fit, or a normal video has boxes.
    """

    video: Video
    maps: np.ndarray
    frame_scores: np.ndarray
    bounds: np.ndarray
    truth: PatchTruth
    tracks: tuple[Track, ...] = ()

    def __post_init__(self) -> None:
        key, patches = self.video.key, self.truth.rule.patches
        if self.maps.ndim != 2 or self.maps.shape[1] != patches or len(self.maps) == 0:
            raise ShapeError(f"maps of {key}", expected=f"[M, {patches}]", got=self.maps.shape)
        count = len(self.maps)
        for name, array, length in (
            ("frame_scores", self.frame_scores, count),
            ("bounds", self.bounds, count + 1),
        ):
            if array.shape != (length,):
                raise ShapeError(f"{name} of {key}", expected=f"({length},)", got=array.shape)
        if {self.maps.dtype, self.frame_scores.dtype} != {np.dtype(np.float32)}:
            raise _invalid(f"The scores of {key} are not float32.")
        if not (np.isfinite(self.maps).all() and np.isfinite(self.frame_scores).all()):
            raise _invalid(f"A score of {key} is not a finite number.")
        if (self.maps < 0).any() or (self.frame_scores < 0).any():
            raise _invalid(f"A score of {key} is negative.")
        check_bounds(self.bounds, key)
        covered = {int(self.bounds[-1]), self.truth.num_frames, self.video.num_frames}
        if len(covered) > 1:
            raise _impossible(
                f"{key} has {self.video.num_frames:,} frames, its scores cover "
                f"{int(self.bounds[-1]):,}, its truth {self.truth.num_frames:,}."
            )
        if self.video.label == 0 and self.truth.located.any():
            raise _impossible(f"{key} is normal, but has boxes or masks.")

    @cached_property
    def pieces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Stretches of frames with one map and one truth: map, run and frames, [J] int64 each."""
        edges = np.union1d(self.bounds, self.truth.bounds)
        starts = edges[:-1]
        at_map = np.searchsorted(self.bounds, starts, side="right") - 1
        at_run = np.searchsorted(self.truth.bounds, starts, side="right") - 1
        return at_map, at_run, np.diff(edges)

    @cached_property
    def gated(self) -> np.ndarray:
        """[M, P] float64, each patch score times its frame score."""
        values = self.maps.astype(np.float64)
        values *= self.frame_scores[:, None]
        return values

    def counts(self, *, located: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """How many frames each map's patches are abnormal and normal: [M, P] int64 each.

        Args:
            located: count only frames that carry a box.
        """
        at_map, at_run, frames = self.pieces
        if located:
            frames = frames * self.truth.located[at_run]
        positives = np.zeros(self.maps.shape, dtype=np.int64)
        np.add.at(positives, at_map, self.truth.masks[at_run] * frames[:, None])
        total = np.bincount(at_map, weights=frames, minlength=len(self.maps)).astype(np.int64)
        return positives, total[:, None] - positives


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchSet:
    """The videos of a patch-level evaluation, all marked by one rule.

    Raises:
        VadError: `evaluation-impossible`, there is no video, or they follow several rules.
    """

    videos: tuple[PatchVideo, ...]

    def __post_init__(self) -> None:
        if len({v.truth.rule for v in self.videos}) != 1:
            raise _impossible("There is no video, or the videos were cut into patches differently.")

    @property
    def rule(self) -> PatchRule:
        return self.videos[0].truth.rule

    @cached_property
    def num_frames(self) -> int:
        return sum(v.truth.num_frames for v in self.videos)


def _invalid(message: str) -> VadError:
    return VadError("scores-invalid", message, "Evaluate the checkpoint again.")


def _impossible(message: str) -> VadError:
    return VadError(
        "evaluation-impossible",
        message,
        "Check that scores and annotations belong to the same data set version.",
    )
