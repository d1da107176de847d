"""What a finished run leaves in the database, by kind. Called inside the finishing transaction."""

from __future__ import annotations

from typing import Any

from webapp.runs.models import Run


def record(run: Run, result: dict[str, Any]) -> None:
    """Make the rows that the result of `run` stands for."""
