"""The small curve in a table row: a path, no script, no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from webapp.runs import metrics

WIDTH, HEIGHT, MARGIN = 96, 22, 2  # the viewBox of templates/runs/sparkline.html
POINTS = 48


@dataclass(frozen=True)
class Sparkline:
    path: str  # the d attribute
    label: str  # what one would read off


def sparklines(run_ids: Sequence[UUID], key: str) -> dict[UUID, Sparkline]:
    """A curve for each run that has at least two finite points of this metric."""
    series = metrics.read_many(run_ids, [key], max_points=POINTS)
    found = {}
    for (run_id, _), points in series.items():
        real = np.isfinite(points.values)
        if real.sum() > 1:
            found[run_id] = sparkline(points.steps[real], points.values[real])
    return found


def sparkline(steps: np.ndarray, values: np.ndarray) -> Sparkline:
    """Scaled to the box, its least value at the bottom.

    Args:
        steps, values: [n], n at least 2, steps rising, values finite.
    """
    low, high = float(values.min()), float(values.max())
    x = (steps - steps[0]) / max(1, steps[-1] - steps[0]) * WIDTH
    middle = high == low
    y = np.full(len(values), 0.5) if middle else (high - values) / (high - low)
    y = MARGIN + y * (HEIGHT - 2 * MARGIN)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return Sparkline(
        path=f"M{points}",
        label=f"{low:.3g} to {high:.3g} over {int(steps[-1]):,} steps, now {values[-1]:.3g}",
    )
