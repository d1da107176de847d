"""The exponential moving average of a long curve, as fast as numpy goes."""

from __future__ import annotations

import math

import numpy as np

_GREATEST = 1e100  # of the powers in a block: far from where floats end


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Each point as the weighted mean of itself and all before it, `weight` less a step back.

    Without the pull towards zero at the start: the weights always sum to one. What is not finite
    stays as it is and counts nothing. `webapp.charts.metrics.smooth` is the same, point by point.

    Args:
        values: [n].
        weight: 0 (as it is) to below 1.

    Returns:
        [n] float64.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight is {weight}, expected 0 to below 1")
    out = np.array(values, dtype=np.float64)
    if weight == 0:
        return out
    finite = np.isfinite(out)
    given = out[finite]
    found = np.empty_like(given)
    size = max(1, int(math.log(_GREATEST) / -math.log(weight)))
    before = 0.0
    for start in range(0, len(given), size):
        part = given[start : start + size]
        powers = weight ** np.arange(1, len(part) + 1)
        # y[k] = w^(k+1) y[-1] + (1-w) sum over j <= k of w^(k-j) x[j]
        block = powers * (before + (1 - weight) * np.cumsum(part / powers))
        found[start : start + size] = block
        before = block[-1]
    counts = np.arange(1, len(given) + 1)
    out[finite] = found / -np.expm1(counts * math.log(weight))
    return out
