"""Tags and filters of all pages: icons, states, numbers with their units, charts, forms."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from webapp.charts.palette import style
from webapp.core.configforms import form_groups
from webapp.core.numbers import true_minus

register = template.Library()

NOTHING = "\u2013"  # en dash: there is no value, as opposed to zero

STATES: dict[str, tuple[str, str]] = {  # state: (icon, word); "" is the moving dot
    "queued": ("clock", "queued"),
    "waiting": ("link", "waiting"),
    "starting": ("starting", "starting"),
    "running": ("", "running"),
    "succeeded": ("check", "succeeded"),
    "failed": ("cross", "failed"),
    "cancelled": ("bar", "cancelled"),
    "held": ("pause", "held"),
    "lost": ("broken-link", "lost"),
    "ready": ("check", "ready"),
    "warning": ("warning", "warning"),
    "alive": ("check", "alive"),
    "idle": ("bar", "idle"),
    "silent": ("broken-link", "silent"),
}


@register.simple_tag
def icon(name: str, label: str = "", css: str = "") -> SafeString:
    """An icon of the sprite. With a label it has a meaning of its own, else it is decoration."""
    href = f"{_sprite()}#{name}"
    classes = f"icon {css}".strip()
    if label:
        return format_html(
            '<svg class="{}" role="img" aria-label="{}"><title>{}</title><use href="{}"/></svg>',
            classes,
            label,
            label,
            href,
        )
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}"/></svg>', classes, href)


@cache
def _sprite() -> str:
    """Looked up once: a page has dozens of icons."""
    return static("icons.svg")


@register.simple_tag
def state_badge(state: str, word: str = "", title: str = "") -> SafeString:
    """A state as icon, word and colour."""
    state = str(state)
    name, known = STATES.get(state, ("info", state))
    mark = icon(name) if name else mark_safe('<span class="dot" aria-hidden="true"></span>')
    return format_html(
        '<span class="badge" data-state="{}"{}>{}<span>{}</span></span>',
        state,
        format_html(' title="{}"', title) if title else "",
        mark,
        word or known,
    )


@register.simple_tag
def run_swatch(color: int) -> SafeString:
    """A run's colour and dash, as in every chart's legend."""
    look = style(color)
    return format_html(
        '<svg class="swatch" viewBox="0 0 18 8" aria-hidden="true">'
        '<line x1="1" y1="4" x2="17" y2="4" stroke="{}" stroke-dasharray="{}"/></svg>',
        look.color,
        look.dasharray,
    )


@register.simple_tag
def progress(value: float | None, total: float | None = 100, state: str = "") -> SafeString:
    """A progress bar with its percentage; without a value it is indeterminate."""
    if value is None or not total:
        return format_html('<span class="progress-row"><span>{}</span></span>', NOTHING)
    percent = max(0.0, min(100.0, 100.0 * float(value) / float(total)))
    shown = int(percent)  # 99.6 is not yet 100
    return format_html(
        '<span class="progress-row"><progress max="100" value="{}" data-state="{}">{}%</progress>'
        "<span>{}%</span></span>",
        f"{percent:.1f}",
        state,
        shown,
        shown,
    )


@register.filter
def ago(value: datetime | date | None) -> str | SafeString:
    """A relative time with the exact one in the tooltip; live.js keeps it current."""
    if value is None:
        return NOTHING
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if timezone.is_naive(value):
        value = timezone.make_aware(value)
    seconds = (timezone.now() - value).total_seconds()
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        value.isoformat(),
        timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S %Z"),
        ago_text(seconds),
    )


def ago_text(seconds: float) -> str:
    """'just now', '3 min ago', 'in 2 h'. The same steps as `agoText` in live.js."""
    size = abs(seconds)
    if size < 10:
        return "just now"
    for limit, unit, length in (
        (60, "s", 1),
        (3600, "min", 60),
        (86_400, "h", 3600),
        (86_400 * 60, "d", 86_400),
        (86_400 * 730, "months", 86_400 * 30.44),
        (math.inf, "years", 86_400 * 365.25),
    ):
        if size < limit:
            early = 0.0 if seconds > 0 else 0.1  # what was set to end in 14 days does not say 13
            text = f"{int(size / length + early)} {unit}"
            break
    return f"{text} ago" if seconds > 0 else f"in {text}"


@register.filter
def duration(value: float | timedelta | None) -> str:
    """Seconds as '2 h 14 min', '3 min 5 s', '12.4 s' or '340 ms'."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not math.isfinite(seconds) or seconds < 0:
        return NOTHING
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s"


@register.filter(name="bytes")
def bytes_(value: float | None) -> str:
    """A size in decimal units: '4.2 GB'."""
    if value is None:
        return NOTHING
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@register.filter
def number(value: float | None, decimals: int = 0) -> str:
    """A number with a fixed count of decimals and thousands separated; en dash for none."""
    if value is None or value == "":
        return NOTHING
    size = float(value)
    return true_minus(f"{size:,.{int(decimals)}f}") if math.isfinite(size) else NOTHING


