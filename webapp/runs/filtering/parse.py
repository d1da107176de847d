"""From text to a tree. Every refusal names the place, and what may stand there."""

from __future__ import annotations

import re
from typing import NoReturn

from webapp.runs.filtering import values
from webapp.runs.filtering.names import (
    CONFIG,
    METRIC_VALUES,
    OPERATORS,
    Ref,
    Type,
    config_field,
    config_fields,
    ref,
    spoken,
    unquoted,
)
from webapp.runs.filtering.problem import FilterError, meant
from webapp.runs.filtering.tree import And, Condition, Node, Not, Or, Word

MOST_CHARACTERS = 1000
MOST_CONDITIONS = 50  # each one makes the query longer
MOST_DEPTH = 20
KEYWORDS = ("and", "or", "not")
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r'(?:[^\s()"=<>!:]|!(?!=))+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
_OPERATOR = re.compile(r"!=|<=|>=|=|<|>|:")
_VALUE = re.compile(r'[^\s()"]+')
_KEY = re.compile(r'[^()"]*')
_OPERAND = 'a field, a word, "not" or "("'


def parse(text: str) -> Node | None:
    """The tree of a filter; None for one that says nothing.

    Raises:
        FilterError: with the place.
    """
    return _Parser(text).parse()


def both(*nodes: Node | None) -> Node | None:
    """What fits all of them."""
    found = [node for node in nodes if node is not None]
    parts = [p for node in found for p in (node.parts if isinstance(node, And) else (node,))]
    return And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.conditions = 0

    def parse(self) -> Node | None:
        if len(self.text) > MOST_CHARACTERS:
            self.fail(
                MOST_CHARACTERS, len(self.text),
                f"The filter has {len(self.text):,} characters; {MOST_CHARACTERS:,} at most.",
                "Shorten it, or give the runs a tag and ask for that.",
            )  # fmt: skip
        self.skip()
        if self.at == len(self.text):
            return None
        node = self.any_of(0)
        if self.at < len(self.text):  # any_of stops at ")" alone
            self.fail(self.at, self.at + 1, 'There is no "(" that this ")" would close.')
        return node

    # --- and, or, not -----------------------------------------------------------------------

    def any_of(self, depth: int) -> Node:
        parts = [self.all_of(depth)]
        while self.take_keyword("or"):
            parts.append(self.all_of(depth))
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def all_of(self, depth: int) -> Node:
        parts = [self.one(depth)]
        while not (self.ended() or self.text[self.at] == ")" or self.keyword() == "or"):
            self.take_keyword("and")
            parts.append(self.one(depth))
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def one(self, depth: int) -> Node:
        self.skip()
        start = self.at
        if depth > MOST_DEPTH:
            self.fail(start, start + 1, f"More than {MOST_DEPTH} levels of brackets and not.")
        if self.take_keyword("not"):
            return Not(self.one(depth + 1))
        if self.ended():
            self.fail(start, start, f"The filter ends where {_OPERAND} must follow.")
        if self.text[self.at] == "(":
            self.at += 1
            node = self.any_of(depth + 1)
            if self.ended():
                self.fail(start, start + 1, 'This "(" is never closed.', 'Close it with ")".')
            self.at += 1
            return node
        self.conditions += 1
        if self.conditions > MOST_CONDITIONS:
            self.fail(start, len(self.text), f"More than {MOST_CONDITIONS} words and conditions.")
        return self.word_or_condition()

    # --- words and conditions ---------------------------------------------------------------

    def word_or_condition(self) -> Node:
        start = self.at
        if self.text[start] == '"':
            text = self.take_quoted()
            if self.operator():
                self.fail(start, self.at, "A field is written without quotes.")
            return Word(text)
        found = _WORD.match(self.text, start)
        if found is None:
            token = _OPERATOR.match(self.text, start)
            end = token.end() if token else start + 1
            self.fail(start, end, f"{self.text[start:end]} cannot stand here, only {_OPERAND}.")
        word, self.at = found[0], found.end()
        if word in KEYWORDS or word.lower() in KEYWORDS:
            self.fail(start, self.at, f'"{word}" cannot stand here, only {_OPERAND}.')
        if word.lower() in METRIC_VALUES and self.text[self.at : self.at + 1] == "(":
            return self.condition(self.metric(word.lower()), start)
        end = self.at
        if not self.operator():
            return Word(word)
        field = ref(word) or ref(word.lower())
        if field is None:
            self.unknown(word, start, end)
        return self.condition(field, start)

    def metric(self, of: str) -> Ref:
        """The rest of `last(KEY)`, from the bracket on."""
        opened = self.at
        self.at += 1
        if self.text[self.at : self.at + 1] == '"':
            key = self.take_quoted()
        else:
            found = _KEY.match(self.text, self.at)
            key = found[0].strip() if found else ""
            self.at = found.end() if found else self.at
        if not key:
            self.fail(
                opened, self.at + 1, "There is no metric in the brackets.", f"{of}(loss/total)"
            )
        if self.text[self.at : self.at + 1] != ")":
            self.fail(opened, self.at, 'This "(" is never closed.', f"Write {of}({key}).")
        self.at += 1
        if " " in key and not _QUOTED.search(self.text[opened : self.at]):
            self.fail(opened + 1, self.at - 1, f'Put the metric in quotes: {of}("{key}").')
        return Ref(key, of)

    def condition(self, field: Ref, start: int) -> Condition:
        name_end = self.at
        allowed = OPERATORS[field.type]
        if field.type == Type.LIST:
            self.fail(start, name_end, f"{field} is a list, which cannot be compared.")
        place = self.at_operator()
        operator = self.operator()
        if not operator:
            self.fail(
                place, place, f"After {field} there must be one of {' '.join(allowed)}.",
                "A value follows it.",
            )  # fmt: skip
        self.at = place + len(operator)
        if operator not in allowed:
            hint = f"Write: not {field}:…" if operator == "!=" else ""
            self.fail(
                place, self.at, f"{field} is compared with {' '.join(allowed)}, not {operator}.",
                hint,
            )  # fmt: skip
        self.skip()
        begin = self.at
        if self.text[begin : begin + 1] == '"':
            text, was_quoted = self.take_quoted(), True
        else:
            found = _VALUE.match(self.text, begin)
            text, was_quoted = (found[0] if found else ""), False
            self.at = found.end() if found else begin
        if not was_quoted and (not text or text.lower() in KEYWORDS):
            self.fail(begin, self.at, f"After {field} {operator} there must be {_a_value(field)}.")
        try:
            value = values.read(field, operator, text, was_quoted=was_quoted)
        except values.Refused as refused:
            near = meant(text, _choices(field))
            self.fail(begin, self.at, f"{field}: {refused}.{near}")
        return Condition(field, operator, value)

    def unknown(self, word: str, start: int, end: int) -> NoReturn:
        lower = word.lower()
        near = meant(lower, spoken())
        if not near and lower in config_fields():
            near = f" Did you mean config.{lower}?"
        if not near and "/" in word:
            near = f" A metric is written last({word}), min({word}) or max({word})."
        hint = "To look for it as text, put it in quotes." if not near else ""
        self.fail(start, end, f"There is no field {word}.{near}", hint)

    # --- tokens -----------------------------------------------------------------------------

    def skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def ended(self) -> bool:
        self.skip()
        return self.at >= len(self.text)

    def keyword(self) -> str:
        """and, or, not, when one stands here."""
        self.skip()
        found = _WORD.match(self.text, self.at)
        if found is None or found[0].lower() not in KEYWORDS:
            return ""
        return found[0].lower()

    def take_keyword(self, word: str) -> bool:
        if self.keyword() != word:
            return False
        self.at += len(word)
        return True

    def at_operator(self) -> int:
        found = _SPACE.match(self.text, self.at)
        return found.end() if found else self.at

    def operator(self) -> str:
        """The operator that comes next, which is not taken."""
        found = _OPERATOR.match(self.text, self.at_operator())
        return found[0] if found else ""

    def take_quoted(self) -> str:
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            self.fail(self.at, len(self.text), "This quote is never closed.", 'Close it with ".')
        self.at = found.end()
        return unquoted(found[1])

    def fail(self, start: int, end: int, message: str, hint: str = "") -> NoReturn:
        raise FilterError(self.text, start, max(start, min(end, len(self.text))), message, hint)


def _a_value(field: Ref) -> str:
    return {
        Type.NUMBER: "a number, such as 0.8 or 1e-4",
        Type.DURATION: "a duration, such as 90s, 15min or 2h",
        Type.TIME: "a moment: 7d for seven days ago, or a day such as 2026-11-20",
        Type.CHOICE: f"one of {', '.join(_choices(field))}" if _choices(field) else "a word",
        Type.TAG: "a tag",
        Type.SETTING: "a number, a word, or text in quotes",
    }.get(field.type, "a word, or text in quotes")


def _choices(field: Ref) -> tuple[str, ...]:
    if field.of == CONFIG:
        return config_field(field.name).choices
    if field.name == "state":
        return values.STATES
    return tuple(values.CONFIGS) if field.name == "kind" else ()
