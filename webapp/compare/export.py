"""The tables of a comparison as text for other programs: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webapp.compare.comparison import Cell, ClassRow, Table
from webapp.compare.selection import Member

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of text and numbers.

    Args:
        head: titles of the columns; the first is that of the rows' names.
        rows: names and cells; a text is a cell, too.
        numeric: which columns after the first hold numbers; empty where all do.
        caption: what was measured, and how to read the intervals.
    """

    caption: str
    head: list[str]
    rows: Sequence[tuple[str, Sequence[Cell | str]]]
    numeric: Sequence[bool] = ()


def metric_sheet(table: Table, caption: str) -> Sheet:
    """A run a row, a metric a column."""
    return Sheet(
        caption=caption,
        head=["run", *(column.title for column in table.columns)],
        rows=[(named(row.member), row.cells) for row in table.rows if row.member.evaluations],
    )


def class_sheet(rows: Sequence[ClassRow], members: Sequence[Member], caption: str) -> Sheet:
    """A class a row, a run a column."""
    shown = [named(member) for member in members if member.evaluations]
    return Sheet(
        caption=caption,
        head=["class (videos)", *shown],
        rows=[(f"{row.name} ({row.videos})", row.cells) for row in rows],
    )


def named(member: Member) -> str:
    return f"{member.name} ({len(member.runs)} runs)" if member.is_group else member.name


def markdown(sheet: Sheet) -> str:
    """A pipe table, the best value of a column bold, with the caption under it."""

    def cell(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")

    def number(one: Cell | str) -> str:
        if isinstance(one, str):
            return cell(one)
        text = _number(one, "±", "–")  # noqa: RUF001
        return f"**{text}**" if one.best else text

    lines = [_row([cell(title) for title in sheet.head])]
    lines.append(_row(["---", *["---:"] * (len(sheet.head) - 1)]))
    lines += [_row([cell(name), *(number(c) for c in cells)]) for name, cells in sheet.rows]
    return "\n".join([*lines, "", sheet.caption, ""])


def latex(sheet: Sheet) -> str:
    """A `tabular` for booktabs, the best value of a column bold."""

    def number(one: Cell | str) -> str:
        if isinstance(one, str):
            return _tex(one)
        text = _number(one, r"$\pm$", "--").replace("[", "{[}").replace("]", "{]}")
        return rf"\textbf{{{text}}}" if one.best else text

    def line(cells: Sequence[str]) -> str:
        return "  " + " & ".join(cells) + r" \\"

    numeric = sheet.numeric or [True] * (len(sheet.head) - 1)
    return "\n".join(
        [
            f"% {sheet.caption}",
            rf"\begin{{tabular}}{{l{''.join('r' if num else 'l' for num in numeric)}}}",
            r"  \toprule",
            line([_tex(title) for title in sheet.head]),
            r"  \midrule",
            *(line([_tex(name), *(number(c) for c in cells)]) for name, cells in sheet.rows),
            r"  \bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def comma(sheet: Sheet) -> str:
    """All digits; interval, deviation and n in columns of their own (RFC 4180)."""
    parts = ("low", "high", "deviation", "n")
    out = io.StringIO()
    writer = csv.writer(out)
    head = [sheet.head[0]]
    for title in sheet.head[1:]:
        head += [title, *(f"{title} {part}" for part in parts)]
    writer.writerow([_plain(title) for title in head])
    for name, cells in sheet.rows:
        row: list[object] = [_plain(name)]
        for one in cells:
            if isinstance(one, str):
                row += [_plain(one), None, None, None, None]
                continue
            there = one.value is not None
            row += [one.value, one.low, one.high, one.deviation, one.n if there else None]
        writer.writerow(row)
    return out.getvalue()


FORMATS: dict[str, tuple[str, str, Callable[[Sheet], str]]] = {
    "md": ("Markdown", "text/markdown", markdown),
    "csv": ("CSV", "text/csv", comma),
    "tex": ("LaTeX", "application/x-tex", latex),
}


def _number(one: Cell, plus_minus: str, nothing: str) -> str:
    if one.value is None:
        return nothing
    text = f"{one.value:.4f}"
    if one.deviation is not None:
        return f"{text} {plus_minus} {one.deviation:.4f}"
    if one.low is not None and one.high is not None:
        return f"{text} [{one.low:.3f}, {one.high:.3f}]"
    return text


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def _plain(text: str) -> str:
    """Text that a spreadsheet would run as a formula is quoted off."""
    return f"'{text}" if text.startswith(_FORMULA) else text
