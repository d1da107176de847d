"""The numbers of runs that stand in other tables, for many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from webapp.evaluations.models import Evaluation
from webapp.runs.filtering.compiling import SUMMARY
from webapp.runs.filtering.names import CONFIG, FIELDS, Ref, can_be_written
from webapp.runs.models import EXTERNAL, MetricSummary, Run

NEWEST = 200  # runs whose settings are known to completion


@dataclass(frozen=True, kw_only=True)
class Best:
    """A run's evaluation with the highest frame AUC; of an evaluate run its own."""

    evaluation: UUID
    auc: float | None
    values: dict[str, float | None] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, UUID]:
        return (-1.0 if self.auc is None else self.auc, self.evaluation)


def best_of(runs: Sequence[UUID] | QuerySet[Any], names: Sequence[str]) -> dict[UUID, Best]:
    """The best evaluation of each run that has one, with the numbers of these fields."""
    paths = {name: FIELDS[name].best for name in names}
    columns = sorted({"frame_auc", *(path[0] for path in paths.values())})
    rows = Evaluation.objects.filter(Q(of_run__in=runs) | Q(run__in=runs))
    found: dict[UUID, Best] = {}
    for run_id, of_run_id, *given in rows.values_list("run_id", "of_run_id", *columns):
        row = dict(zip(columns, given, strict=True))
        best = Best(
            evaluation=run_id,
            auc=row["frame_auc"],
            values={name: _number(row, path) for name, path in paths.items()},
        )
        for key in (run_id, of_run_id):
            if key not in found or best.rank > found[key].rank:
                found[key] = best
    return found


def metric_values(runs: Sequence[UUID], refs: Sequence[Ref]) -> dict[UUID, dict[Ref, float | None]]:
    """Last, least and greatest values of metrics, by run."""
    keys = {ref.name for ref in refs}
    found: dict[UUID, dict[Ref, float | None]] = {}
    if not keys:
        return found
    rows = MetricSummary.objects.filter(run__in=runs, key__in=keys)
    for run_id, key, *values in rows.values_list("run_id", "key", *SUMMARY.values()):
        by_name = {Ref(key, of): v for of, v in zip(SUMMARY, values, strict=True)}
        found.setdefault(run_id, {}).update({r: by_name[r] for r in refs if r.name == key})
    return found


def metric_keys(found: QuerySet[Run]) -> list[str]:
    """The metrics that these runs have, sorted."""
    rows = MetricSummary.objects.filter(run__in=found.order_by().values("pk"))
    return sorted(rows.order_by().values_list("key", flat=True).distinct())


def foreign_settings(found: QuerySet[Run]) -> list[str]:
    """Settings of the newest of these runs that are trained elsewhere, sorted.

    Without those that are also fields of ours, and those whose name a filter cannot write.
    """
    external = found.filter(kind=EXTERNAL).order_by("-created_at").values_list("config", flat=True)
    names = {name for config in external[:NEWEST] for name in config}
    return sorted(n for n in names if Ref(n, CONFIG).is_foreign and can_be_written(n))


def is_setting(projects: Sequence[int], name: str) -> bool:
    """Whether a run of these projects that is trained elsewhere has a setting of this name."""
    runs = Run.objects.filter(project__in=projects, kind=EXTERNAL)
    return runs.filter(config__has_key=name).exists()


def _number(row: dict[str, Any], path: Sequence[str]) -> float | None:
    value: Any = row[path[0]]
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
