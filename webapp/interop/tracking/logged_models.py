"""What `mlflow.log_model` says of a model: a row beside files that lie in the run, below its name.

There is no registry: a model is never promoted, and nothing here loads one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from webapp.accounts.models import User
from webapp.core.api import storable
from webapp.external import services as external
from webapp.external.uploads import check_path
from webapp.interop.models import LoggedModel
from webapp.interop.tracking import shapes
from webapp.interop.tracking.errors import TrackingError, missing
from webapp.interop.tracking.experiments import Group
from webapp.runs.models import Run

BEFORE = "m-"  # of an id
PENDING, READY = "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY"
STATUSES = (PENDING, READY, "LOGGED_MODEL_UPLOAD_FAILED")
MOST_MODELS, MOST_PAIRS = 1000, 1000  # of a run; of a model
NAME_LENGTH, TEXT = 200, 8000


def model_create(
    *,
    run: Run,
    by: User,
    name: str,
    kind: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Note a model of a run; its files come afterwards, below `path`.

    A second model of one name lies beside the first, as `name-2`.

    Raises:
        TrackingError: the name cannot be a folder, or there is too much.
        VadError: `not-allowed`, `upload-invalid`.
    """
    if not name or len(name) > NAME_LENGTH or "/" in name:
        raise TrackingError(
            f"A model's name has 1 to {NAME_LENGTH} characters, no / among them: {name[:60]!r}."
        )
    check_path(name)
    given, labels = _pairs(params or {}), _pairs(tags or {})
    with external.writing(run.pk, by):
        known = LoggedModel.objects.filter(run=run)
        if known.count() >= MOST_MODELS:
            raise TrackingError(f"The run has {MOST_MODELS:,} models, the most it takes.")
        taken = set(known.values_list("path", flat=True))
        path, number = name, 1
        while path in taken:
            number += 1
            path = f"{name}-{number}"
        return LoggedModel.objects.create(
            run=run, name=name, path=path, kind=kind[:NAME_LENGTH], status=PENDING, params=given,
            tags=labels,
        )  # fmt: skip


def model_change(
    *,
    model: LoggedModel,
    by: User,
    status: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Say that its files are there, or add params and tags.

    Raises:
        TrackingError: the status is none, or there is too much.
        VadError: `not-allowed`.
    """
    if status and status not in STATUSES:
        raise TrackingError(f"status {status[:40]!r} is none of {', '.join(STATUSES)}.")
    with external.writing(model.run_id, by):
        row = LoggedModel.objects.get(pk=model.pk)
        row.status = status or row.status
        row.params = _pairs({**row.params, **(params or {})})
        row.tags = _pairs({**row.tags, **(tags or {})})
        row.save()
        return row


def require_outputs(*, run: Run, by: User, ids: Sequence[str]) -> None:
    """
    Raises:
        TrackingError: one of these is no model of the run.
        VadError: `not-allowed`.
    """
    with external.writing(run.pk, by):
        for text in ids:
            if model_of(by, text).run_id != run.pk:
                raise TrackingError(f"{text[:60]!r} was logged in another run.")


def model_of(user: User, text: str) -> LoggedModel:
    """
    Raises:
        TrackingError: there is none, or not for this person.
    """
    pk = shapes.run_id_of(text.removeprefix(BEFORE))
    found = None if pk is None else _visible(user).filter(pk=pk).first()
    if found is None:
        raise missing("model", text)
    return found


def models_of(user: User, groups: Sequence[Group], name: str, most: int) -> list[LoggedModel]:
    """Those of experiments, the newest first; of one name if it is given."""
    found: list[LoggedModel] = []
    for group in groups:
        runs = Run.objects.filter(group.runs, project=group.project)
        rows = _visible(user).filter(run__in=runs)
        found += (rows.filter(name=name) if name else rows)[:most]
    return sorted(found, key=lambda model: model.created_at, reverse=True)[:most]


def model_json(model: LoggedModel) -> dict[str, Any]:
    return {
        "info": {
            "model_id": BEFORE + model.pk.hex,
            "experiment_id": shapes.experiment_id(model.run),
            "name": model.name,
            "creation_timestamp_ms": shapes.milliseconds(model.created_at),
            "last_updated_timestamp_ms": shapes.milliseconds(model.changed_at),
            "artifact_uri": f"{shapes.artifact_uri(model.run_id)}/{model.path}",
            "status": model.status,
            "model_type": model.kind,
            "source_run_id": model.run_id.hex,
            "tags": _rows(model.tags),
        },
        "data": {"params": _rows(model.params), "metrics": []},
    }


def _visible(user: User) -> QuerySet[LoggedModel]:
    rows = LoggedModel.objects.filter(run__in=Run.objects.visible_to(user))
    return rows.select_related("run__tracked")


def _rows(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs.items()]


def _pairs(given: Mapping[str, str]) -> dict[str, str]:
    if len(given) > MOST_PAIRS:
        raise TrackingError(f"A model takes {MOST_PAIRS:,} params and as many tags at most.")
    for key, value in given.items():
        if len(key) > NAME_LENGTH or len(value) > TEXT or not storable([key, value]):
            raise TrackingError(
                f"{key[:60]!r} needs a key of {NAME_LENGTH} characters at most, and a text of "
                f"{TEXT:,} at most."
            )
    return dict(given)
