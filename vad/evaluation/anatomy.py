"""Where the pooled AUC comes from: video by video, class by class, and between two runs.

Each pair of a positive and a negative frame belongs to two videos; half of it is put down to the
one that holds the positive, half to the other. So the parts add up, to the AUC, to what is missing
from 1, or to the difference of two runs. numpy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vad.data.manifest import NORMAL
from vad.errors import VadError
from vad.evaluation.bootstrap import aligned
from vad.evaluation.pairs import PairMatrix
from vad.evaluation.scores import ScoreSet


def anatomy(scores: ScoreSet) -> dict[str, Any]:
    """What each video and class adds to the AUC, and what it costs.

    Returns:
        `auc`; `videos`: a row each, in the set's order, with `share` (sums to the AUC), `missed`
        and `false_alarms` (pairs lost by its positive and by its negative frames; together
        `lost`, which sums to 1 - AUC), `auc_without` (None if undefined) and `change` (the AUC
        minus that: above zero, the video lifts it); `classes`: the same sums by class, a video of
        several classes split evenly; `matrix`: see `class_matrix`.

    Raises:
        VadError: `evaluation-impossible` without positive or without negative frames.
    """
    pairs = _defined(scores)
    auc = float(pairs.wins.sum()) / pairs.total
    lost = np.outer(pairs.positives, pairs.negatives) - pairs.wins
    missed, false_alarms = (
        lost.sum(axis=1) / (2 * pairs.total),
        lost.sum(axis=0) / (2 * pairs.total),
    )
    share = (pairs.wins.sum(axis=1) + pairs.wins.sum(axis=0)) / (2 * pairs.total)
    without = leave_one_out(pairs)
    rows = [
        {
            **_names(scores, v),
            "share": float(share[v]),
            "missed": float(missed[v]),
            "false_alarms": float(false_alarms[v]),
            "lost": float(missed[v] + false_alarms[v]),
            "auc_without": float(without[v]) if np.isfinite(without[v]) else None,
            "change": float(auc - without[v]) if np.isfinite(without[v]) else None,
        }
        for v in range(len(scores))
    ]
    parts = {"share": share, "missed": missed, "false_alarms": false_alarms}
    classes = _by_class(scores, {**parts, "lost": missed + false_alarms})
    return {"auc": auc, "videos": rows, "classes": classes, "matrix": class_matrix(scores, pairs)}


def explain_difference(first: ScoreSet, second: ScoreSet) -> dict[str, Any]:
    """Which videos explain the difference of two runs' AUC, `second - first`.

    Returns:
        `first`, `second`, `difference`; `videos`: a row each, the largest contributions first,
        with `as_positive` (its anomalies are ranked better or worse), `as_negative` (its normal
        frames are) and their sum `contribution`; all contributions sum to the difference;
        `classes`: the same by class.

    Raises:
        VadError: `evaluation-impossible`, not the same frames, or no AUC.
    """
    second = aligned(first, second)
    before, after = _defined(first), _defined(second)
    change = (after.wins - before.wins) / (2 * before.total)
    as_positive, as_negative = change.sum(axis=1), change.sum(axis=0)
    total = as_positive + as_negative
    rows = [
        {
            **_names(first, v),
            "contribution": float(total[v]),
            "as_positive": float(as_positive[v]),
            "as_negative": float(as_negative[v]),
        }
        for v in np.argsort(-np.abs(total), kind="stable")
    ]
    parts = {"contribution": total, "as_positive": as_positive, "as_negative": as_negative}
    auc_a, auc_b = before.wins.sum() / before.total, after.wins.sum() / after.total
    return {
        "first": float(auc_a),
        "second": float(auc_b),
        "difference": float((after.wins.sum() - before.wins.sum()) / before.total),
        "videos": rows,
        "classes": _by_class(first, parts),
    }


def leave_one_out(pairs: PairMatrix) -> np.ndarray:
    """[V] the AUC without each video, NaN where no positive or no negative frame is left."""
    rows, columns = pairs.wins.sum(axis=1), pairs.wins.sum(axis=0)
    won = pairs.wins.sum() - rows - columns + np.diag(pairs.wins)
    left = (pairs.positives.sum() - pairs.positives) * (pairs.negatives.sum() - pairs.negatives)
    return np.divide(won, left, out=np.full(len(won), np.nan), where=left > 0)


def class_matrix(scores: ScoreSet, pairs: PairMatrix) -> dict[str, Any]:
    """Anomalies of one class against normal frames of another.

    Returns:
        `rows`: classes of the positive frames; `columns`: classes of the negative frames, the
        normal videos last; `auc` [rows][columns], None where there are no pairs; `lost`
        [rows][columns], what these pairs cost, summing to 1 - AUC.
    """
    names, member = _membership(scores)
    won = member.T @ pairs.wins @ member
    possible = np.outer(member.T @ pairs.positives, member.T @ pairs.negatives)
    lost = (possible - won) / pairs.total
    kept = [c for c in range(len(names)) if possible[c].any()]
    cells = [[_cell(won[r, c], possible[r, c]) for c in range(len(names))] for r in kept]
    return {
        "rows": [names[r] for r in kept],
        "columns": list(names),
        "auc": cells,
        "lost": lost[kept].tolist(),
    }


def _cell(won: float, possible: float) -> float | None:
    return float(won / possible) if possible else None


def _defined(scores: ScoreSet) -> PairMatrix:
    pairs = PairMatrix.of(scores)
    if not pairs.total:
        missing = "positive" if not pairs.positives.any() else "negative"
        raise VadError(
            "evaluation-impossible",
            f"There is no AUC: the evaluated videos have no {missing} frame.",
            "Evaluate on a split with normal and abnormal frames.",
        )
    return pairs


def _names(scores: ScoreSet, v: int) -> dict[str, Any]:
    return {
        "key": scores.keys[v],
        "label": int(scores.labels[v]),
        "classes": list(scores.classes[v]),
    }


def _membership(scores: ScoreSet) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names, and [V, C] each video's share in each; rows sum to 1."""
    unnamed = any(
        label == 1 and not names for label, names in zip(scores.labels, scores.classes, strict=True)
    )
    names = (*scores.class_names, *(("(no class)",) if unnamed else ()))
    if (scores.labels == 0).any():
        names = (*names, NORMAL)
    column = {name: c for c, name in enumerate(names)}
    member = np.zeros((len(scores), len(names)))
    for v, own in enumerate(scores.classes):
        if scores.labels[v] == 0:
            own = (NORMAL,)
        for name in own or ("(no class)",):
            member[v, column[name]] += 1 / max(1, len(own))
    return names, member


def _by_class(scores: ScoreSet, parts: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    names, member = _membership(scores)
    sums = {key: member.T @ values for key, values in parts.items()}
    return [
        {
            "class": name,
            "videos": int((member[:, c] > 0).sum()),
            **{key: float(values[c]) for key, values in sums.items()},
        }
        for c, name in enumerate(names)
    ]
