"""How the learning rate changes over a run, as data: points between which it moves in a line."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Factors of the learning rate at some steps; no points is a factor of 1 throughout.

    Before the first point and after the last one the factor stays as it is there.
    """

    points: tuple[tuple[int, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read `STEP:FACTOR STEP:FACTOR …`; a warm-up and a decay are `0:0 100:1 2000:1 3000:0.1`.

        Raises:
            ValueError: with a text for people.
        """
        points = []
        for word in text.replace(",", " ").split():
            step, _, factor = word.partition(":")
            try:
                points.append((int(step), float(factor)))
            except ValueError:
                raise ValueError(f"{word!r} is not STEP:FACTOR, as in 2000:0.1") from None
        if any(step < 0 or not 0 <= factor <= 1000 for step, factor in points):
            raise ValueError("steps are 0 or more, factors from 0 to 1000")
        if any(a[0] >= b[0] for a, b in itertools.pairwise(points)):
            raise ValueError("steps must rise from point to point")
        if points and not any(factor for _, factor in points):
            raise ValueError("every factor is 0, so nothing would be learned")
        return cls(tuple(points))

    def factor(self, step: int) -> float:
        """The factor of step k, counted from 1."""
        if not self.points:
            return 1.0
        after = bisect_right(self.points, (step, math.inf))
        if after == 0:
            return self.points[0][1]
        if after == len(self.points):
            return self.points[-1][1]
        (left, low), (right, high) = self.points[after - 1 : after + 1]
        return low + (high - low) * (step - left) / (right - left)
