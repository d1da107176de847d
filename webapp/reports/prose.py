"""What people write in Markdown, as HTML that can do nothing but be read.

Two guards, each enough alone: the parser knows no HTML of the writer's, and what it makes is
cleaned by a list of what may stay. Pictures are left out, or a reader's browser would ask other
hosts.
"""

from __future__ import annotations

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "hr", "li", "ol", "p",
    "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_SCHEMES = {"http", "https", "mailto"}
_parser = (
    MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
)


def _headings_below_the_title(tokens: list) -> None:
    """The page's h1 is the report's title, so `#` begins at h2."""
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(5, int(token.tag[1:]) + 1)}"


def to_html(text: str) -> SafeString:
    """Markdown as safe HTML."""
    tokens = _parser.parse(text)
    _headings_below_the_title(tokens)
    drawn = _parser.renderer.render(tokens, _parser.options, {})
    return mark_safe(
        nh3.clean(
            drawn,
            tags=_TAGS,
            attributes={"a": {"href", "title"}, "ol": {"start"}},
            url_schemes=_SCHEMES,
            link_rel="noopener noreferrer nofollow",
        )
    )
