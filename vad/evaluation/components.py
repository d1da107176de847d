"""Regions of patch maps: connected patches above a threshold, as boxes. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vad.errors import ShapeError
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.regions import Detections


def patch_regions(
    maps: np.ndarray,
    bounds: np.ndarray,
    thresholds: Sequence[float],
    *,
    position: int,
    rule: PatchRule,
) -> Detections:
    """The connected patches (4 neighbours) at or above each threshold, as boxes.

    A region's score is its highest patch. The same patches at two thresholds are one region.

    Args:
        maps: [M, P], finite.
        bounds: [M+1], first frame of each map, and the end.
        thresholds: above 0, so that patches without any score never make a region.
        position: of the video in the test set.

    Raises:
        ShapeError: `maps` or `bounds` do not have their shape.

    Source: ours; the metric of Ramachandra and Jones leaves the making of regions to the method.
    """
    if not thresholds or min(thresholds) <= 0:
        raise ValueError("regions need at least one threshold, all above 0")
    if maps.ndim != 2 or maps.shape[1] != rule.patches:
        raise ShapeError("maps", expected=f"[M, {rule.patches}]", got=maps.shape)
    if bounds.shape != (len(maps) + 1,):
        raise ShapeError("bounds", expected=f"({len(maps) + 1},)", got=bounds.shape)
    parts = [_component_rows(maps, threshold, rule) for threshold in thresholds]
    rows = np.concatenate([part[0] for part in parts])
    peaks = np.concatenate([part[1] for part in parts])
    _, first = np.unique(rows[:, :3], axis=0, return_index=True)
    at = rows[first, 0]
    seen = first[bounds[at] < bounds[at + 1]]  # a map may cover no frame
    at = rows[seen, 0]
    return Detections(
        videos=np.full(len(seen), position, dtype=np.int64),
        starts=bounds[at],
        ends=bounds[at + 1],
        boxes=rows[seen, 3:].astype(np.float64) * rule.cell,
        scores=peaks[seen],
    )


def components(marked: np.ndarray) -> np.ndarray:
    """Connected cells by 4 neighbours.

    Args:
        marked: [M, H, W] bool, each map for itself.

    Returns:
        [M, H, W] int64: 0 where not marked, else the component's root: 1 + the highest row-major
        position of its cells.
    """
    cells = np.arange(1, marked[0].size + 1).reshape(marked.shape[1:]) if len(marked) else 0
    labels = np.where(marked, cells, 0)
    moving = np.flatnonzero(marked.any(axis=(1, 2)))
    while len(moving):
        before = labels[moving]
        after = before.copy()
        np.maximum(after[:, 1:], before[:, :-1], out=after[:, 1:])
        np.maximum(after[:, :-1], before[:, 1:], out=after[:, :-1])
        np.maximum(after[:, :, 1:], before[:, :, :-1], out=after[:, :, 1:])
        np.maximum(after[:, :, :-1], before[:, :, 1:], out=after[:, :, :-1])
        after[~marked[moving]] = 0
        labels[moving] = after
        moving = moving[(after != before).any(axis=(1, 2))]
    return labels


def _component_rows(
    maps: np.ndarray, threshold: float, rule: PatchRule
) -> tuple[np.ndarray, np.ndarray]:
    """The components at one threshold: [K, 7] int64 and their highest scores [K].

    Columns: map, root, number of patches, then first column, first row and the ends of both.
    Components of one map that share a root are nested, so the first three name a set of patches.
    """
    labels = components((maps >= maps.dtype.type(threshold)).reshape(-1, rule.rows, rule.columns))
    at, row, column = np.nonzero(labels)
    keys = at * (rule.patches + 1) + labels[at, row, column]
    unique, group = np.unique(keys, return_inverse=True)
    rows = np.empty((len(unique), 7), dtype=np.int64)
    rows[:, 0], rows[:, 1] = np.divmod(unique, rule.patches + 1)
    rows[:, 2] = np.bincount(group, minlength=len(unique))
    rows[:, 3:5], rows[:, 5:] = max(rule.rows, rule.columns), 0
    for c, place in enumerate((column, row)):
        np.minimum.at(rows[:, 3 + c], group, place)
        np.maximum.at(rows[:, 5 + c], group, place + 1)
    peaks = np.zeros(len(unique), dtype=np.float64)
    np.maximum.at(peaks, group, maps[at, row * rule.columns + column])
    return rows, peaks
