"""Bootstrap draws of evaluations, made once and kept: any pair of runs is then compared at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

from vad.evaluation.members import Drawn, Pair, draw, mean_of, pair_of, pairwise
from vad.evaluation.scores import ScoreSet
from webapp.compare.selection import Member

SAMPLES = 500
# What is drawn for all samples at once (0.1 s for 290 videos), and what needs a walk over all
# scores for every sample (1 s), which is left out beyond a few runs.
FAST = ("auc", "auc_abnormal", "video_auc", "far_normal")
SLOW = ("ap_step",)
SLOW_RUNS = 8


def metrics_for(members: Sequence[Member]) -> tuple[str, ...]:
    """The metrics whose differences are tested."""
    runs = sum(len(member.evaluations) for member in members)
    return (*FAST, *SLOW) if runs <= SLOW_RUNS else FAST


def drawn(member: Member, metric: str) -> Drawn:
    """A member's metric with its draws, the mean over its runs.

    Raises:
        VadError: `file-missing` or `scores-invalid`.
    """
    return mean_of([_drawn(e.scores_path, e.scores_sha256, metric) for e in member.evaluations])


def difference(first: Member, second: Member, metric: str) -> Pair | None:
    """`second - first`; None where either is undefined, or the protocols differ."""
    if not comparable((first, second)):
        return None
    a, b = drawn(first, metric), drawn(second, metric)
    return None if a.value is None or b.value is None else pair_of(0, 1, a, b)


def all_pairs(members: Sequence[Member], metric: str) -> list[Pair]:
    """Every pair of these members, with p corrected for their number."""
    return pairwise([[drawn(member, metric)] for member in members])


def comparable(members: Sequence[Member]) -> bool:
    """All were evaluated, and under one protocol: the same videos, truth and rules."""
    prints = {e.fingerprint for member in members for e in member.evaluations}
    return len(prints) == 1 and all(member.evaluations for member in members)


def under_one_protocol(members: Sequence[Member], as_in: Member | None = None) -> list[Member]:
    """Those that can be tested against each other: of one protocol, in their order.

    Args:
        as_in: whose protocol; without, the one that most members have.
    """
    by_print: dict[str, list[Member]] = {}
    for member in members:
        prints = {e.fingerprint for e in member.evaluations}
        if len(prints) == 1:
            by_print.setdefault(prints.pop(), []).append(member)
    if as_in is not None:
        return next((own for own in by_print.values() if as_in in own), [])
    return max(by_print.values(), key=len, default=[])


def _drawn(path: Path, sha256: str, metric: str) -> Drawn:
    """Two who open the same comparison at once have it drawn once; the second one waits."""
    with _lock(path):
        return _draw(path, sha256, metric)


@lru_cache(maxsize=1024)
def _lock(_path: Path) -> Lock:
    return Lock()


@lru_cache(maxsize=1024)
def _draw(path: Path, _sha256: str, metric: str) -> Drawn:
    return draw(ScoreSet.load(path), metric, samples=SAMPLES)
