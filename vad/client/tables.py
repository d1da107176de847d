"""A comparison as a table for people, for Markdown, for a spreadsheet and for a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Sequence[Sequence[str]]  # the first one holds the titles
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def compared(
    answer: Mapping[str, Any],
    last: Mapping[str, Mapping[str, float | None]],
    keys: Sequence[str],
) -> Rows:
    """One row a member: metrics that any of them has, last values, settings that differ."""
    members = answer["members"]
    metrics = [
        name
        for name in (members[0]["metrics"] if members else ())
        if any(member["metrics"][name] for member in members)
    ]
    differing: Mapping[str, Sequence[Any]] = answer["config_differences"]
    rows = [["run", *metrics, *keys, *differing]]
    for n, member in enumerate(members):
        values = [member["metrics"][name] for name in metrics]
        ends = [last.get(member["runs"][0], {}).get(key) for key in keys]
        rows.append([
            member["name"],
            *(_number(value and value["value"]) for value in values),
            *(_number(value) for value in ends),
            *(_setting(each[n]) for each in differing.values()),
        ])  # fmt: skip
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def _setting(value: Any) -> str:
    return "" if value is None else str(value)


def as_text(rows: Rows) -> str:
    clean = [["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in clean) for n in range(len(clean[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in clean]
    return "".join(f"{line}\n" for line in lines)


def as_markdown(rows: Rows) -> str:
    def line(cells: Sequence[str]) -> str:
        clean = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
        return f"| {' | '.join(clean)} |\n"

    return line(rows[0]) + line(["---"] * len(rows[0])) + "".join(map(line, rows[1:]))


def as_csv(rows: Rows) -> str:
    """A cell that a spreadsheet would take for a formula is marked as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow(f"'{cell}" if cell[:1] in "=@\t\r" and cell else cell for cell in row)
    return out.getvalue()


def as_latex(rows: Rows) -> str:
    def line(cells: Sequence[str]) -> str:
        clean = ("".join(_LATEX.get(c, c) for c in " ".join(cell.split())) for cell in cells)
        return f"{' & '.join(clean)} \\\\\n"

    columns = "l" + "r" * (len(rows[0]) - 1)
    body = "".join(map(line, rows[1:]))
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{line(rows[0])}\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n"
    )


FORMATS: Mapping[str, Callable[[Rows], str]] = {
    "table": as_text, "markdown": as_markdown, "csv": as_csv, "latex": as_latex,
}  # fmt: skip
