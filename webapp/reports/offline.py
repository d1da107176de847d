"""A report as one HTML file that asks for nothing: all that it shows and needs is in it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import escape

from webapp.reports import queries
from webapp.reports.models import Revision

_STATIC = Path("webapp/static")
_PLOTLY = "vendor/plotly-cartesian-4.1.1"
STYLES = (
    "css/tokens.css", "css/layout.css", "css/vadlab.css", "css/charts.css", "css/reports.css",
    f"{_PLOTLY}/plotly.css",
)  # fmt: skip
# In this order they are one module: each needs those before it, and no two names are the same.
MODULES = (
    "js/chart-theme.js", "js/chart-cursor.js", "js/charts.js", "js/chart-tools.js",
    "js/report-print.js",
)  # fmt: skip


def html(revision: Revision) -> str:
    """The file. Its policy lets it load nothing, whatever stands in it."""
    blocks = queries.shown(revision)
    body = render_to_string(
        "reports/offline.html",
        {"revision": revision, "blocks": blocks, "now": timezone.now(), "public": True},
    )
    library, module = _script(f"{_PLOTLY}/plotly-cartesian.min.js"), _modules()
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data: blob:",
            "style-src 'unsafe-inline'",
            f"script-src {_hash(library)} {_hash(module)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="robots" content="noindex">',
            '<meta name="generator" content="VADLab">',
            f"<title>{escape(revision.title)}</title>",
            f"<style>{_styles()}</style>",
            "</head>",
            '<body class="report-file">',
            body,
            f"<script>{library}</script>",
            f'<script type="module">{module}</script>',
            "</body>",
            "</html>",
            "",
        ]
    )


@lru_cache(maxsize=1)
def _styles() -> str:
    return "\n".join(_read(name) for name in STYLES)


@lru_cache(maxsize=1)
def _modules() -> str:
    """The modules of a page's charts, joined: a file cannot import from beside itself."""
    joined = "\n".join(_script(name) for name in MODULES)
    joined = re.sub(r"^import [^;]+;\n", "", joined, flags=re.M)
    return re.sub(r"^export (?=function|const|class)", "", joined, flags=re.M)


@lru_cache(maxsize=16)
def _script(name: str) -> str:
    """Its text, which may not end the element that it stands in."""
    return re.sub(r"</(?=script)", r"<\\/", _read(name), flags=re.I)


def _read(name: str) -> str:
    return (settings.BASE_DIR / _STATIC / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
