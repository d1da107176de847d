"""An evaluation's numbers as pages show them: with their names, help and intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vad.evaluation.frame import METRICS
from webapp.evaluations.models import Evaluation

HEADLINE = ("auc", "ap_step", "ap_pr_auc", "auc_abnormal", "video_auc", "far_normal")

# How the checkpoint was chosen, in a sentence; a number without it is not a result.
SELECTION: dict[str, str] = {
    "validation": "highest video-level AUC on the validation videos, which are training videos "
    "that were kept out",
    "last": "the last step; nothing was chosen",
    "imported": "by whoever published it",
    "test": "highest frame AUC on this very test split, so the numbers are optimistic",
}


@dataclass(frozen=True, kw_only=True)
class Number:
    """One metric of one evaluation; `low` and `high` are its 95 % interval, if there is one."""

    name: str
    title: str
    help: str
    value: float | None
    low: float | None
    high: float | None
    higher_is_better: bool | None
    oracle: bool


def numbers(evaluation: Evaluation, names: Iterable[str] = tuple(METRICS)) -> list[Number]:
    """The metrics of these names that the evaluation has, in this order."""
    found = []
    for name in names:
        if name not in evaluation.metrics:
            continue
        info = METRICS[name]
        low, high = evaluation.intervals.get(name) or (None, None)
        found.append(
            Number(
                name=name,
                title=info.title,
                help=info.help,
                value=evaluation.metrics[name],
                low=low,
                high=high,
                higher_is_better=info.higher_is_better,
                oracle=info.oracle,
            )
        )
    return found
