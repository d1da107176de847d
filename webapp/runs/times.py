"""When a run did which step, from what its worker noted every few seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from webapp.runs import chunks, metrics
from webapp.runs.models import Run

STEP = f"{chunks.SYSTEM}step"
POINTS = 5000  # of the notes: one in a thousand of the axis's length is never seen
_UNITS = ((180, "s", 1.0), (3 * 3600, "min", 60.0), (float("inf"), "h", 3600.0))


@dataclass(frozen=True, eq=False)
class Clock:
    """Steps and seconds since the run first started; steps rise or stay, seconds rise.

    After a resume steps are done once more; the last time counts, as it does for their values.
    """

    seconds: np.ndarray
    steps: np.ndarray

    def at(self, steps: np.ndarray) -> np.ndarray:
        """The seconds at which these steps were done."""
        rising = self.steps + 1e-6 * np.arange(len(self.steps))  # a rest comes after its step
        return np.interp(steps, rising, self.seconds)

    def steps_between(self, low_s: float | None, high_s: float | None) -> tuple[int | None, ...]:
        """The first and last step within a time; None where that end is open."""
        low, high = (
            None if s is None else float(np.interp(s, self.seconds, self.steps))
            for s in (low_s, high_s)
        )
        return (
            None if low is None else int(np.floor(low)),
            None if high is None else int(np.ceil(high)),
        )


def clock(run: Run) -> Clock | None:
    """None where too little was noted, as for runs before their worker noted anything."""
    noted = metrics.read(run, STEP, max_points=POINTS)
    if len(noted.steps) < 2:
        return None
    seconds, steps = noted.steps.astype(np.float64), noted.values
    if run.done > steps[-1]:
        seconds = np.append(seconds, _until_s(run, seconds[-1]))
        steps = np.append(steps, float(run.done))
    # From the end back, only what is not done again later: steps taken back are left out.
    lowest = np.minimum.accumulate(steps[::-1])[::-1]
    seconds, steps = seconds[steps <= lowest], steps[steps <= lowest]
    if steps[0] > 0:
        seconds, steps = np.insert(seconds, 0, 0.0), np.insert(steps, 0, 0.0)
    return Clock(seconds, steps) if len(steps) > 1 else None


def _until_s(run: Run, noted_s: float) -> float:
    """When the steps after the last note were done, at the latest."""
    return max(noted_s + 1e-3, min(run.took_s or 0.0, noted_s + 10.0))


def unit(span_s: float) -> tuple[str, float]:
    """How a time axis of this length is labelled, and the seconds of that unit."""
    return next((word, scale) for limit, word, scale in _UNITS if span_s < limit)
