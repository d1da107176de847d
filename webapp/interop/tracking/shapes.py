"""Runs and experiments as MLflow's client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Max

from vad.errors import VadError
from webapp.external import history
from webapp.external.points import as_json
from webapp.interop.tracking.experiments import Group, Scope
from webapp.runs.chunks import SYSTEM
from webapp.runs.models import MetricChunk, MetricSummary, Run, State
from webapp.runs.packing import STEPS, VALUES

# SCHEDULED is for what has not started; a held run waits, too.
STATUS = {
    State.WAITING: "SCHEDULED",
    State.QUEUED: "SCHEDULED",
    State.HELD: "SCHEDULED",
    State.STARTING: "RUNNING",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "FINISHED",
    State.FAILED: "FAILED",
    State.CANCELLED: "KILLED",
}
Last = tuple[int, float]  # step and value


def run_id_of(text: str) -> UUID | None:
    """MLflow writes a run's id as 32 hexadecimal digits."""
    try:
        return UUID(hex=text) if len(text) in (32, 36) else None
    except ValueError:
        return None


def milliseconds(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def experiment_json(scope: Scope, group: Group) -> dict[str, Any]:
    return {
        "experiment_id": group.id,
        "name": scope.full_name(group),
        "artifact_location": f"mlflow-artifacts:/{group.id}",
        "lifecycle_stage": "deleted" if group.is_deleted else "active",
        "creation_time": milliseconds(group.created_at),
        "last_update_time": milliseconds(group.changed_at),
        "tags": _pairs(group.tags),
    }


def info_json(run: Run) -> dict[str, Any]:
    """Needs `owner`, `external` and `tracked__experiment` of the run."""
    found = {
        "run_id": run.pk.hex,
        "run_uuid": run.pk.hex,
        "run_name": run.name,
        "experiment_id": experiment_id(run),
        "user_id": run.owner.username,
        "status": STATUS[State(run.state)],
        "start_time": start_ms(run),
        "artifact_uri": artifact_uri(run.pk),
        "lifecycle_stage": "deleted" if is_deleted(run) else "active",
    }
    if run.ended_at is not None:
        found["end_time"] = milliseconds(run.ended_at)
    return found


def run_json(run: Run, metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tracked = getattr(run, "tracked", None)
    return {
        "info": info_json(run),
        "data": {
            "metrics": metrics,
            "params": _pairs(params_of(run.config)),
            "tags": _pairs(tags_of(run)),
        },
        "inputs": {"dataset_inputs": tracked.inputs if tracked else []},
    }


def experiment_id(run: Run) -> str:
    tracked = getattr(run, "tracked", None)
    if tracked is not None and tracked.experiment_id is not None:
        return str(tracked.experiment_id)
    return f"p{run.project_id}"


def artifact_uri(run_id: UUID) -> str:
    return f"mlflow-artifacts:/{run_id.hex}"


def start_ms(run: Run) -> int | None:
    return milliseconds(run.started_at or run.created_at)


def is_deleted(run: Run) -> bool:
    """It, or its experiment with all that is in it."""
    tracked = getattr(run, "tracked", None)
    if tracked is None:
        return False
    whole = tracked.experiment is not None and tracked.experiment.deleted_at is not None
    return whole or tracked.deleted_at is not None


def params_of(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as texts: as they were logged, and numbers as Python writes them."""
    return {name: _text(value) for name, value in config.items()}


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value if isinstance(value, str) else str(value)


def tags_of(run: Run) -> dict[str, str]:
    """What the client set, and of every run what VADLab knows that MLflow has a tag for."""
    external = getattr(run, "external", None)
    found = {"mlflow.user": run.owner.username} | (external.labels if external else {})
    found |= {"mlflow.runName": run.name, "vadlab.kind": run.kind}
    if run.tags:
        found["vadlab.tags"] = ", ".join(run.tags)
    if run.notes:
        found["mlflow.note.content"] = run.notes
    if run.error:
        error = VadError.from_dict(run.error)
        found["vadlab.error"] = f"{error.message} [{error.code}]"
    return found


def _pairs(given: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in given.items()]


# --- metrics --------------------------------------------------------------------------------


def last_values(run_ids: Iterable[UUID], key: str | None = None) -> dict[UUID, dict[str, Last]]:
    """Of each run and metric the point of the highest step, also where it is no finite number."""
    ids = list(run_ids)
    found: dict[UUID, dict[str, Last]] = {}
    odd: list[tuple[UUID, str, int]] = []
    for part in (ids[i : i + 500] for i in range(0, len(ids), 500)):
        rows = MetricSummary.objects.filter(run__in=part).exclude(key__startswith=SYSTEM)
        if key is not None:
            rows = rows.filter(key=key)
        columns = rows.order_by("run", "key").values_list("run_id", "key", "last_step", "last")
        for run_id, name, step, value in columns:
            if value is None:
                odd.append((run_id, name, step))
            found.setdefault(run_id, {})[name] = (step, np.nan if value is None else value)
    for run_id, name, step in odd:  # few: the summary does not say which kind of no number
        chunk = MetricChunk.objects.filter(run_id=run_id, key=name, last_step=step).first()
        if chunk is not None:
            found[run_id][name] = (step, float(np.frombuffer(chunk.values, VALUES)[-1]))
    return found


def metrics_json(run: Run, last: Mapping[str, Last], *, times: bool) -> list[dict[str, Any]]:
    """The metrics of a run, each at its highest step.

    Args:
        times: read when each was sent; otherwise it is when the run was last heard of, which is
            enough for a list of runs and costs nothing.
    """
    heard = milliseconds(run.ended_at or run.beat_at or run.created_at) or 0
    sent = _last_times(run) if times else {}
    return [
        metric_json(key, value, sent.get(key, heard), step) for key, (step, value) in last.items()
    ]


def _last_times(run: Run) -> dict[str, int]:
    rows = run.metric_history.values("key").annotate(newest=Max("pk")).values("newest")
    found = {}
    for key, records in run.metric_history.filter(pk__in=rows).values_list("key", "records"):
        points = np.frombuffer(records, history.RECORD)
        at_last = points[points["step"] == points["step"].max()]
        found[key] = int(at_last["time"].max())
    return found


def metric_json(key: str, value: float, time_ms: int, step: int) -> dict[str, Any]:
    return {"key": key, "value": as_json(value), "timestamp": time_ms, "step": step}


def history_of(run: Run, key: str) -> np.ndarray:
    """[n] `history.RECORD`: every point as it was sent.

    Points that came without times, from VADLab's own trainings or its client, get the time at
    which the run started.
    """
    sent = history.read(run, key)
    chunks = MetricChunk.objects.filter(run=run, key=key).order_by("first_step")
    rows = list(chunks.values_list("steps", "values"))
    if not rows or key.startswith(SYSTEM):
        return sent
    steps = np.concatenate([np.frombuffer(s, STEPS) for s, _ in rows])
    values = np.concatenate([np.frombuffer(v, VALUES) for _, v in rows])
    untimed = ~np.isin(steps, sent["step"])
    if not untimed.any():
        return sent
    rest = np.zeros(int(untimed.sum()), history.RECORD)
    rest["step"], rest["value"] = steps[untimed], values[untimed]
    rest["time"] = start_ms(run)
    return np.concatenate([rest, sent])
