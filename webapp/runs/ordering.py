"""The order of the runs table. What has no value comes last, either way; then the newest first.

A column of the run is sorted by the database as usual. A number of another table is walked from
there, in the order of its index, which finds the fifty on a page without looking at every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.db.models import F, FloatField, Q, QuerySet
from django.db.models.functions import Cast, NullIf
from django.utils import timezone

from webapp.core.jsonvalues import JsonNumber, JsonText
from webapp.evaluations.models import Evaluation
from webapp.runs.columns import column
from webapp.runs.filtering.compiling import SUMMARY, Took, best_only, best_value
from webapp.runs.filtering.names import CONFIG, FIELDS, Ref
from webapp.runs.models import MetricSummary, Run

NEWEST = ("-created_at", "-pk")
COLUMNS = {
    "name": ("name",), "state": ("state",), "kind": ("kind",), "created": ("created_at",),
    "dataset": ("version__dataset__name", "version__number"), "owner": ("owner__username",),
    "started": ("started_at",), "ended": ("ended_at",), "steps": ("done",),
    "attempt": ("attempt",), "priority": ("priority",),
}  # fmt: skip


@dataclass(frozen=True)
class Sort:
    """`key` as in the address, without the minus; empty for the newest first."""

    key: str = ""
    falling: bool = False

    @classmethod
    def of(cls, text: str) -> Sort:
        """What `sort=` says; the usual order for what cannot be sorted by."""
        key, falling = text.removeprefix("-"), text.startswith("-")
        if key == "name":
            return cls(key, falling)
        found = column(key)
        return cls(found.key, falling) if found is not None and found.sortable else cls()

    def __str__(self) -> str:
        return f"-{self.key}" if self.falling else self.key

    @property
    def ref(self) -> Ref | None:
        found = column(self.key)
        return found.ref if found else None


class Ordered:
    """The ids of runs in an order, page by page; for a `Paginator`."""

    def __init__(self, found: QuerySet[Run], sort: Sort) -> None:
        self.found, self.sort = found, sort

    def count(self) -> int:
        return self.found.order_by().count()

    def __getitem__(self, part: slice) -> list[UUID]:
        ref = self.sort.ref
        if ref is not None and ref.of and ref.of != CONFIG:
            first = self._by_metric(ref)
        elif ref is not None and not ref.of and FIELDS[ref.name].best:
            first = self._by_best(FIELDS[ref.name].best)
        else:
            return list(self.found.order_by(*self._terms()).values_list("pk", flat=True)[part])
        start, stop = part.start or 0, part.stop
        ids = [row[0] for row in first[start:stop]]
        if len(ids) < stop - start:
            valued = first.count()
            rest = self.found.exclude(self._valued(cast(Ref, ref))).order_by(*NEWEST)
            ids += rest.values_list("pk", flat=True)[max(0, start - valued) : stop - valued]
        return ids

    def _terms(self) -> list[Any]:
        """For order_by, of what the run's own row says."""
        key, ref = self.sort.key, self.sort.ref
        values: list[Any] = []
        if key == "progress":
            values = [Cast("done", FloatField()) / NullIf(Cast("total", FloatField()), 0.0)]
        elif key == "took":
            values = [Took(timezone.now())]
        elif ref is not None and ref.of == CONFIG:
            values = [JsonNumber("config", ref.name), JsonText("config", ref.name)]
        elif key:
            values = [F(name) for name in COLUMNS[key]]
        terms = [
            v.desc(nulls_last=True) if self.sort.falling else v.asc(nulls_last=True) for v in values
        ]
        return [*terms, *NEWEST]

    def _by_metric(self, ref: Ref) -> Any:
        value = SUMMARY[ref.of]
        rows = MetricSummary.objects.filter(
            key=ref.name, run__in=self.found.order_by().values("pk"), **{f"{value}__isnull": False}
        )
        sign = "-" if self.sort.falling else ""
        rows = rows.order_by(f"{sign}{value}", "-run__created_at", "-run_id")
        return rows.values_list("run_id")

    def _by_best(self, path: tuple[str, ...]) -> Any:
        """Evaluate runs by their own evaluation, and the evaluated by their best one."""
        ids = self.found.order_by().values("pk")
        sides = [
            rows.filter(**{f"{side}__in": ids})
            .annotate(of=F(f"{side}_id"), value=best_value(path), at=F(f"{side}__created_at"))
            .filter(value__isnull=False)
            .values_list("of", "value", "at")
            for side, rows in (("run", Evaluation.objects.all()), ("of_run", best_only()))
        ]
        sign = "-" if self.sort.falling else ""
        return sides[0].union(sides[1], all=True).order_by(f"{sign}value", "-at", "-of")

    @staticmethod
    def _valued(ref: Ref) -> Q:
        """The runs that `first` holds."""
        if ref.of:
            there = {f"{SUMMARY[ref.of]}__isnull": False}
            return Q(pk__in=MetricSummary.objects.filter(key=ref.name, **there).values("run"))
        value = best_value(FIELDS[ref.name].best)
        own, best = (
            rows.annotate(value=value).filter(value__isnull=False)
            for rows in (Evaluation.objects.all(), best_only())
        )
        return Q(pk__in=own.values("run")) | Q(pk__in=best.values("of_run"))
