"""Cells and headers of the runs table.

Made here rather than by included templates: a page has hundreds of cells, and an include costs more
than everything that such a cell does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django import template
from django.urls import reverse
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from webapp.core.numbers import true_minus
from webapp.core.templatetags import vadlab
from webapp.runs.columns import Column
from webapp.runs.filtering.parse import both, parse
from webapp.runs.filtering.tree import text_of
from webapp.runs.grouping import Group, Spread
from webapp.runs.models import Run, State, kind_choices
from webapp.runs.ordering import Sort
from webapp.runs.table import Row, Shown

register = template.Library()

Text = str | SafeString


@register.simple_tag
def run_row(row: Row, columns: Sequence[Column], pinned: bool, action: str) -> SafeString:
    """A whole row of the table.

    Args:
        action: where a click on the pin is sent.
    """
    run = row.run
    cells = [
        f'<td class="{cell_class(column)}">{_live(row, column, "")}</td>' for column in columns
    ]
    notes: Text = ""
    if run.notes:
        mark = _icon("edit", "Has notes")
        notes = format_html('<span class="note-mark" title="{}">{}</span>', run.notes, mark)
    # not by format_html, which would look at each of these again
    pk, name, act = run.pk, conditional_escape(run.name), "unpin" if pinned else "pin"
    to, word = f"{conditional_escape(action)}?action={act}", act.capitalize()
    head = (
        f'<tr><td class="check"><input type="checkbox" name="run" value="{pk}" form="bulk"'
        f' data-select-row aria-label="Select {name}"></td>'
        '<th scope="row" class="col-name"><div class="name-cell">'
        f'<button class="pin" form="pin-form" name="run" value="{pk}" formaction="{to}"'
        f' hx-post="{to}" aria-pressed="{"true" if pinned else "false"}" title="{word}"'
        f' aria-label="{word} {name}">{_icon("pin")}</button><span class="name-text">'
        f'{_swatch(run.color)}<a class="row-link" href="{_address(pk)}" title="{name}">{name}</a>'
        f"{notes}</span></div></th>"
    )
    return mark_safe(f"{head}{''.join(cells)}</tr>")


@register.simple_tag
def run_live_cells(row: Row, columns: Sequence[Column]) -> SafeString:
    """The cells that change, each to be swapped by its id."""
    return mark_safe("".join(_live(row, c, ' hx-swap-oob="true"') for c in columns))


def _live(row: Row, column: Column, attributes: str) -> str:
    """What stands in a cell, safe; one that changes while its run goes on has an id."""
    inner = _CELLS[column.cell](row, column)
    if not isinstance(inner, SafeString):
        inner = conditional_escape(inner)
    if not column.live or row.again:
        return inner
    return f'<div id="{column.slug}-{row.run.pk}"{attributes}>{inner}</div>'


@register.simple_tag
def cell_class(column: Column) -> str:
    css = _CLASSES.get(column.cell, "")
    return f"num {css}".strip() if column.num and "num" not in css else css


def _address(pk: UUID) -> str:
    """Of a run's page, as `reverse` gives it for one run."""
    return _page_of_a_run().replace(_ANY_RUN, str(pk))


@cache
def _page_of_a_run() -> str:
    return reverse("runs:detail", args=[_ANY_RUN])


_ANY_RUN = str(UUID(int=0))
_icon = cache(vadlab.icon)
_swatch = cache(vadlab.run_swatch)
_badge = cache(vadlab.state_badge)


@register.simple_tag
def run_header(shown: Shown, column: Column) -> SafeString:
    """A header that sorts; numbers start with the largest."""
    css = cell_class(column)
    label: Text = column.title
    if column.cell == "curve":
        label = format_html('<span class="visually-hidden">{}</span>', label)
    if not column.sortable or (shown.group and column.key not in ("auc", "ap")):
        return format_html('<th scope="col" class="{}" title="{}">{}</th>', css, column.help, label)
    return _sort_header(shown, column.key, column.title, column.help, css, column.num)


@register.simple_tag
def run_sort_header(
    shown: Shown, key: str, title: str, help: str = "", num: bool = False, css: str = ""
) -> SafeString:
    return _sort_header(shown, key, title, help, f"{css} {'num' if num else ''}".strip(), num)


def _sort_header(shown: Shown, key: str, title: str, help: str, css: str, num: bool) -> SafeString:
    sort = shown.sort if shown.sort.key else Sort("created", True)
    here = sort.key == key
    falling = num if not here else not sort.falling
    direction = ("descending" if sort.falling else "ascending") if here else ""
    mark: Text = vadlab.icon("down" if sort.falling else "up") if here else ""
    return format_html(
        '<th scope="col" class="{}"{} title="{}"><a id="sort-{}" href="?{}">{}{}</a></th>',
        css,
        format_html(' aria-sort="{}"', direction) if here else "",
        help,
        key,
        shown.with_(sort=f"{'-' if falling else ''}{key}"),
        title,
        mark,
    )


@register.filter
def spread(value: Spread | None) -> Text:
    """'0.8412 ± 0.0031 n 5'; en dash for none."""
    if value is None:
        return vadlab.NOTHING
    title = f"Mean and sample deviation of {value.n:,} evaluations"
    deviation: Text = ""
    if value.deviation is not None:
        deviation = format_html(' <span class="muted">± {}</span>', f"{value.deviation:.4f}")
    else:
        title = "One evaluation, which has no deviation"
    return format_html(
        '<span title="{}">{}{}<span class="caption spread-n">n {}</span></span>',
        title, f"{value.mean:.4f}", deviation, f"{value.n:,}",
    )  # fmt: skip


