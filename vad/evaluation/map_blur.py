"""Maps of patch scores made smoother, over neighbouring patches and over time. numpy only.

A single snippet's map is noisy, and marks the patches that moved, not those that the thing covers:
what lies beside a high patch, or a snippet before and after it, is likely to be abnormal as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 4.0  # standard deviations, beyond which a weight counts as nothing


@dataclass(frozen=True)
class Blur:
    """Standard deviations of a Gaussian; 0 leaves that direction as it is.

    Args:
        patches: in patches, down and across.
        snippets: in snippets; tubelets count as their part of one.
    """

    patches: float = 0.0
    snippets: float = 0.0

    def __bool__(self) -> bool:
        return self.patches > 0 or self.snippets > 0

    def __str__(self) -> str:
        """What follows "maps" in a protocol."""
        parts = {"patches": self.patches, "snippets": self.snippets}
        return "blurred by " + " and ".join(f"{v:g} {n}" for n, v in parts.items() if v > 0)


NO_BLUR = Blur()


def blurred(
    maps: np.ndarray, kept: np.ndarray, blur: Blur, *, rows: int, columns: int
) -> np.ndarray:
    """The maps of one video as a weighted mean of themselves.

    At the edges of the picture and at the ends of the video the mean is over what exists. A pruned
    patch enters with its score and keeps it: it was not looked at.

    Args:
        maps: [T, t, P] float32, P = rows * columns.
        kept: [T, t, P] bool, patches that were not pruned.

    Returns:
        [T, t, P] float32, within the bounds of `maps`.
    """
    snippets, tubelets, patches = maps.shape
    found = maps.reshape(snippets * tubelets, rows, columns).astype(np.float64)
    for axis, sigma in enumerate((blur.snippets * tubelets, blur.patches, blur.patches)):
        found = _mean_along(found, axis, sigma)
    found = found.reshape(snippets, tubelets, patches).astype(np.float32)
    return np.where(kept, np.clip(found, maps.min(), maps.max()), maps)


def _mean_along(values: np.ndarray, axis: int, sigma: float) -> np.ndarray:
    """Gaussian mean along one axis, over the entries that exist."""
    length = values.shape[axis]
    reach = min(int(np.ceil(REACH * sigma)), length - 1)
    if reach < 1:
        return values
    values = np.moveaxis(values, axis, 0)
    total, weights = np.zeros_like(values), np.zeros(length)
    for step in range(-reach, reach + 1):
        weight = np.exp(-0.5 * (step / sigma) ** 2)
        to = slice(max(0, -step), length - max(0, step))
        total[to] += weight * values[max(0, step) : length + min(0, step)]
        weights[to] += weight
    total /= weights.reshape(-1, *[1] * (values.ndim - 1))
    return np.moveaxis(total, 0, axis)
