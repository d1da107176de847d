"""What may stand at the cursor of a filter: fields, operators, values in use, and, or.

Only the text before the cursor decides. It is read with the parser's own tokens, but it goes on
where the parser would stop: a filter that is being typed is wrong most of the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from webapp.runs.filtering.names import (
    ALIASES,
    CONFIG,
    FIELDS,
    METRIC_VALUES,
    OPERATORS,
    Ref,
    Type,
    config_field,
    config_fields,
    needs_quotes,
    quoted,
    ref,
)
from webapp.runs.filtering.values import STATES

MOST = 12
_TOKEN = re.compile(
    r'\s+|(?P<metric>(?:last|min|max)\([^()]*\)?)|(?P<quoted>"(?:[^"\\]|\\.)*"?)'
    r'|(?P<operator>!=|<=|>=|=|<|>|:)|(?P<bracket>[()])|(?P<word>(?:[^\s()"=<>!:]|!(?!=))+|!)',
    re.S | re.I,
)
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s()"]*', re.S)
EXAMPLES = {
    Type.TIME: ("1d", "7d", "30d"), Type.DURATION: ("5min", "1h", "1d"),
}  # fmt: skip
WORDS = {
    "=": "is", "!=": "is there, and not", "<": "less than", "<=": "at most", ">": "more than",
    ">=": "at least", ":": "has, contains",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is in use among the runs that are filtered."""

    metrics: Sequence[str] = ()
    tags: Sequence[str] = ()
    owners: Sequence[str] = ()
    datasets: Sequence[str] = ()
    kinds: Sequence[str] = ()
    settings: Sequence[str] = ()  # of runs that are trained elsewhere


@dataclass(frozen=True)
class Proposal:
    """`text` takes the place of the characters from `Completion.start` to the cursor."""

    text: str
    help: str = ""
    kind: str = "value"


@dataclass(frozen=True, kw_only=True)
class Completion:
    start: int
    end: int
    proposals: list[Proposal] = field(default_factory=list)


def complete(text: str, at: int, known: Known) -> Completion:
    """Proposals for the cursor after `at` characters.

    Args:
        at: is moved into the text.
    """
    at = max(0, min(at, len(text)))
    before = text[:at]
    start, expected, name = _place(before)
    typed = before[start:]
    if expected == "operand":
        found = _operands(typed, known)
    elif expected == "operator" and name is not None:
        found = _starting(typed, [Proposal(op, WORDS[op], "operator") for op in
                                  OPERATORS[name.type]])  # fmt: skip
    elif expected == "value" and name is not None:
        found = _values(typed, name, known)
    else:
        words = [Proposal("and", "both", "keyword"), Proposal("or", "one of them", "keyword")]
        found = _starting(typed, words)
    return Completion(start=start, end=at, proposals=found[:MOST])


def _place(before: str) -> tuple[int, str, Ref | None]:
    """Where the piece at the cursor starts, what may stand there, and the field before it."""
    at, expected, name = 0, "operand", None
    while at < len(before):
        token = _TOKEN.match(before, at)
        if token is None:
            return len(before), "operand", None
        begin, at = token.start(), token.end()
        kind = token.lastgroup
        if kind is None:
            continue
        ends_here = at == len(before)
        if kind == "operator" and expected == "operator":
            value = _VALUE.match(before, _blank(before, at))
            assert value is not None
            if ends_here and token[0] in ("<", ">", "!"):  # may become <=
                return begin, "operator", name
            if value.end() == len(before):
                return value.start(), "value", name
            at, expected, name = value.end(), "connector", None
            continue
        text = token[0]
        if ends_here and kind in ("word", "metric", "quoted"):
            if expected == "connector" or (expected == "operator" and name is None):
                return begin, "connector", None
            return begin, "operand", None
        if kind == "bracket":
            expected, name = ("operand", None) if text == "(" else ("connector", None)
        elif kind == "word" and text.lower() in ("and", "or", "not"):
            expected, name = "operand", None
        else:
            name = ref(text) or ref(text.lower())
            expected = "operator" if name is not None else "connector"
    return len(before), expected, name


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _operands(typed: str, known: Known) -> list[Proposal]:
    lower = typed.lower()
    of, bracket, key = lower.partition("(")
    if bracket and of in METRIC_VALUES:
        key = key.strip('"')
        near = [k for k in known.metrics if key in k.lower()]
        return [Proposal(str(Ref(k, of)), f"{of} value of the metric", "field") for k in near]
    fields = [Proposal(name, f.help, "field") for name, f in FIELDS.items()]
    fields += [Proposal(name, target.help, "field") for name, target in ALIASES.items()]
    fields += [
        Proposal(f"{CONFIG}.{name}", f.help, "field")
        for name, f in config_fields().items()
        if f.type != Type.LIST
    ]
    fields += [
        Proposal(str(Ref(name, CONFIG)), config_field(name).help, "field")
        for name in known.settings
    ]
    metrics = [
        Proposal(str(Ref(k, of)), f"{of} value of the metric", "field")
        for k in known.metrics
        for of in METRIC_VALUES
    ]
    words = [Proposal("not", "what does not fit", "keyword")]
    return _starting(lower, [*fields, *metrics, *words])


def _values(typed: str, name: Ref, known: Known) -> list[Proposal]:
    inner = typed[1:].rstrip('"') if typed.startswith('"') else typed
    options: Iterable[str]
    if name.of == CONFIG:
        options = config_field(name.name).choices
    else:
        options = {
            "tag": known.tags, "owner": known.owners, "dataset": known.datasets,
            "kind": known.kinds, "state": STATES,
        }.get(name.name, EXAMPLES.get(name.type, ()))  # fmt: skip
    shown = [Proposal(quoted(o) if needs_quotes(o) else o) for o in options]
    lower = inner.lower()
    starts = [p for p in shown if p.text.strip('"').lower().startswith(lower)]
    return starts + [p for p in shown if lower in p.text.lower() and p not in starts]


def _starting(typed: str, options: Sequence[Proposal]) -> list[Proposal]:
    """Those that begin so, then those that have it inside."""
    starts = [o for o in options if o.text.lower().startswith(typed)]
    inside = [o for o in options if typed and typed in o.text.lower() and o not in starts]
    return starts + inside
