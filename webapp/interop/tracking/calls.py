"""Each call of MLflow's REST API: what it was given, and its answer."""

from __future__ import annotations

import re
from typing import Any

from webapp.external.points import MOST_TIME_MS, check_key
from webapp.interop.models import LoggedModel
from webapp.interop.tracking import (
    artifacts,
    experiments,
    logged_models,
    logging,
    search,
    shapes,
)
from webapp.interop.tracking.errors import TrackingError
from webapp.interop.tracking.experiments import Scope
from webapp.interop.tracking.given import Given
from webapp.runs.models import Run

Answer = dict[str, Any]
HISTORY_PAGE = 25_000
EXPERIMENTS_PAGE = 1000
MOST_GROUPS = 5000
MODELS_PAGE = 100
_NAMED = re.compile(r"name\s*=\s*'([^']*)'", re.I)

# --- experiments ----------------------------------------------------------------------------


def experiment_create(scope: Scope, given: Given) -> Answer:
    made = experiments.experiment_create(
        scope=scope, name=given.text("name"), tags=given.pairs("tags")
    )
    return {"experiment_id": made.id}


def experiment_get(scope: Scope, given: Given) -> Answer:
    group = scope.by_id(given.text("experiment_id"))
    return {"experiment": shapes.experiment_json(scope, group)}


def experiment_get_by_name(scope: Scope, given: Given) -> Answer:
    group = scope.by_name(given.text("experiment_name"))
    return {"experiment": shapes.experiment_json(scope, group)}


def experiment_update(scope: Scope, given: Given) -> Answer:
    group = scope.by_id(given.text("experiment_id"))
    experiments.experiment_rename(scope=scope, group=group, name=given.text("new_name"))
    return {}


def experiment_delete(scope: Scope, given: Given) -> Answer:
    group = scope.by_id(given.text("experiment_id"))
    experiments.experiment_set_deleted(scope=scope, group=group, deleted=True)
    return {}


def experiment_restore(scope: Scope, given: Given) -> Answer:
    group = scope.by_id(given.text("experiment_id"))
    experiments.experiment_set_deleted(scope=scope, group=group, deleted=False)
    return {}


def experiment_set_tag(scope: Scope, given: Given) -> Answer:
    group = scope.by_id(given.text("experiment_id"))
    value = given.text("value", default="")
    experiments.experiment_tag(scope=scope, group=group, key=given.text("key"), value=value)
    return {}


def experiment_delete_tag(scope: Scope, given: Given) -> Answer:
    group = scope.by_id(given.text("experiment_id"))
    experiments.experiment_tag(scope=scope, group=group, key=given.text("key"), value=None)
    return {}


def experiment_search(scope: Scope, given: Given) -> Answer:
    """All that the person may see, by name with a filter; a page at a time."""
    view = given.text("view_type", default=search.ACTIVE)
    if view not in (search.ACTIVE, search.DELETED, search.ALL):
        raise TrackingError(f"view_type {view[:40]!r} is none of MLflow's.")
    groups = [
        g for g in scope.all() if view == search.ALL or g.is_deleted == (view == search.DELETED)
    ]
    found = experiments.searched(
        scope, groups, text=given.text("filter", default=""), orders=_orders(given)
    )
    offset = search.offset_of(given.text("page_token", default=""))
    limit = min(
        EXPERIMENTS_PAGE, given.whole("max_results", default=EXPERIMENTS_PAGE, least=1, most=50_000)
    )
    more = offset + limit if offset + limit < len(found) else None
    page = [shapes.experiment_json(scope, group) for group in found[offset : offset + limit]]
    return _paged({"experiments": page}, more)


# --- runs -----------------------------------------------------------------------------------


def run_create(scope: Scope, given: Given) -> Answer:
    started_ms = given.whole("start_time", default=-1, least=0, most=MOST_TIME_MS)
    run = logging.run_create(
        group=scope.by_id(given.text("experiment_id", default="0")),
        by=scope.user,
        name=given.text("run_name", default=""),
        started_ms=None if started_ms < 0 else started_ms,
        tags=given.pairs("tags"),
    )
    return {"run": _whole(run)}


def run_get(scope: Scope, given: Given) -> Answer:
    return {"run": _whole(logging.run_of(scope.user, _run_id(given)))}


