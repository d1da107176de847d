"""Addresses that other pages lead to."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.urls import reverse
from django.utils.http import urlencode


def viewer_url(runs: Iterable[UUID], key: str, frame: int | None = None) -> str:
    """The viewer of a test video under these runs.

    Args:
        runs: evaluate runs, or runs that were evaluated: then their newest evaluation is meant.
    """
    query: dict[str, str | int | list[str]] = {"run": [str(run) for run in runs], "video": key}
    if frame is not None:
        query["frame"] = frame
    return f"{reverse('evaluations:viewer')}?{urlencode(query, doseq=True)}"
