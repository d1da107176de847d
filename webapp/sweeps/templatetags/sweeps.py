"""What pages of other apps say of sweeps."""

from __future__ import annotations

from typing import Any

from django import template

from webapp.runs.models import Run
from webapp.sweeps import listing

register = template.Library()


@register.inclusion_tag("sweeps/run_note.html")
def run_trial(run: Run) -> dict[str, Any]:
    """The trial that a run belongs to, and why it was stopped if it was; nothing for others."""
    trains = run.kind.startswith("train") or run.kind == "evaluate"
    return {"run": run, "trial": listing.trial_of(run) if trains else None}
