"""From a tree to a query. Missing values match no comparison, so every part is true or false.

What lies in other tables becomes a set of ids, which the database makes once, not once a row; and
what costs least is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import CharField, Exists, F, FloatField, Func, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    IContains,
    IsNull,
    LessThan,
    LessThanOrEqual,
)
from django.utils import timezone

from vad.configs import CONFIGS
from webapp.accounts.models import User
from webapp.core.jsonvalues import JsonHas, JsonLiteral, JsonNumber, JsonText, Sure
from webapp.core.query import uuids
from webapp.datasets.models import DatasetVersion
from webapp.evaluations.models import Evaluation
from webapp.runs.filtering.names import CONFIG, FIELDS, Ref, Type
from webapp.runs.filtering.tree import Ago, And, Condition, Node, Not, Or, Word
from webapp.runs.filtering.values import ACTIVE, Refused, number
from webapp.runs.models import ENDED, MetricSummary, State


class NotEqual(Exact):
    def get_rhs_op(self, connection: Any, rhs: str) -> str:
        return f"<> {rhs}"


class Took(Func):
    """Seconds from the start to the end, or to `now`; to a thousandth."""

    output_field = FloatField()

    def __init__(self, now: datetime, **extra: Any) -> None:
        super().__init__(F("started_at"), Coalesce(F("ended_at"), Value(now)), **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        text = "(ROUND((JULIANDAY(%(b)s) - JULIANDAY(%(a)s)) * 86400000.0) / 1000.0)"
        return self._filled(compiler, text)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self._filled(
            compiler, "ROUND(EXTRACT(EPOCH FROM (%(b)s - %(a)s)), 3)::double precision"
        )

    def _filled(self, compiler: Any, text: str) -> Any:
        (a, first), (b, second) = (compiler.compile(e) for e in self.source_expressions)
        return text % {"a": a, "b": b}, (*second, *first)


COMPARE: Mapping[str, Any] = {
    "=": Exact, "!=": NotEqual, "<": LessThan, "<=": LessThanOrEqual, ">": GreaterThan,
    ">=": GreaterThanOrEqual, ":": IContains,
}  # fmt: skip
SUMMARY = {"last": "last", "min": "least", "max": "greatest"}
TIMES = {"created": "created_at", "started": "started_at", "ended": "ended_at"}
NUMBERS = {"steps": "done", "attempt": "attempt", "priority": "priority"}


def compiled(node: Node, now: datetime | None = None) -> Q:
    """The query of a filter, for `Run.objects.filter`."""
    return _of(node, now or timezone.now())


def _of(node: Node, now: datetime) -> Q:
    if isinstance(node, Not):
        return ~_of(node.part, now)
    if isinstance(node, And | Or):
        first, *others = (_of(part, now) for part in sorted(node.parts, key=_cost))
        for other in others:
            first = first & other if isinstance(node, And) else first | other
        return first
    if isinstance(node, Word):
        return _word(node.text)
    return _condition(node, now)


def _cost(node: Node) -> int:
    """Columns of the row, then sets of ids, then JSON, which is read anew in every row."""
    if isinstance(node, Not):
        return _cost(node.part)
    if isinstance(node, And | Or):
        return max(_cost(part) for part in node.parts)
    if isinstance(node, Word):
        return 2
    if node.field.of == CONFIG:
        return 4
    if node.field.type == Type.TAG:
        return 3
    return 1 if node.field.of or FIELDS[node.field.name].best else 0


def _condition(node: Condition, now: datetime) -> Q:
    field, operator, value = node.field, node.operator, node.value
    if field.of == CONFIG:
        return _config(field.name, operator, value)
    if field.of:
        wanted = COMPARE[operator](F(SUMMARY[field.of]), Value(value))
        return Q(pk__in=MetricSummary.objects.filter(wanted, key=field.name).values("run"))
    if FIELDS[field.name].best:
        return _best(FIELDS[field.name].best, operator, value)
    if field.name in NUMBERS:
        return Q(COMPARE[operator](F(NUMBERS[field.name]), Value(value)))
    if field.name in TIMES:
        return _time(TIMES[field.name], operator, value, now)
    if field.name == "took":
        return Q(Sure(COMPARE[operator](Took(now), Value(value))))
    return _TEXTS[field.name](operator, str(value))


# --- numbers of other tables ----------------------------------------------------------------


def best_only() -> QuerySet[Evaluation]:
    """Of each run that was evaluated its best evaluation; of equal ones that of the higher id."""
    ranked = Evaluation.objects.annotate(rank=Coalesce("frame_auc", Value(-1.0)))
    better = ranked.filter(of_run=OuterRef("of_run")).filter(
        Q(rank__gt=OuterRef("rank")) | Q(rank=OuterRef("rank"), run__gt=OuterRef("run"))
    )
    return ranked.filter(~Exists(better))


def best_value(path: tuple[str, ...]) -> Any:
    """The number at the path of `names.Field.best`, in the terms of an evaluation."""
    return F(path[0]) if len(path) == 1 else JsonNumber(*path)


def _best(path: tuple[str, ...], operator: str, value: Any) -> Q:
    """By the best evaluation of the run, or by the one that it is itself."""
    literal = Value(value) if len(path) == 1 else JsonLiteral(value)
    wanted = COMPARE[operator](best_value(path), literal)
    own = Evaluation.objects.filter(wanted).values("run")
    return Q(pk__in=own) | Q(pk__in=best_only().filter(wanted).values("of_run"))


def _config(name: str, operator: str, value: Any) -> Q:
    if isinstance(value, str) and Ref(name, CONFIG).is_foreign and operator != ":":
        return _setting(name, operator, value)
    if isinstance(value, float):
        return Q(Sure(COMPARE[operator](JsonNumber("config", name), JsonLiteral(value))))
    return Q(Sure(COMPARE[operator](JsonText("config", name), value)))


def _setting(name: str, operator: str, text: str) -> Q:
    """Of a script: a number in one run, a text in another; either may be what is meant."""
    found = Q(Sure(COMPARE[operator](JsonText("config", name), text)))
    try:
        value = number(text)
    except Refused:
        a_number = Q(IsNull(JsonNumber("config", name), False))  # which differs from any text
        return found | a_number if operator == "!=" else found
    return found | Q(Sure(COMPARE[operator](JsonNumber("config", name), JsonLiteral(value))))


# --- columns of the run ---------------------------------------------------------------------


def _time(column: str, operator: str, value: Any, now: datetime) -> Q:
    """A day is an interval: = means within it, > after it, >= from its beginning on."""
    if isinstance(value, date) and not isinstance(value, datetime):
        begin = datetime.combine(value, time(), tzinfo=UTC)
        end = begin + timedelta(days=1)
    else:
        begin = end = now - timedelta(seconds=value.seconds) if isinstance(value, Ago) else value
    there = Q(**{f"{column}__isnull": False})
    if operator in ("=", "!="):
        within = Q(**{f"{column}__gte": begin})
        within &= Q(**{f"{column}__lt": end} if end > begin else {f"{column}__lte": end})
        return there & (within if operator == "=" else ~within)
    if operator in ("<", ">="):
        return there & Q(**{f"{column}__{'lt' if operator == '<' else 'gte'}": begin})
    last = "gt" if end == begin else "gte"
    first = "lte" if end == begin else "lt"
    return there & Q(**{f"{column}__{last if operator == '>' else first}": end})


def _word(text: str) -> Q:
    return Q(name__icontains=text) | _owner(":", text) | _dataset(":", text)


def _owner(operator: str, text: str) -> Q:
    if operator == ":":
        return Q(owner__in=User.objects.filter(username__icontains=text))
    found = Q(owner__in=User.objects.filter(username=text))
    return found if operator == "=" else ~found


def _dataset(operator: str, text: str) -> Q:
    """By the name with the version, as it is shown: "ucf-crime v2"."""
    number = Cast("number", CharField())
    versions = DatasetVersion.objects.annotate(
        shown=Concat("dataset__name", Value(" v"), number, output_field=CharField())
    )
    there = Q(version__isnull=False)
    if operator == ":":
        return there & Q(version__in=versions.filter(shown__icontains=text).values("pk"))
    fits = Q(shown=text) | Q(dataset__name=text)
    found = Q(version__in=versions.filter(fits).values("pk"))
    return there & (found if operator == "=" else ~found)


def _sweep(operator: str, text: str) -> Q:
    """By the name; = and != also by the id, as links write it."""
    there = Q(trial__isnull=False)
    if operator == ":":
        return there & Q(trial__sweep__name__icontains=text)
    found = Q(trial__sweep__name=text) | Q(trial__sweep__in=uuids([text]))
    return there & (found if operator == "=" else ~found)


def _column(name: str) -> Callable[[str, str], Q]:
    def condition(operator: str, text: str) -> Q:
        if operator == ":":
            return Q(**{f"{name}__icontains": text})
        return Q(**{name: text}) if operator == "=" else ~Q(**{name: text})

    return condition


def _state(operator: str, text: str) -> Q:
    found = ~Q(state__in=(*ENDED, State.HELD)) if text == ACTIVE else Q(state=text)
    return ~found if operator == "!=" else found


def _kind(operator: str, text: str) -> Q:
    if operator == ":":
        return Q(kind__in=[kind for kind in CONFIGS if text in kind])
    return Q(kind=text) if operator == "=" else ~Q(kind=text)


def _tag(operator: str, text: str) -> Q:
    return Q(JsonHas("tags", text))


_TEXTS: Mapping[str, Callable[[str, str], Q]] = {
    "name": _column("name"), "notes": _column("notes"), "owner": _owner, "dataset": _dataset,
    "state": _state, "kind": _kind, "tag": _tag, "sweep": _sweep,
}  # fmt: skip
