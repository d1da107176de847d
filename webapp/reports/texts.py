"""The tables of a report as LaTeX."""

from __future__ import annotations

from typing import Any

from webapp.compare import export
from webapp.compare.comparison import Cell
from webapp.reports.queries import Shown


def latex(title: str, blocks: list[Shown]) -> str:
    """A `tabular` a table, in the order of the report; needs booktabs."""
    parts = [f"% {_line(title)}", r"% \usepackage{booktabs}", ""]
    for block in blocks:
        if block.content is None:
            continue
        for table in block.content.tables:
            name = ": ".join(filter(None, [block.content.title, table["title"]]))
            caption = " ".join(
                filter(None, [f"{name}.", block.content.note, block.block.get("caption", "")])
            )
            parts.append(export.latex(_sheet(table, caption)))
    return "\n".join(parts)


def _sheet(table: dict[str, Any], caption: str) -> export.Sheet:
    columns = table["columns"]
    return export.Sheet(
        caption=_line(caption),
        head=[column["title"] for column in columns],
        rows=[(_text(row[0]), [_cell(value) for value in row[1:]]) for row in table["rows"]],
        numeric=[column["num"] for column in columns[1:]],
    )


def _cell(value: Any) -> Cell | str:
    if not isinstance(value, dict):
        return _text(value)
    if value["digits"] < 4 and "low" not in value:
        return f"{value['value']:,.{value['digits']}f}"
    return Cell(
        value=value["value"],
        low=value.get("low"),
        high=value.get("high"),
        deviation=value.get("deviation"),
        n=value.get("n") or 1,
        best=value.get("best", False),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _line(text: str) -> str:
    """A comment ends with its line, so there is only one."""
    return " ".join(text.split())