@register.filter
def gigabytes(megabytes: float | None) -> str:
    """MB as GB with one decimal, without its unit: '79.6'."""
    return NOTHING if megabytes is None else f"{megabytes / 1024:.1f}"


@register.filter
def compact(value: Any) -> str:
    """A configuration value as a person writes it: 0.0001 as '1e-4', a list as '120 x 160'."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " \u00d7 ".join(compact(v) for v in value)
    if isinstance(value, float):
        if value and abs(value) < 1e-3:
            mantissa, exponent = f"{value:e}".split("e")
            return f"{float(mantissa):g}e{int(exponent)}"
        return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return str(value)


@register.simple_tag
def short_id(value: Any, head: int = 4, tail: int = 4) -> SafeString:
    """An id, shortened in the middle, that is copied whole by a click."""
    text = str(value)
    short = text if len(text) <= head + tail + 1 else f"{text[:head]}\u2026{text[-tail:]}"
    return format_html(
        '<button type="button" class="copy" data-copy="{}" title="{} (click to copy)">{}</button>',
        text,
        text,
        short,
    )


@register.filter
def json_attr(value: Any) -> str:
    """JSON for an attribute in double quotes; autoescaping does the quoting."""
    return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":"))


KIND_WORDS = {
    "train-urdmu": "UR-DMU",
    "train-two-stage": "STPVAD",
    "proxies": "proxies",
    "extract": "features",
    "evaluate": "evaluation",
    "register": "register",
}


@register.filter
def kind_word(kind: str) -> str:
    """A kind of run in one word, for narrow columns."""
    return KIND_WORDS.get(kind, kind.removeprefix("train-"))


@register.filter
def split_words(text: str) -> list[str]:
    """The words of a literal, for a loop in a template."""
    return text.split()


@register.filter
def get(mapping: Mapping[str, Any] | None, key: str) -> Any:
    """`mapping[key]`, or None."""
    return (mapping or {}).get(key)


# Namespaces whose pages have no entry of their own in the rail.
BELONGS_TO = {"sweeps": "runs", "storage": "settings", "notify": "settings"}


@register.inclusion_tag("partials/rail_item.html", takes_context=True)
def rail_item(
    context: template.Context, url_name: str, label: str, icon_name: str, count: int | None = None
) -> dict[str, Any]:
    """An entry of the rail; current when the page belongs to the same URL namespace."""
    request = context.get("request")
    match = getattr(request, "resolver_match", None)
    namespace = match.namespace if match is not None else ""
    current = BELONGS_TO.get(namespace, namespace) == url_name.partition(":")[0]
    url = reverse(url_name)
    return {"url": url, "label": label, "icon_name": icon_name, "current": current, "count": count}


@register.inclusion_tag("partials/sort_header.html", takes_context=True)
def sort_header(
    context: template.Context,
    label: str,
    key: str,
    *,
    unit: str = "",
    num: bool = False,
    title: str = "",
    css: str = "",
) -> dict[str, Any]:
    """A table header that sorts by `?sort=key` or `?sort=-key`; numbers start with the largest."""
    request = context["request"]
    current = request.GET.get("sort") or context.get("sort") or ""
    upwards = current == key
    downwards = current == f"-{key}"
    smallest_first = downwards or not (upwards or num)
    query = request.GET.copy()
    query["sort"] = key if smallest_first else f"-{key}"
    query.pop("page", None)
    return {
        "label": label,
        "unit": unit,
        "title": title,
        "css": f"{'num ' if num else ''}{css}".strip(),
        "direction": "ascending" if upwards else "descending" if downwards else "",
        "href": f"?{query.urlencode()}",
    }


@register.inclusion_tag("partials/chart.html")
def chart(
    *,
    id: str,
    src: str = "",
    figure: str = "",
    title: str = "",
    height: int = 360,
    live: bool = False,
    zoom_src: str = "",
    group: str = "",
    css: str = "",
    eager: bool = False,
) -> dict[str, Any]:
    """A chart container. Give `src` (URL of a figure's JSON) or `figure` (id of a json_script).

    `group` joins charts with the same x axis: one cursor for all of them. `zoom_src` is asked
    again with ?from=&to= when a person zooms, for the raw points of that range. `eager` draws it
    before it is near the window, for pages that are printed.
    """
    return {
        "id": id,
        "src": src,
        "figure": figure,
        "title": title,
        "height": height,
        "live": live,
        "zoom_src": zoom_src,
        "group": group,
        "css": css,
        "eager": eager,
    }


@register.inclusion_tag("partials/config_form.html")
def config_form(
    schema: Mapping[str, Any],
    values: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    prefix: str = "",
) -> dict[str, Any]:
    """The fields of a run configuration from its JSON schema (no <form> element of its own)."""
    return {"groups": form_groups(schema, values or {}, errors or {}, prefix=prefix)}
