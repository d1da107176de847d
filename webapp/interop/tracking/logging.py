"""What MLflow's client writes, as the services of external runs take it.

A run that VADLab trains itself is read here and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from webapp.accounts.models import User
from webapp.external import points
from webapp.external import services as external
from webapp.interop.models import Experiment, TrackedRun
from webapp.interop.tracking import shapes
from webapp.interop.tracking.errors import TrackingError, missing
from webapp.interop.tracking.experiments import Group
from webapp.interop.tracking.given import as_whole
from webapp.interop.tracking.search import runs
from webapp.runs import services
from webapp.runs.models import EXTERNAL, Run

CLIENT = "MLflow"
NAME, NOTE = "mlflow.runName", "mlflow.note.content"  # tags that are columns here
GONE = "mlflow-deleted"  # VADLab's tag of a run that was deleted there
NAME_LENGTH = 120
MOST_INPUTS, INPUT_LENGTH = 100, 20_000
_ENDS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}


def run_of(user: User, text: str) -> Run:
    """A run that the person may see.

    Raises:
        TrackingError: there is none.
    """
    run_id = shapes.run_id_of(text)
    found = None if run_id is None else runs(user).filter(pk=run_id).first()
    if found is None:
        raise missing("run", text)
    return found


def own_run(user: User, text: str) -> Run:
    """A run that was logged, which alone can be written.

    Raises:
        TrackingError: there is none, or it is one of VADLab's own.
    """
    run = run_of(user, text)
    if run.kind != EXTERNAL:
        raise TrackingError(
            f"{run.name} is trained by VADLab itself; MLflow's clients can read it, not change it.",
            "INVALID_STATE",
        )
    return run


@transaction.atomic
def run_create(
    *, group: Group, by: User, name: str, started_ms: int | None, tags: Mapping[str, str]
) -> Run:
    if group.is_deleted:
        raise TrackingError(f"The experiment {group.name!r} is deleted.", "INVALID_STATE")
    name = name or tags.get(NAME, "")
    run = external.run_start(
        project=group.project,
        by=by,
        name=shortened(name),
        tags=experiment_tags(group.row),
        labels={k: v for k, v in tags.items() if k not in (NAME, NOTE)},
        notes=tags.get(NOTE, ""),
        started_at=moment(started_ms),
        client=CLIENT,
    )
    TrackedRun.objects.create(run=run, experiment=group.row)
    return run_of(by, run.pk.hex)


@transaction.atomic
def run_update(*, run: Run, by: User, status: str, ended_ms: int | None, name: str) -> None:
    if name:
        services.run_rename(run=run, name=shortened(name), by=by)
    if status in _ENDS:
        external.run_end(
            run_id=run.pk, status=_ENDS[status], by=by, ended_at=moment(ended_ms),
            reason="MLflow's client says that it failed." if status == "FAILED" else "",
        )  # fmt: skip
    elif status == "RUNNING":
        external.run_resume(run_id=run.pk, by=by)
    elif status not in ("", "SCHEDULED"):
        raise TrackingError(f"status {status[:40]!r} is none of MLflow's.")


@transaction.atomic
def batch_log(
    *,
    run: Run,
    by: User,
    metrics: Iterable[Mapping[str, Any]],
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    """All of it or nothing."""
    batch = points.from_rows(_points(metrics))
    external.metrics_log(run_id=run.pk, batch=batch, by=by)  # an empty one says that it lives
    if params:
        external.params_log(run_id=run.pk, params=params, by=by, replace=False)
    if tags:
        tags_set(run=run, by=by, tags=tags)


def tags_set(*, run: Run, by: User, tags: Mapping[str, str]) -> None:
    labels = {k: v for k, v in tags.items() if k not in (NAME, NOTE)}
    if labels:
        external.labels_set(run_id=run.pk, labels=labels, by=by)
    if NAME in tags and tags[NAME].strip():
        services.run_rename(run=run, name=shortened(tags[NAME]), by=by)
    if NOTE in tags:
        services.run_annotate(run=run, notes=tags[NOTE], by=by)


def tag_delete(*, run: Run, by: User, key: str) -> None:
    if key == NOTE:
        services.run_annotate(run=run, notes="", by=by)
    elif key not in run.external.labels:
        raise missing("tag", key)
    else:
        external.labels_set(run_id=run.pk, labels={}, remove=[key], by=by)


@transaction.atomic
def inputs_log(*, run: Run, by: User, inputs: list[dict[str, Any]]) -> None:
    """Data sets that the client says it read; kept as they came."""
    for row in inputs:
        if len(str(row)) > INPUT_LENGTH:
            raise TrackingError(f"A data set has more than {INPUT_LENGTH:,} characters.")
    external.labels_set(run_id=run.pk, labels={}, by=by)  # asks for the right, locks the run
    tracked = _tracked(run)
    tracked.inputs = tracked.inputs + [row for row in inputs if row not in tracked.inputs]
    if len(tracked.inputs) > MOST_INPUTS:
        raise TrackingError(f"A run takes {MOST_INPUTS} data sets at most.")
    tracked.save(update_fields=["inputs"])


@transaction.atomic
def run_set_deleted(*, run: Run, by: User, deleted: bool) -> None:
    """Hide a run from MLflow's clients, or show it again. Here it gets a tag, and stays."""
    external.labels_set(run_id=run.pk, labels={}, by=by)  # asks for the right, locks the run
    tracked = _tracked(run)
    tracked.deleted_at = timezone.now() if deleted else None
    tracked.save(update_fields=["deleted_at"])
    services.runs_tag(runs=[run], tag=GONE, by=by, remove=not deleted)


def _tracked(run: Run) -> TrackedRun:
    return TrackedRun.objects.get_or_create(run=run)[0]


def _points(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, Any, int, int]]:
    """Key, value, step and time; a client that is not Python may send numbers as texts."""
    now_ms = round(timezone.now().timestamp() * 1000)
    found = []
    for row in rows:
        key, value = row.get("key"), row.get("value")
        step, time_ms = row.get("step", 0), row.get("timestamp", now_ms)
        if type(step) is not int or type(time_ms) is not int:
            step, time_ms = as_whole(step), as_whole(time_ms)
        if not isinstance(key, str) or value is None or step is None or time_ms is None:
            raise TrackingError(
                f"{str(dict(row))[:120]} is no metric with a key, value, timestamp and step."
            )
        found.append((key, value, step, time_ms))
    return found


def shortened(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def experiment_tags(experiment: Experiment | None) -> list[str]:
    """By which the runs table finds and groups the runs of an experiment."""
    if experiment is None:
        return []
    return [" ".join(experiment.name.replace(",", " ").split())[: services.TAG_LENGTH].strip()]


def moment(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)
