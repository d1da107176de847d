"""Bootstrap draws of evaluations, made once and kept: any pair of runs is then compared at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from uuid import UUID

import numpy as np
from django.db.models.fields.json import KeyTransform

from vad.evaluation.members import Drawn, Pair, draw, mean_of, pair_of, pairwise
from vad.evaluation.patch_bootstrap import KEPT_SAMPLES, PATCH_INTERVAL_METRICS
from vad.evaluation.scores import ScoreSet
from webapp.compare.selection import Member
from webapp.evaluations.models import Evaluation

SAMPLES = KEPT_SAMPLES
# What is drawn for all samples at once (0.1 s for 290 videos), and what needs a walk over all
# scores for every sample (1 s), which is left out beyond a few runs.
FAST = ("auc", "auc_abnormal", "video_auc", "far_normal")
SLOW = ("ap_step",)
SLOW_RUNS = 8
PATCH = PATCH_INTERVAL_METRICS  # their draws were made and kept when the maps were
TESTED = (*FAST, *SLOW, *PATCH)


def metrics_for(members: Sequence[Member]) -> tuple[str, ...]:
    """The metrics whose differences are tested."""
    runs = sum(len(member.evaluations) for member in members)
    return TESTED if runs <= SLOW_RUNS else (*FAST, *PATCH)


def drawn(member: Member, metric: str) -> Drawn:
    """A member's metric with its draws, the mean over its runs.

    Raises:
        VadError: `file-missing` or `scores-invalid`.
    """
    if metric in PATCH:
        return mean_of([_of_patches(evaluation, metric) for evaluation in member.evaluations])
    return mean_of([_drawn(e.scores_path, e.scores_sha256, metric) for e in member.evaluations])


def without_draws(members: Sequence[Member]) -> list[Member]:
    """Those with patch scores of an evaluation that is older than the draws that are kept now."""
    return [m for m in members if any(_kept(e.pk, e.patch_sha256) is None for e in m.evaluations)]  # type: ignore[attr-defined]


def difference(first: Member, second: Member, metric: str) -> Pair | None:
    """`second - first`; None where either is undefined, or the protocols differ."""
    if not comparable((first, second), metric):
        return None
    a, b = drawn(first, metric), drawn(second, metric)
    return None if a.value is None or b.value is None else pair_of(0, 1, a, b)


def all_pairs(members: Sequence[Member], metric: str) -> list[Pair]:
    """Every pair of these members, with p corrected for their number."""
    return pairwise([[drawn(member, metric)] for member in members])


def fingerprint(evaluation: Evaluation, metric: str = "auc") -> str:
    """Of the protocol that a metric stands under; empty where there are no patch scores.

    That of patches is annotated by `selection.evaluations`.
    """
    if metric in PATCH:
        return getattr(evaluation, "patch_fingerprint", None) or ""
    return evaluation.fingerprint


def scored(member: Member, metric: str) -> bool:
    """All its evaluations have the scores that a metric is made of."""
    return all(fingerprint(evaluation, metric) for evaluation in member.evaluations)


def comparable(members: Sequence[Member], metric: str = "auc") -> bool:
    """All were evaluated, and under one protocol: the same videos, truth and rules."""
    prints = {fingerprint(e, metric) for member in members for e in member.evaluations}
    one = len(prints) == 1 and "" not in prints
    return one and all(member.evaluations for member in members)


def under_one_protocol(
    members: Sequence[Member], as_in: Member | None = None, metric: str = "auc"
) -> list[Member]:
    """Those that can be tested against each other: of one protocol, in their order.

    Args:
        as_in: whose protocol; without, the one that most members have.
    """
    by_print: dict[str, list[Member]] = {}
    for member in members:
        prints = {fingerprint(e, metric) for e in member.evaluations}
        if len(prints) == 1 and "" not in prints:
            by_print.setdefault(prints.pop(), []).append(member)
    if as_in is not None:
        return next((own for own in by_print.values() if as_in in own), [])
    return max(by_print.values(), key=len, default=[])


def _of_patches(evaluation: Evaluation, metric: str) -> Drawn:
    """Without samples where an older evaluation kept none, or there are too few videos."""
    value = (evaluation.patch_metrics or {}).get(metric)  # type: ignore[attr-defined]
    kept = _kept(evaluation.pk, evaluation.patch_sha256) or {}  # type: ignore[attr-defined]
    return Drawn(value=value, samples=kept.get(metric, np.zeros(0)))


@lru_cache(maxsize=512)
def _kept(pk: UUID, _sha256: str) -> dict[str, np.ndarray] | None:
    """The draws of an evaluation's patch metrics, [S] each; None where none were kept."""
    found = Evaluation.objects.filter(pk=pk).values_list(KeyTransform("draws", "patch"), flat=True)
    draws = found.first()
    if draws is None:
        return None
    return {name: np.array(values, dtype=np.float64) for name, values in draws.items()}


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
