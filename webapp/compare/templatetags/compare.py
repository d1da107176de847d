"""What the templates of the comparison need: signed numbers, bars, hidden inputs."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from webapp.compare.page import Asked
from webapp.core import numbers

register = template.Library()


@register.filter
def passed_on(asked: Asked, own: str = "") -> list[tuple[str, str]]:
    """Names and values of the hidden inputs of a form whose own fields are named in `own`."""
    return asked.hidden(*own.split())


register.filter("signed", numbers.signed)


@register.simple_tag
def signed_interval(low: float, high: float) -> str:
    return numbers.signed_interval(low, high)


@register.simple_tag
def signed_bar(percent: float) -> SafeString:
    """A bar to the right of the middle for a gain, to the left for a loss.

    Args:
        percent: -100 to 100.
    """
    width = min(50.0, abs(percent) / 2)
    return format_html(
        '<svg class="signed-bar" viewBox="0 0 100 10" preserveAspectRatio="none" '
        'aria-hidden="true"><line x1="50" x2="50" y1="0" y2="10"/>'
        '<rect x="{}" y="1" width="{}" height="8" data-sign="{}"/></svg>',
        f"{50 if percent >= 0 else 50 - width:.2f}",
        f"{width:.2f}",
        "better" if percent >= 0 else "worse",
    )
