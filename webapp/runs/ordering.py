"""The order of the runs table. What has no value comes last, either way; then the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    FloatField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    When,
    Window,
)
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


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which runs are meant: those of projects, without some, that fit a filter."""

    projects: Sequence[int]
    without: Sequence[UUID] = ()
    filter: Q | None = None

    def runs(self) -> QuerySet[Run]:
        found: QuerySet[Run] = Run.objects.filter(self.over(""))
        return found.filter(self.filter) if self.filter is not None else found

    def over(self, path: str) -> Q:
        """All but the filter, for rows that reach their run over `path`."""
        meant = Q(**{f"{path}project__in": self.projects})
        return meant & ~Q(**{f"{path}pk__in": self.without}) if self.without else meant


class Ordered:
    """The ids of runs in an order, page by page; for a `Paginator`.

    With a filter one query finds, sorts and counts, so the filter is asked once. Without one, a
    number of another table is walked from there, in the order of its index.
    """

    def __init__(self, scope: Scope, sort: Sort) -> None:
        self.scope, self.sort = scope, sort
        self._total: int | None = None
        self._pages: dict[tuple[int, int], list[UUID]] = {}

    def page(self, number: str | None, size: int) -> Page[UUID]:
        """The page of this number; the nearest one where there is none."""
        at = int(number) if number and number.isdecimal() and len(number) < 9 else 1
        self.ids(max(0, at - 1) * size, max(1, at) * size)
        return Paginator(self, size).get_page(number)  # type: ignore[arg-type]

    def count(self) -> int:
        if self._total is None:
            self._total = self.scope.runs().order_by().count()
        return self._total

    def __getitem__(self, part: slice) -> list[UUID]:
        return self.ids(part.start or 0, part.stop)

    def ids(self, start: int, stop: int) -> list[UUID]:
        """Read once; a paginator asks again for what `page` has read, up to the last run."""
        for (begin, end), read in self._pages.items():
            if begin <= start and stop <= end:
                return read[start - begin : stop - begin]
        self._pages[start, stop] = self._read(start, stop)
        return self._pages[start, stop]

    def _read(self, start: int, stop: int) -> list[UUID]:
        if self.scope.filter is None:
            return self._walked(start, stop)
        terms = [*self._terms(), *NEWEST]
        found = self.scope.runs().annotate(all_found=Window(Count("*"))).order_by(*terms)
        rows = list(found.values_list("pk", "all_found")[start:stop])
        if rows:
            self._total = rows[0][1]
        return [pk for pk, _ in rows]

    def _walked(self, start: int, stop: int) -> list[UUID]:
        ref = self.sort.ref
        if ref is not None and (_is_metric(ref) or _is_best(ref)):
            with_value = self._by_metric(ref) if _is_metric(ref) else self._by_best(ref)
            ids = [row[0] for row in with_value[start:stop]]
            if len(ids) == stop - start:
                return ids  # else the page also has runs without the value
        found = self.scope.runs().order_by(*self._terms(), *NEWEST)
        return list(found.values_list("pk", flat=True)[start:stop])

    def _terms(self) -> list[Any]:
        """For order_by, before the newest."""
        key, ref = self.sort.key, self.sort.ref
        values: list[Any] = []
        if key == "progress":
            values = [Cast("done", FloatField()) / NullIf(Cast("total", FloatField()), 0.0)]
        elif key == "took":
            values = [Took(timezone.now())]
        elif ref is not None and ref.of == CONFIG:
            values = [JsonNumber("config", ref.name), JsonText("config", ref.name)]
        elif ref is not None and _is_metric(ref):
            summary = MetricSummary.objects.filter(run=OuterRef("pk"), key=ref.name)
            values = [Subquery(summary.values(SUMMARY[ref.of])[:1])]
        elif ref is not None and _is_best(ref):
            value = best_value(FIELDS[ref.name].best)
            own = Evaluation.objects.filter(run=OuterRef("pk")).annotate(value=value)
            of_it = Evaluation.objects.filter(of_run=OuterRef("pk")).annotate(value=value)
            best = of_it.order_by(F("frame_auc").desc(nulls_last=True), "-run")
            values = [
                Case(
                    When(kind="evaluate", then=Subquery(own.values("value")[:1])),
                    default=Subquery(best.values("value")[:1]),
                )
            ]
        elif key:
            values = [F(name) for name in COLUMNS[key]]
        return [
            v.desc(nulls_last=True) if self.sort.falling else v.asc(nulls_last=True) for v in values
        ]

    def _by_metric(self, ref: Ref) -> Any:
        """By the index of the metric's values.

        Not with a join: SQLite would start from the project's runs and sort all of them.
        """
        value = SUMMARY[ref.of]
        meant = Exists(Run.objects.filter(self.scope.over(""), pk=OuterRef("run")))
        rows = MetricSummary.objects.filter(meant, key=ref.name, **{f"{value}__isnull": False})
        sign = "-" if self.sort.falling else ""
        rows = rows.order_by(f"{sign}{value}", "-run__created_at", "-run_id")
        return rows.values_list("run_id")

    def _by_best(self, ref: Ref) -> Any:
        """Evaluate runs by their own evaluation, and the evaluated by their best one."""
        value = best_value(FIELDS[ref.name].best)
        sides = [
            rows.filter(self.scope.over(f"{side}__"))
            .annotate(of=F(f"{side}_id"), value=value, at=F(f"{side}__created_at"))
            .filter(value__isnull=False)
            .values_list("of", "value", "at")
            for side, rows in (("run", Evaluation.objects.all()), ("of_run", best_only()))
        ]
        sign = "-" if self.sort.falling else ""
        return sides[0].union(sides[1], all=True).order_by(f"{sign}value", "-at", "-of")


def _is_metric(ref: Ref) -> bool:
    return bool(ref.of) and ref.of != CONFIG


def _is_best(ref: Ref) -> bool:
    return not ref.of and bool(FIELDS[ref.name].best)
