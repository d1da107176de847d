"""The runs table: what it is filtered and sorted by, and one row a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import F, FloatField, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, NullIf

from webapp.accounts.models import Project
from webapp.core import query
from webapp.evaluations.models import Evaluation
from webapp.runs.models import ENDED, MetricSummary, Run, State
from webapp.runs.sparkline import Sparkline, sparklines

PAGE_SIZE = 50
LOSS = "loss/total"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the table is narrowed to; read from the query, so every view of it is a link."""

    q: str = ""
    state: str = ""
    kind: str = ""
    tag: str = ""
    sort: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Filters:
        sort = given.get("sort", "")
        return cls(
            q=given.get("q", "").strip(),
            state=given.get("state", ""),
            kind=given.get("kind", ""),
            tag=given.get("tag", ""),
            sort=sort if sort.removeprefix("-") in SORTS else "",
        )

    @property
    def active(self) -> bool:
        return bool(self.q or self.state or self.kind or self.tag)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run with the numbers that its row shows."""

    run: Run
    auc: float | None = None
    ap: float | None = None
    loss: float | None = None
    spark: Sparkline | None = field(default=None)


def found_ids(project: Project | None, filters: Filters) -> QuerySet[Run, UUID]:
    """Ids of the project's runs, filtered and sorted; what has no value comes last either way.

    Ids only: SQLite sorts whole rows, and a row with its configuration is a hundred times as wide.
    """
    found: QuerySet[Run] = Run.objects.filter(project=project)
    if filters.q:
        for word in query.words(filters.q):
            found = found.filter(
                Q(name__icontains=word)
                | Q(version__dataset__name__icontains=word)
                | Q(owner__username__icontains=word)
            )
    if filters.state == "active":
        found = found.exclude(state__in=(*ENDED, State.HELD))
    elif filters.state:
        found = found.filter(state=filters.state)
    if filters.kind:
        found = found.filter(kind=filters.kind)
    if filters.tag:
        found = query.listing(found, "tags", filters.tag)
    key = filters.sort.removeprefix("-")
    if key in SORTS:
        value = SORTS[key]
        order = value.desc if filters.sort.startswith("-") else value.asc
        found = found.order_by(order(nulls_last=True), "-created_at", "-id")
    return found.values_list("pk", flat=True)


def tags(project: Project | None) -> list[str]:
    """All tags in use, sorted."""
    used = Run.objects.filter(project=project).exclude(tags=[]).order_by().distinct()
    return sorted({tag for tags in used.values_list("tags", flat=True) for tag in tags})


def rows(ids: Sequence[UUID]) -> list[Row]:
    """The rows of these runs, in this order, in five queries whatever their number."""
    runs = Run.objects.select_related("owner", "version__dataset").defer(
        "config", "environment", "result", "notes", "error"
    )
    by_id = runs.in_bulk(ids)
    best = best_results(ids)
    loss = dict(MetricSummary.objects.filter(run__in=ids, key=LOSS).values_list("run_id", "last"))
    spark = sparklines(ids, LOSS)
    return [
        Row(
            run=run,
            auc=best.get(run.pk, (None, None))[0],
            ap=best.get(run.pk, (None, None))[1],
            loss=loss.get(run.pk),
            spark=spark.get(run.pk),
        )
        for run in (by_id[pk] for pk in ids if pk in by_id)
    ]


def best_results(ids: Sequence[UUID]) -> dict[UUID, tuple[float | None, float | None]]:
    """AUC and AP of each run's evaluation with the highest AUC; its own for an evaluate run."""
    found: dict[UUID, tuple[float | None, float | None]] = {}
    evaluations = Evaluation.objects.filter(Q(of_run__in=ids) | Q(run__in=ids))
    listed = evaluations.values_list("run_id", "of_run_id", "frame_auc", "frame_ap")
    for run_id, of_run_id, auc, ap in listed:
        for key in {run_id, of_run_id}:
            if key not in found or (auc or 0.0) > (found[key][0] or 0.0):
                found[key] = (auc, ap)
    return found


def _best(column: str) -> Combinable:
    """A number of the run's own evaluation, else of the best one of its checkpoints."""
    own = Evaluation.objects.filter(run=OuterRef("pk")).values(column)
    of_it = Evaluation.objects.filter(of_run=OuterRef("pk")).order_by(
        F("frame_auc").desc(nulls_last=True)
    )
    return Coalesce(Subquery(own[:1]), Subquery(of_it.values(column)[:1]))


_LAST_LOSS = MetricSummary.objects.filter(run=OuterRef("pk"), key=LOSS).values("last")

SORTS: dict[str, Any] = {
    "name": F("name"),
    "state": F("state"),
    "kind": F("kind"),
    "dataset": F("version__dataset__name"),
    "owner": F("owner__username"),
    "created": F("created_at"),
    "progress": Cast("done", FloatField()) / NullIf(Cast("total", FloatField()), 0.0),
    "auc": _best("frame_auc"),
    "ap": _best("frame_ap"),
    "loss": Subquery(_LAST_LOSS[:1]),
}
