"""Reading a query string or a form that anybody may have written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from webapp.core.jsonvalues import JsonHas

M = TypeVar("M", bound=Model)
MOST_WORDS = 20


def uuids(texts: Iterable[str]) -> list[UUID]:
    """The ids among the texts, each once, in order; what is none is left out."""
    found: dict[UUID, None] = {}
    for text in texts:
        for part in text.split(","):
            try:
                found[UUID(part.strip())] = None
            except ValueError:
                continue
    return list(found)


def words(text: str) -> list[str]:
    """The words of a search, as many as a person types: each one makes the query deeper."""
    return text.split()[:MOST_WORDS]


def whole(text: str | None) -> int | None:
    """A whole number near the text's number; None when it has none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return round(value) if math.isfinite(value) and abs(value) < 2**53 else None


def listing(rows: QuerySet[M], field: str, value: str) -> QuerySet[M]:
    """Rows whose JSON list in `field` has this text among its items."""
    return rows.filter(JsonHas(field, value))
