"""What becomes of a run that did not end well, by cause. Pure; lifecycle/ does it.

| cause | what happens |
| --- | --- |
| its worker was not heard of | again at once, one attempt less |
| its process died without a word | again, after the second time with a growing pause |
| memory ran out | once more (others may have filled it), then it fails with the hint |
| the disk is full | it waits, longer each time, as somebody has to make room |
| anything else that has a name | it fails: trying again would end the same |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vad.errors import VadError

MOST_S = 3600.0


@dataclass(frozen=True)
class Patience:
    """How often a run comes back with an error of a code, and when."""

    times: int
    first_s: float


AGAIN = {
    "memory-exhausted": Patience(times=1, first_s=0),
    "disk-full": Patience(times=10, first_s=60),
}


def pause_after_error(error: VadError, setbacks: Mapping[str, int]) -> float | None:
    """Seconds until the run is tried again; None: it fails.

    Args:
        setbacks: how often it has come back with an error of each code.
    """
    patience = AGAIN.get(error.code)
    had = setbacks.get(error.code, 0)
    if patience is None or had >= patience.times:
        return None
    return min(MOST_S, patience.first_s * 2**had)


def pause_after_loss(attempt: int, *, first_s: float) -> float:
    """Seconds until a run whose process died in this attempt is tried again."""
    return 0.0 if attempt < 2 else min(MOST_S, first_s * 2 ** (attempt - 2))


def out_of_time(limit_s: int, spent_s: float) -> VadError:
    return VadError(
        "time-limit",
        f"The run reached its time limit of {words(limit_s)} ({words(spent_s)} in all attempts).",
        "It wrote a checkpoint. Raise the limit and retry: it goes on from there.",
    )


def words(seconds: float) -> str:
    """'45 s', '12 min', '3 h 20 min'."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    hours, minutes = divmod(round(whole / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
