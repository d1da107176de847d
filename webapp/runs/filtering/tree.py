"""A filter as a tree, and as text again: `parse(text_of(tree)) == tree`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from webapp.runs.filtering.names import Ref, Type, needs_quotes, quoted


@dataclass(frozen=True)
class Ago:
    """A moment this long before now."""

    seconds: float


Value: TypeAlias = float | str | Ago | date | datetime
"""A number, or seconds of a duration; a text; a moment: some time ago, a day, a time (UTC)."""


@dataclass(frozen=True)
class Word:
    """A word of the name, of the data set, or of the owner."""

    text: str


@dataclass(frozen=True)
class Condition:
    field: Ref
    operator: str
    value: Value


@dataclass(frozen=True)
class Not:
    part: Node


@dataclass(frozen=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Node, ...]


Node: TypeAlias = Word | Condition | Not | And | Or


def foreign(node: Node) -> Iterator[Ref]:
    """The settings it names that no configuration of ours has."""
    if isinstance(node, Not):
        yield from foreign(node.part)
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from foreign(part)
    elif isinstance(node, Condition) and node.field.is_foreign:
        yield node.field


def text_of(node: Node) -> str:
    """The filter as a person would write it."""
    if isinstance(node, Word):
        return quoted(node.text) if needs_quotes(node.text) else node.text
    if isinstance(node, Condition):
        value = _value(node)
        if node.operator == ":":
            return f"{node.field}:{value}"
        return f"{node.field} {node.operator} {value}"
    if isinstance(node, Not):
        return f"not {_within(node.part)}"
    word = " and " if isinstance(node, And) else " or "
    return word.join(_within(part) for part in node.parts)


def _within(node: Node) -> str:
    text = text_of(node)
    return f"({text})" if isinstance(node, And | Or) else text


def _value(node: Condition) -> str:
    value = node.value
    if isinstance(value, Ago):
        return f"{value.seconds!r}s"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value!r}s" if node.field.type == Type.DURATION else repr(value)
    return quoted(value) if needs_quotes(value) else value
