"""What is read of external runs beside what every run has."""

from __future__ import annotations

from webapp.external.models import ExternalRun
from webapp.external.shapes import ExternalRunJson
from webapp.runs.models import Run
from webapp.runs.represent import run_detail_json


def external_json(run: Run) -> ExternalRunJson:
    """The run as the API writes any, with what logs it, its labels and how long it is silent."""
    row = ExternalRun.objects.filter(run=run).first()
    return {
        **run_detail_json(run),
        "client": row.client if row else "",
        "labels": row.labels if row else {},
        "heard_at": run.beat_at,
        "silent_s": run.silent_s,
    }
