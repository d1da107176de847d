"""The runs table: what an address shows of it, and one row a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils.http import urlencode

from webapp.accounts.models import User
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.runs import columns as columns_
from webapp.runs import grouping
from webapp.runs.columns import Column
from webapp.runs.filtering.compiling import compiled
from webapp.runs.filtering.completion import Known
from webapp.runs.filtering.names import CONFIG, FIELDS, LOSS, Ref, spoken
from webapp.runs.filtering.parse import both, parse
from webapp.runs.filtering.problem import FilterError, meant
from webapp.runs.filtering.tree import Condition, Node, foreign
from webapp.runs.models import Run
from webapp.runs.ordering import Scope, Sort
from webapp.runs.results import (
    best_of,
    foreign_settings,
    is_setting,
    metric_keys,
    metric_values,
)
from webapp.runs.sparkline import Sparkline, sparklines

PAGE_SIZE = 50
NEWEST_FIRST = Sort()
ALSO = {"state": "state", "kind": "kind", "tag": "tag"}  # parameter and field of the menus


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an address shows of the table, so every view of it is a link.

    Args:
        q: the filter as it was typed; `state`, `kind` and `tag` are joined to it by "and".
        problem: what is wrong with it; nothing is shown then.
        open: keys of the groups whose runs are shown.
    """

    q: str = ""
    state: str = ""
    kind: str = ""
    tag: str = ""
    sort: Sort = NEWEST_FIRST
    columns: tuple[Column, ...] = ()
    group: str = ""
    open: tuple[str, ...] = ()
    filter: Node | None = None
    problem: FilterError | None = None

    @classmethod
    def of(cls, given: QueryDict) -> Shown:
        q = given.get("q", "").strip()
        also = {name: given.get(name, "") for name in ALSO}
        wanted, problem = None, None
        try:
            wanted = parse(q)
        except FilterError as exc:
            problem = exc
        conditions = [Condition(Ref(ALSO[name]), "=", text) for name, text in also.items() if text]
        return cls(
            q=q,
            **also,
            sort=Sort.of(given.get("sort", "")),
            columns=columns_.chosen(given.getlist("cols")),
            group=grouping.by(given.get("group", "")),
            open=tuple(given.getlist("open")),
            filter=both(wanted, *conditions),
            problem=problem,
        )

    @property
    def active(self) -> bool:
        """Whether it is narrowed at all."""
        return bool(self.q or self.state or self.kind or self.tag)

    @property
    def query(self) -> str:
        """The address in one spelling, without the page and the opened groups."""
        return self.with_()

    @property
    def drawn(self) -> tuple[Column, ...]:
        """The columns of the page: groups always show what they reach."""
        there = {column.key for column in self.columns}
        missing = [key for key in ("auc", "ap") if self.group and key not in there]
        return (*self.columns, *(c for key in missing if (c := columns_.column(key))))

    def with_(self, **changes: str) -> str:
        """Another address that differs in these parameters; empty ones are left out."""
        given = {
            "q": self.q, "state": self.state, "kind": self.kind, "tag": self.tag,
            "sort": str(self.sort), "group": self.group, "cols": columns_.spelled(self.columns),
            **changes,
        }  # fmt: skip
        return urlencode({name: text for name, text in given.items() if text})

    def checked(self, projects: Sequence[int]) -> Shown:
        """This, or with a problem: a setting that no run of these projects has."""
        if self.problem is not None or self.filter is None:
            return self
        for ref in foreign(self.filter):
            if not is_setting(projects, ref.name):
                start = max(0, self.q.lower().find(str(ref).lower()))
                known = [*spoken(), *(f"{CONFIG}.{n}" for n in _settings_of(projects))]
                text = f"No run has a setting {ref.name}.{meant(str(ref), known)}"
                problem = FilterError(self.q, start, start + len(str(ref)), text)
                return replace(self, problem=problem)
        return self

    def scope(self, projects: Sequence[int], without: Sequence[UUID] = ()) -> Scope:
        """Those of the projects' runs that it shows.

        Raises:
            FilterError: the filter cannot be read.
        """
        if (problem := self.checked(projects).problem) is not None:
            raise problem
        wanted = compiled(self.filter) if self.filter is not None else None
        return Scope(projects=projects, without=without, filter=wanted)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run with the numbers of other tables that its row shows, by column key.

    `again`: the page has the run's row already, so this one does not change by itself.
    """

    run: Run
    again: bool = False
    values: Mapping[str, float | None] = field(default_factory=dict)
    spark: Sparkline | None = None

    @property
    def auc(self) -> float | None:
        return self.values.get("auc")

    @property
    def ap(self) -> float | None:
        return self.values.get("ap")

    @property
    def loss(self) -> float | None:
        return self.values.get("loss")


def tags(runs: QuerySet[Run]) -> list[str]:
    """All tags in use, sorted."""
    used = runs.exclude(tags=[]).order_by().values_list("tags", flat=True).distinct()
    return sorted({tag for tags in used for tag in tags})


def _all_but(path: str, model: type[Model], *read: str) -> list[str]:
    """What a row does not read of a related row; each of them is read once a run."""
    names = (field.name for field in model._meta.concrete_fields if not field.primary_key)
    return [f"{path}__{name}" for name in names if name not in read]


_UNREAD = (
    *_all_but("owner", User, "username"),
    *_all_but("version", DatasetVersion, "dataset", "number"),
    *_all_but("version__dataset", Dataset, "name"),
)


def rows(ids: Sequence[UUID], columns: Sequence[Column]) -> list[Row]:
    """The rows of these runs, in this order, in five queries at most whatever their number."""
    if not ids:
        return []
    refs = {c.key: c.ref for c in columns if c.ref is not None}
    unread = ["environment", "result", "error", *_UNREAD]
    if not any(ref.of == CONFIG for ref in refs.values()):
        unread.append("config")
    by_id = Run.objects.select_related("owner", "version__dataset").defer(*unread).in_bulk(ids)
    values: dict[UUID, dict[str, float | None]] = {pk: {} for pk in ids}
    results = [key for key, ref in refs.items() if not ref.of and FIELDS[ref.name].best]
    for pk, best in best_of(ids, results).items() if results else ():
        if pk in values:
            values[pk] |= best.values
    measured = {ref: key for key, ref in refs.items() if ref.of and ref.of != CONFIG}
    for pk, found in metric_values(ids, list(measured)).items():
        values[pk] |= {measured[ref]: value for ref, value in found.items()}
    with_curve = any(c.key == "curve" for c in columns)
    spark = sparklines(ids, LOSS.name) if with_curve else {}
    return [Row(run=by_id[pk], values=values[pk], spark=spark.get(pk)) for pk in ids if pk in by_id]


def value(row: Row, column: Column) -> Any:
    """What a column says of a run, in JSON types or a time."""
    run, key = row.run, column.key
    if column.ref is not None and column.ref.of == CONFIG:
        return run.config.get(column.ref.name)
    if key in row.values or column.ref is None or column.ref.of:
        return row.values.get(key) if key != "progress" else run.percent
    plain: Mapping[str, Any] = {
        "name": run.name, "state": run.state, "kind": run.kind, "tag": run.tags,
        "owner": run.owner.username, "dataset": str(run.version) if run.version else None,
        "notes": run.notes, "created": run.created_at, "started": run.started_at,
        "ended": run.ended_at, "took": run.took_s, "steps": run.done, "attempt": run.attempt,
        "priority": run.priority,
    }  # fmt: skip
    return plain.get(key)


def _settings_of(projects: Sequence[int]) -> list[str]:
    return foreign_settings(Run.objects.filter(project__in=projects))


def known(runs: QuerySet[Run]) -> Known:
    """What a filter's completion can propose among these runs."""
    ids = runs.order_by().values("pk")
    versions = DatasetVersion.objects.filter(runs__in=ids).distinct().select_related("dataset")
    return Known(
        metrics=metric_keys(runs),
        tags=tags(runs),
        owners=sorted(runs.order_by().values_list("owner__username", flat=True).distinct()),
        datasets=sorted(str(version) for version in versions),
        settings=foreign_settings(runs),
        kinds=sorted(runs.order_by().values_list("kind", flat=True).distinct()),
    )
