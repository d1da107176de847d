"""Videos of any length as the same number of segments: the training items. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vad.errors import ShapeError


def segment_bounds(num_snippets: int, num_segments: int) -> np.ndarray:
    """Rows that bound each segment: [S+1] int64, from 0 to T.

    64 bits throughout: the published 16-bit bounds wrap around beyond 65,535 snippets.

    Source: `linspace(0, T, S+1)` cut to integers, the training resampling of UR-DMU and RTFM.
    """
    return np.linspace(0, num_snippets, num_segments + 1).astype(np.int64)


def resample(features: np.ndarray, num_segments: int) -> np.ndarray:
    """Segment i is the mean of rows [r_i, r_i+1), or row r_i where that range is empty.

    Args:
        features: [T, D], T at least 1.
        num_segments: S. T < S repeats rows, T > S averages them.

    Returns:
        [S, D] float32.
    """
    if features.ndim != 2 or len(features) < 1:
        raise ShapeError("features", expected="[T, D] with T at least 1", got=features.shape)
    bounds = segment_bounds(len(features), num_segments)
    rows = np.asarray(features, dtype=np.float32)
    # reduceat sums [start, next start), and gives the single row where that range is empty
    sums = np.add.reduceat(rows, bounds[:-1], axis=0)
    return sums / np.maximum(np.diff(bounds), 1)[:, None].astype(np.float32)


@dataclass(frozen=True)
class Segments:
    """Training items: every crop of every video, resampled.

    Item i is crop `crops[i]` of video `keys[i]`.
    """

    data: np.ndarray  # [items, S, D], memory-mapped, in the store's dtype
    keys: tuple[str, ...]
    crops: np.ndarray  # [items] int64

    def items_of(self, keys: Sequence[str]) -> np.ndarray:
        """Indices of all items of these videos, in their order: [n] int64."""
        found: dict[str, list[int]] = {}
        for i, key in enumerate(self.keys):
            found.setdefault(key, []).append(i)
        return np.array([i for key in keys for i in found.get(key, ())], dtype=np.int64)