@register.simple_tag
def group_cell(group: Group, column: Column) -> Text:
    """What a group's row says under a column."""
    if column.key in ("auc", "ap"):
        return spread(getattr(group, column.key))
    if column.key == "state" and group.active:
        return format_html('<span class="caption">{} active</span>', f"{group.active:,}")
    return ""


@register.simple_tag
def group_link(shown: Shown, opened: Sequence[str], key: str, open_it: bool) -> str:
    """The same page with one group more, or less, opened."""
    keys = [other for other in opened if other != key] + ([key] if open_it else [])
    query = shown.query
    return f"?{'&'.join([query, *(urlencode({'open': k}) for k in keys)])}"


@register.simple_tag
def group_filter_link(shown: Shown, group: Group) -> str:
    """The runs of a group alone, as a table."""
    parsed = both(parse(shown.q), parse(group.filter))
    return f"?{shown.with_(q=text_of(parsed) if parsed else '', group='')}"


# --- cells ----------------------------------------------------------------------------------


def _state(row: Row, column: Column) -> Text:
    badge = _badge(str(row.run.state))
    silent_s = row.run.silent_s
    if silent_s is None:
        return badge
    words = vadlab.duration(silent_s)
    return format_html('{} <span class="caption nowrap">silent {}</span>', badge, words)


def _progress(row: Row, column: Column) -> Text:
    run = row.run
    if run.state in (State.RUNNING, State.STARTING):
        if run.eta_s is not None:
            note = f"{vadlab.duration(run.eta_s)} left"
        else:
            note = "starting" if run.state == State.STARTING else _cut(run.progress_note, 28)
        bar = vadlab.progress(run.done, run.total, run.state)
        return format_html('{}<span class="caption nowrap">{}</span>', bar, note)
    if run.state == State.SUCCEEDED:
        took = vadlab.duration(run.took_s)
        return format_html('<span class="caption nowrap">{}</span>', took)
    if run.total and run.done:
        return vadlab.progress(run.done, run.total, run.state)
    return mark_safe(f'<span class="caption">{vadlab.NOTHING}</span>')


def _curve(row: Row, column: Column) -> Text:
    if row.spark is None:
        return ""
    return format_html(
        '<svg class="sparkline" viewBox="0 0 96 22" role="img" aria-label="{0}"><title>{0}</title>'
        '<path d="{1}"/></svg>',
        row.spark.label,
        row.spark.path,
    )


def _number(row: Row, column: Column) -> Text:
    value = row.values.get(column.key, _COLUMNS.get(column.key, lambda _: None)(row.run))
    return vadlab.number(value, column.decimals) if _plain(value) else _small(value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, int) or value == 0 or 1e-3 <= abs(value) < 1e6


def _small(value: Any) -> str:
    """One that four decimals would make nothing of."""
    return true_minus(f"{value:.3g}")


def _config(row: Row, column: Column) -> Text:
    assert column.ref is not None
    return vadlab.compact(row.run.config.get(column.ref.name))


def _time(row: Row, column: Column) -> Text:
    return vadlab.ago(_COLUMNS[column.key](row.run))


def _duration(row: Row, column: Column) -> Text:
    return vadlab.duration(row.run.took_s)


def _dataset(row: Row, column: Column) -> Text:
    run = row.run
    if run.version is None:
        return mark_safe(f'<span class="muted">{vadlab.NOTHING}</span>')
    return _dataset_link(run.version_id, str(run.version))


@lru_cache(maxsize=1000)
def _dataset_link(version_id: UUID, name: str) -> SafeString:
    href = reverse("datasets:detail", args=[version_id])
    return format_html('<a href="{}" title="{}">{}</a>', href, name, name)


def _kind(row: Row, column: Column) -> Text:
    return _kind_of(row.run.kind)


@cache
def _kind_of(kind: str) -> SafeString:
    title = dict(kind_choices()).get(kind, kind)
    return format_html('<span title="{}">{}</span>', title, vadlab.kind_word(kind))


def _tags(row: Row, column: Column) -> Text:
    links = ((urlencode({"tag": tag}), tag) for tag in row.run.tags)
    return format_html_join(" ", '<a class="tag" href="?{}">{}</a>', links)


def _owner(row: Row, column: Column) -> Text:
    return str(row.run.owner)


def _notes(row: Row, column: Column) -> Text:
    return format_html('<span title="{}">{}</span>', row.run.notes, _cut(row.run.notes, 80))


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


_COLUMNS: Mapping[str, Callable[[Run], Any]] = {
    "created": lambda run: run.created_at, "started": lambda run: run.started_at,
    "ended": lambda run: run.ended_at, "steps": lambda run: run.done,
    "attempt": lambda run: run.attempt, "priority": lambda run: run.priority,
}  # fmt: skip
_CELLS: Mapping[str, Callable[[Row, Column], Text]] = {
    "state": _state, "progress": _progress, "curve": _curve, "number": _number,
    "config": _config, "time": _time, "duration": _duration, "dataset": _dataset, "kind": _kind,
    "tag": _tags, "owner": _owner, "notes": _notes,
}  # fmt: skip
_CLASSES = {
    "progress": "col-progress", "curve": "col-curve", "dataset": "col-dataset",
    "kind": "nowrap muted", "tag": "col-tags", "owner": "nowrap", "time": "num muted",
    "notes": "col-notes",
}  # fmt: skip
