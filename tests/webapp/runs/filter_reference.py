"""What a filter means, in plain Python over one run: the compiled query must find the same."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from webapp.evaluations.models import Evaluation
from webapp.runs.filtering.names import CONFIG, FIELDS
from webapp.runs.filtering.tree import Ago, And, Condition, Node, Not, Word
from webapp.runs.models import Run

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
    ":": lambda there, wanted: wanted.lower() in there.lower(),
}  # fmt: skip


def fits(node: Node, run: Run, now: datetime) -> bool:
    if isinstance(node, Not):
        return not fits(node.part, run, now)
    if isinstance(node, Word):
        places = [run.name, run.owner.username, str(run.version) if run.version else ""]
        return any(node.text.lower() in place.lower() for place in places)
    if isinstance(node, Condition):
        return _condition(node, run, now)
    return (all if isinstance(node, And) else any)(fits(part, run, now) for part in node.parts)


def _condition(node: Condition, run: Run, now: datetime) -> bool:
    field, sign, wanted = node.field, node.operator, node.value
    if field.name == "tag" and not field.of:
        return wanted in run.tags
    if field.name == "state" and not field.of:
        active = run.state not in ("succeeded", "failed", "cancelled", "held")
        same = active if wanted == "active" else run.state == wanted
        return same != (sign == "!=")
    there = value(node, run, now)
    if there is None or isinstance(there, list):
        return False
    if isinstance(there, bool):
        there = str(there).lower()
    if isinstance(wanted, float) != isinstance(there, int | float) and not isinstance(
        there, datetime
    ):
        return False
    if isinstance(there, datetime):
        return _moment(there, sign, wanted, now)
    if field.name == "dataset" and sign != ":":
        same = wanted in (there, there.rsplit(" v", 1)[0])
        return same == (sign == "=")
    return COMPARE[sign](there, wanted)


def _moment(there: datetime, sign: str, wanted: Any, now: datetime) -> bool:
    if isinstance(wanted, Ago):
        return COMPARE[sign](there, now - timedelta(seconds=wanted.seconds))
    if isinstance(wanted, date) and not isinstance(wanted, datetime):
        begin = datetime.combine(wanted, time(), tzinfo=UTC)
        end = begin + timedelta(days=1)
        return {
            "=": begin <= there < end, "!=": not begin <= there < end, "<": there < begin,
            "<=": there < end, ">": there >= end, ">=": there >= begin,
        }[sign]  # fmt: skip
    return COMPARE[sign](there, wanted)


def value(node: Condition, run: Run, now: datetime) -> Any:
    field = node.field
    if field.of == CONFIG:
        return run.config.get(field.name)
    if field.of:
        summary = run.metric_summaries.filter(key=field.name).first()
        column = {"last": "last", "min": "least", "max": "greatest"}[field.of]
        return getattr(summary, column) if summary else None
    if FIELDS[field.name].best:
        best = best_of(run)
        found: Any = best and best.__dict__
        for key in FIELDS[field.name].best:
            found = (found or {}).get(key)
        return found
    if field.name == "took":
        if run.started_at is None:
            return None
        return round(((run.ended_at or now) - run.started_at).total_seconds(), 3)
    return {
        "name": run.name, "kind": run.kind, "owner": run.owner.username, "notes": run.notes,
        "dataset": str(run.version) if run.version else None, "created": run.created_at,
        "started": run.started_at, "ended": run.ended_at, "steps": run.done,
        "attempt": run.attempt, "priority": run.priority,
        "sweep": run.trial.sweep.name if hasattr(run, "trial") else None,
    }[field.name]  # fmt: skip


def best_of(run: Run) -> Evaluation | None:
    own = Evaluation.objects.filter(run=run).first()
    if own is not None:
        return own
    found = list(Evaluation.objects.filter(of_run=run))
    return max(
        found,
        key=lambda e: (-1.0 if e.frame_auc is None else e.frame_auc, e.run_id.hex),
        default=None,
    )
