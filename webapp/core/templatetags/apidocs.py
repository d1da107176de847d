"""Text of the OpenAPI document on a page."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def api_path(path: str) -> SafeString:
    """The address below the version; it may break after a slash."""
    return mark_safe(escape(path.removeprefix("/api/v1")).replace("/", "/<wbr>"))


@register.filter
def api_paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


@register.filter
def api_words(text: str) -> SafeString:
    """Escaped, with what stands in backticks as code."""
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)))
