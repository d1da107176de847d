"""MLflow's filters and orders: `metrics.auc > 0.8 and params.lr = '0.1'`, `metrics.auc DESC`.

Read by a parser of its own and evaluated in Python over what `Facts` says of a run, so that both
databases give the same answer and a hostile text never becomes SQL or a regular expression.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from webapp.interop.tracking.errors import TrackingError

LONGEST, MOST_CLAUSES, MOST_ORDERS = 5000, 50, 20
LONGEST_PATTERN = 250  # of LIKE

METRIC, PARAM, TAG, ATTRIBUTE = "metric", "param", "tag", "attribute"
_ENTITIES = {
    "metric": METRIC, "metrics": METRIC, "param": PARAM, "params": PARAM, "parameter": PARAM,
    "parameters": PARAM, "tag": TAG, "tags": TAG, "attribute": ATTRIBUTE, "attributes": ATTRIBUTE,
    "attr": ATTRIBUTE, "run": ATTRIBUTE,
}  # fmt: skip
_ALIASES = {
    "created": "start_time", "Created": "start_time", "run name": "run_name",
    "Run name": "run_name", "Run Name": "run_name",
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """Which attributes there are."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]


OF_RUNS = Names(
    ("start_time", "end_time"), ("run_id", "run_name", "status", "user_id", "artifact_uri")
)
OF_EXPERIMENTS = Names(("creation_time", "last_update_time"), ("name", "experiment_id"))
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt,
    "<=": operator.le,
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'[^']*'|"[^"]*")
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w./]))
      | (?P<operator>!=|>=|<=|=|>|<)
      | (?P<mark>[(),])
      | (?P<name>(?:[\w./-]|`[^`]*`|(?<=\.)"[^"]*")+)
    )""",
    re.VERBOSE,
)


class Facts(Protocol):
    """What a filter may ask of a run; None where the run has no such thing."""

    def value(self, entity: str, key: str) -> Any: ...


@dataclass(frozen=True)
class Clause:
    entity: str
    key: str
    operator: str  # a comparison, LIKE, ILIKE, IN, NOT IN, IS NULL, IS NOT NULL
    value: Any = None

    def holds(self, facts: Facts) -> bool:
        """A run that has no such metric, parameter or tag fits `IS NULL` alone."""
        found = facts.value(self.entity, self.key)
        if self.operator in ("IS NULL", "IS NOT NULL"):
            return (found is None) == (self.operator == "IS NULL")
        if found is None:
            return False
        match self.operator:
            case "LIKE":
                return like(found, self.value)
            case "ILIKE":
                return like(found.lower(), self.value.lower())
            case "IN":
                return found in self.value
            case "NOT IN":
                return found not in self.value
        return _COMPARE[self.operator](found, self.value)


@dataclass(frozen=True)
class Order:
    entity: str
    key: str
    falling: bool = False

    def sort(self, rows: list[Any]) -> None:
        """In place and stable; runs without the value, or with one that is no number, go last."""

        def known(facts: Facts) -> Any:
            value = facts.value(self.entity, self.key)
            return None if isinstance(value, float) and math.isnan(value) else value

        some = [row for row in rows if known(row) is not None]
        rest = [row for row in rows if known(row) is None]
        some.sort(key=known, reverse=self.falling)
        rows[:] = some + rest


def parse(text: str, names: Names = OF_RUNS) -> list[Clause]:
    """
    Raises:
        TrackingError: the place that cannot be read.
    """
    if len(text) > LONGEST:
        raise TrackingError(f"The filter has {len(text):,} characters, {LONGEST:,} at most.")
    if not text.strip():
        return []
    reader = _Reader(text, names)
    clauses = [reader.clause()]
    while not reader.at_end:
        reader.word("AND")
        clauses.append(reader.clause())
        if len(clauses) > MOST_CLAUSES:
            raise TrackingError(f"The filter has more than {MOST_CLAUSES} conditions.")
    return clauses


def parse_orders(texts: Sequence[str], names: Names = OF_RUNS) -> list[Order]:
    """The orders that were asked for, the first one counts most.

    Raises:
        TrackingError: one cannot be read.
    """
    if len(texts) > MOST_ORDERS:
        raise TrackingError(f"There are more than {MOST_ORDERS} orders.")
    return [_order(text, names) for text in texts]


def _order(text: str, names: Names) -> Order:
    if len(text) > LONGEST:
        raise TrackingError("An order is too long.")
    reader = _Reader(text, names)
    entity, key = reader.identifier()
    direction = "ASC" if reader.at_end else reader.take("name", "ASC or DESC").upper()
    if direction not in ("ASC", "DESC") or not reader.at_end:
        raise TrackingError(f"The order {text[:80]!r} is no name with ASC or DESC after it.")
    return Order(entity, key, direction == "DESC")


class _Reader:
    """The tokens of a filter, one after the other."""

    def __init__(self, text: str, names: Names) -> None:
        self.text, self.names, self.place = text, names, 0
        self.tokens: list[tuple[str, str, int]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                self.fail(at)
            self.tokens.append((found.lastgroup, found[found.lastgroup], at))
            at = found.end()

    @property
    def at_end(self) -> bool:
        return self.place == len(self.tokens)

    def fail(self, at: int, wanted: str = "") -> NoReturn:
        rest = self.text[at : at + 40].strip()
        expected = f"; expected {wanted}" if wanted else ""
        raise TrackingError(f"The filter cannot be read at {rest!r}{expected}. {_HELP}")

    def take(self, kind: str, wanted: str) -> str:
        if self.at_end:
            self.fail(len(self.text), wanted)
        found, text, at = self.tokens[self.place]
        if found != kind:
            self.fail(at, wanted)
        self.place += 1
        return text

    def word(self, *words: str) -> str:
        at = len(self.text) if self.at_end else self.tokens[self.place][2]
        text = self.take("name", " or ".join(words)).upper()
        if text not in words:
            self.fail(at, " or ".join(words))
        return text

    def identifier(self) -> tuple[str, str]:
        at = len(self.text) if self.at_end else self.tokens[self.place][2]
        text = self.take("name", "a name")
        before, dot, key = text.partition(".")
        entity = _ENTITIES.get(before.strip("`"))
        if not dot:
            entity, key = ATTRIBUTE, text
        if entity is None:
            self.fail(at, "metrics, params, tags or attributes before the dot")
        if len(key) > 1 and key[0] == key[-1] and key[0] in '`"':
            key = key[1:-1]
        if entity == ATTRIBUTE:
            key = _ALIASES.get(key, key)
            known = (*self.names.numbers, *self.names.texts)
            if key not in known:
                self.fail(at, f"one of {', '.join(known)}")
        return entity, key

    def clause(self) -> Clause:
        entity, key = self.identifier()
        if self.at_end:
            self.fail(len(self.text), "a comparison")
        kind, text, at = self.tokens[self.place]
        is_number = entity == METRIC or (entity == ATTRIBUTE and key in self.names.numbers)
        if kind == "operator":
            self.place += 1
            if is_number:
                return Clause(entity, key, text, float(self.take("number", "a number")))
            if text not in ("=", "!="):
                self.fail(at, "=, !=, LIKE or ILIKE for a text")
            return Clause(entity, key, text, self._quoted())
        word = self.word("LIKE", "ILIKE", "IN", "NOT", "IS")
        if word == "IS":
            negated = self.word("NOT", "NULL") == "NOT"
            if negated:
                self.word("NULL")
            if entity not in (PARAM, TAG):
                self.fail(at, "a parameter or a tag before IS NULL")
            return Clause(entity, key, "IS NOT NULL" if negated else "IS NULL")
        if is_number:
            self.fail(at, "=, !=, >, >=, < or <= for a number")
        if word in ("LIKE", "ILIKE"):
            pattern = self._quoted()
            if len(pattern) > LONGEST_PATTERN:
                self.fail(at, f"a pattern of {LONGEST_PATTERN} characters at most")
            return Clause(entity, key, word, pattern)
        if word == "NOT":
            self.word("IN")
        return Clause(entity, key, "NOT IN" if word == "NOT" else "IN", self._listed())

    def _quoted(self) -> str:
        return self.take("text", "a text in quotes")[1:-1]

    def _listed(self) -> tuple[str, ...]:
        at = self.tokens[self.place][2] if not self.at_end else len(self.text)
        if self.take("mark", "a list in brackets") != "(":
            self.fail(at, "a list in brackets")
        found = [self._quoted()]
        while (mark := self.take("mark", ", or )")) == ",":
            found.append(self._quoted())
        if mark != ")":
            self.fail(at, "a list in brackets")
        return tuple(found)


_HELP = "An example: metrics.auc > 0.8 and params.lr = '0.1' and tags.`my tag` LIKE 'a%'."


def like(text: str, pattern: str) -> bool:
    """SQL's LIKE: % is anything, _ one character. Linear in the text, whatever the pattern."""
    first, *rest = pattern.split("%")
    if not rest:
        return len(text) == len(first) and _fits(text, first, 0)
    if not _fits(text, first, 0):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        step = _literal(part).search(text, at)
        if step is None:
            return False
        at = step.end()
    return len(text) - len(last) >= at and _fits(text, last, len(text) - len(last))


def _fits(text: str, part: str, at: int) -> bool:
    return _literal(part).match(text, at) is not None


def _literal(part: str) -> re.Pattern[str]:
    """No repetition in it, so it cannot run away."""
    return re.compile("".join("." if c == "_" else re.escape(c) for c in part), re.DOTALL)