def run_update(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    ended_ms = given.whole("end_time", default=-1, least=0, most=MOST_TIME_MS)
    logging.run_update(
        run=run,
        by=scope.user,
        status=given.text("status", default=""),
        ended_ms=None if ended_ms < 0 else ended_ms,
        name=given.text("run_name", default=""),
    )
    return {"run_info": shapes.info_json(logging.run_of(scope.user, run.pk.hex))}


def run_delete(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    logging.run_set_deleted(run=run, by=scope.user, deleted=True)
    return {}


def run_restore(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    logging.run_set_deleted(run=run, by=scope.user, deleted=False)
    return {}


def run_search(scope: Scope, given: Given) -> Answer:
    ids = given.texts("experiment_ids")
    if not ids or len(ids) > MOST_GROUPS:
        raise TrackingError(f"experiment_ids must name 1 to {MOST_GROUPS:,} experiments.")
    limit = given.whole("max_results", default=search.PAGE, least=1, most=50_000)
    found, more = search.search(
        user=scope.user,
        groups=scope.by_ids(ids),
        text=given.text("filter", default=""),
        view=given.text("run_view_type", default=search.ACTIVE),
        orders=_orders(given),
        offset=search.offset_of(given.text("page_token", default="")),
        limit=min(limit, search.PAGE),
    )
    return _paged({"runs": found}, more)


# --- what a run logs ------------------------------------------------------------------------


def log_metric(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    logging.batch_log(run=run, by=scope.user, metrics=[given.members], params={}, tags={})
    return {}


def log_param(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    params = {given.text("key"): given.text("value", default="")}
    logging.batch_log(run=run, by=scope.user, metrics=[], params=params, tags={})
    return {}


def log_batch(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    logging.batch_log(
        run=run,
        by=scope.user,
        metrics=given.rows("metrics"),
        params=given.pairs("params"),
        tags=given.pairs("tags"),
    )
    return {}


def log_inputs(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    logging.inputs_log(run=run, by=scope.user, inputs=given.rows("datasets"))
    return {}


def set_tag(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    tags = {given.text("key"): given.text("value", default="")}
    logging.batch_log(run=run, by=scope.user, metrics=[], params={}, tags=tags)
    return {}


def delete_tag(scope: Scope, given: Given) -> Answer:
    run = logging.own_run(scope.user, _run_id(given))
    logging.tag_delete(run=run, by=scope.user, key=given.text("key"))
    return {}


def metric_history(scope: Scope, given: Given) -> Answer:
    """Every point, at most `HISTORY_PAGE` at once; the client follows `next_page_token`."""
    run = logging.run_of(scope.user, _run_id(given))
    key = given.text("metric_key")
    points = shapes.history_of(run, check_key(key))
    offset = search.offset_of(given.text("page_token", default=""))
    limit = given.whole("max_results", default=HISTORY_PAGE, least=1, most=2**31 - 1)
    end = offset + min(limit, HISTORY_PAGE)
    part = points[offset:end]
    columns = (part[name].tolist() for name in ("value", "time", "step"))
    found = [shapes.metric_json(key, *point) for point in zip(*columns, strict=True)]
    return _paged({"metrics": found}, end if end < len(points) else None)


# --- files ----------------------------------------------------------------------------------


def artifact_list(scope: Scope, given: Given) -> Answer:
    run = logging.run_of(scope.user, _run_id(given))
    found = artifacts.listed(run, given.text("path", default=""))
    return {"root_uri": shapes.artifact_uri(run.pk), "files": found}


def artifact_list_of_path(scope: Scope, given: Given) -> Answer:
    """The same asked by a path that begins with the run; names come without their folder."""
    run, folder = artifacts.of_path(scope.user, given.text("path", default=""))
    found = artifacts.listed(run, folder)
    return {"files": [row | {"path": row["path"].rpartition("/")[2]} for row in found]}


# --- models ---------------------------------------------------------------------------------


def logged_model_create(scope: Scope, given: Given) -> Answer:
    run_id = given.text("source_run_id", default="")
    if not run_id:
        raise TrackingError("A model is logged within a run: mlflow.start_run() comes first.")
    made = logged_models.model_create(
        run=logging.own_run(scope.user, run_id),
        by=scope.user,
        name=given.text("name", default="") or "model",
        kind=given.text("model_type", default=""),
        params=given.pairs("params"),
        tags=given.pairs("tags"),
    )
    return {"model": logged_models.model_json(made)}


def logged_model(scope: Scope, given: Given) -> Answer:
    return {"model": logged_models.model_json(_model(scope, given))}


def logged_model_finalize(scope: Scope, given: Given) -> Answer:
    made = logged_models.model_change(
        model=_model(scope, given), by=scope.user, status=given.text("status")
    )
    return {"model": logged_models.model_json(made)}


def logged_model_tag(scope: Scope, given: Given) -> Answer:
    model = _model(scope, given)
    made = logged_models.model_change(model=model, by=scope.user, tags=given.pairs("tags"))
    return {"model": logged_models.model_json(made)}


def logged_model_params(scope: Scope, given: Given) -> Answer:
    model = _model(scope, given)
    logged_models.model_change(model=model, by=scope.user, params=given.pairs("params"))
    return {}


def logged_model_search(scope: Scope, given: Given) -> Answer:
    """Of experiments, the newest first; the one filter is a name. Clients also ask before they
    list a run's files.
    """
    text = given.text("filter", default="").strip()
    name = _NAMED.fullmatch(text)
    if text and name is None:
        raise TrackingError(f"{text[:60]!r} cannot be read: only name = '…' filters models.")
    limit = given.whole("max_results", default=MODELS_PAGE, least=1, most=50_000)
    found = logged_models.models_of(
        scope.user,
        scope.by_ids(given.texts("experiment_ids")[:MOST_GROUPS]),
        name[1] if name else "",
        min(limit, MODELS_PAGE),
    )
    return {"models": [logged_models.model_json(model) for model in found]}


def log_outputs(scope: Scope, given: Given) -> Answer:
    """Models are outputs of the run that they were logged in; no others can be."""
    run = logging.own_run(scope.user, _run_id(given))
    names = [str(row.get("model_id", "")) for row in given.rows("models")]
    logged_models.require_outputs(run=run, by=scope.user, ids=names)
    return {}


def _model(scope: Scope, given: Given) -> LoggedModel:
    return logged_models.model_of(scope.user, given.text("model_id"))


# --- small things ---------------------------------------------------------------------------


def _run_id(given: Given) -> str:
    return given.text("run_id", "run_uuid")


def _orders(given: Given) -> list[str]:
    """In a GET the query repeats the name; see views.py."""
    return given.texts("order_by")


def _whole(run: Run) -> Answer:
    last = shapes.last_values([run.pk]).get(run.pk, {})
    return shapes.run_json(run, shapes.metrics_json(run, last, times=True))


def _paged(answer: Answer, more: int | None) -> Answer:
    return answer if more is None else answer | {"next_page_token": search.page_token(more)}
