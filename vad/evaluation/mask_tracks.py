"""Tracks out of masks, for the metrics that ask whether regions and tracks are found. numpy only.

A mask says which pixels are abnormal, not which of them belong to one thing, nor for how long. Here
every connected region of a frame is a box, and boxes of neighbouring frames that overlap are one
track.

Source: ours; data sets with masks publish no tracks. The overlap is that of box tracks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vad.data.manifest import Track
from vad.evaluation.patch_truth import box_iou
from vad.evaluation.regions import JOIN_IOU

Box = tuple[int, int, int, int]


def tracks_from_masks(masks: Iterable[np.ndarray]) -> tuple[Track, ...]:
    """The tracks of one video: F arrays [H, W] bool, in time order. See `joined`."""
    return joined(map(mask_boxes, masks))


def joined(frames: Iterable[list[Box]]) -> tuple[Track, ...]:
    """The tracks of one video; a region that is gone for a frame begins a new one.

    Args:
        frames: of each frame what `mask_boxes` gives, in time order.

    Returns:
        Tracks in the order in which they begin, with a keyframe on each of their frames. Boxes are
        x0, y0, x1, y1 in pixels of the mask, x1 and y1 just behind the last pixel.
    """
    open_tracks: list[list[tuple[int, Box]]] = []
    found: list[list[tuple[int, Box]]] = []
    for frame, boxes in enumerate(frames):
        taken: dict[int, int] = {}  # track to box, each once, the best overlaps first
        for overlap, track, box in _overlaps([t[-1][1] for t in open_tracks], boxes):
            if overlap >= JOIN_IOU and track not in taken and box not in taken.values():
                taken[track] = box
        goes_on = [open_tracks[track] for track in sorted(taken)]
        for track, box in sorted(taken.items()):
            open_tracks[track].append((frame, boxes[box]))
        begins = [[(frame, box)] for at, box in enumerate(boxes) if at not in taken.values()]
        found += begins
        open_tracks = goes_on + begins
    return tuple(
        Track(
            start_frame=track[0][0],
            end_frame=track[-1][0] + 1,
            keyframes=tuple(
                (frame, float(a), float(b), float(c), float(d)) for frame, (a, b, c, d) in track
            ),
        )
        for track in found
    )


def mask_boxes(mask: np.ndarray) -> list[Box]:
    """The tight boxes of the connected regions (4 neighbours) of [H, W] bool, from the top down."""
    parents: list[int] = []
    boxes: list[list[int]] = []

    def root(at: int) -> int:
        while parents[at] != at:
            at = parents[at]
        return at

    above: list[tuple[int, int, int]] = []  # stretches of the row before: first, end, region
    last = -1
    for row in np.flatnonzero(mask.any(axis=1)).tolist():
        if row > last + 1:
            above = []  # an empty row lies between
        last = row
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[row].astype(np.int8), [0]])))
        own: list[tuple[int, int, int]] = []
        for first, end in edges.reshape(-1, 2).tolist():
            region = len(parents)
            parents.append(region)
            boxes.append([first, row, end, row + 1])
            for a, b, other in above:
                if a < end and first < b:
                    region = _merge(parents, boxes, root(other), root(region))
            own.append((first, end, region))
        above = own
    return [tuple(boxes[at]) for at in range(len(parents)) if parents[at] == at]  # type: ignore[misc]


def _merge(parents: list[int], boxes: list[list[int]], first: int, second: int) -> int:
    """Make two regions one, under the lower number; which that is."""
    if first == second:
        return first
    low, high = sorted((first, second))
    parents[high] = low
    a, b = boxes[low], boxes[high]
    boxes[low] = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
    return low


def _overlaps(first: Sequence[Box], second: Sequence[Box]) -> list[tuple[float, int, int]]:
    """IoU and places of all pairs, the highest first."""
    if not (first and second):
        return []
    a = np.repeat(np.array(first, dtype=np.float64), len(second), axis=0)
    b = np.tile(np.array(second, dtype=np.float64), (len(first), 1))
    iou = box_iou(a, b)
    order = np.argsort(-iou, kind="stable")
    return [(float(iou[i]), int(i) // len(second), int(i) % len(second)) for i in order]
