"""Filters of reports: a cell of a table as it is read, a comment's text."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from webapp.core.numbers import true_minus
from webapp.reports import prose

register = template.Library()


@register.filter
def lines(table: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The rows of a table as they are read: `text`, `below` (its interval), `best`, `num`.

    In a column that has intervals every cell has room for one, so that the values stay in line.
    """
    columns, rows = table["columns"], table["rows"]
    roomy = [any(_interval(row[i]) for row in rows) for i in range(len(columns))]
    return [
        [
            {
                "text": _text(value),
                "below": _interval(value),
                "roomy": roomy[i],
                "best": isinstance(value, dict) and value.get("best", False),
                "num": columns[i]["num"],
            }
            for i, value in enumerate(row)
        ]
        for row in rows
    ]


def _text(value: Any) -> str:
    if value is None or value == "":
        return "\u2013"
    if not isinstance(value, dict):
        return str(value)
    return true_minus(f"{value['value']:,.{value['digits']}f}")


def _interval(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    if "low" in value:
        return f"{value['low']:.3f} \u2013 {value['high']:.3f}"
    return f"\u00b1 {value['deviation']:.4f}, n {value['n']}" if "deviation" in value else ""


@register.filter
def markdown(text: str) -> SafeString:
    return prose.to_html(text)
