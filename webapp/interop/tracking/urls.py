"""The addresses that MLflow's client calls, below /api/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from webapp.interop.tracking import calls
from webapp.interop.tracking.views import ArtifactFile, Endpoint, Unknown

V2 = "2.0/mlflow/"


def _read(route: str, name: str, call: Callable[..., Any], *methods: str) -> URLPattern:
    return _path(route, name, call, methods or ("get",), reads=True)


def _write(route: str, name: str, call: Callable[..., Any]) -> URLPattern:
    return _path(route, name, call, ("post",), reads=False)


def _path(
    route: str, name: str, call: Callable[..., Any], methods: tuple[str, ...], *, reads: bool
) -> URLPattern:
    allowed = [*methods, "options"]
    view = Endpoint.as_view(call=call, reads=reads, http_method_names=allowed)
    return path(V2 + route, view, name=name)


app_name = "mlflow"
urlpatterns = [
    _write("experiments/create", "experiment-create", calls.experiment_create),
    _read("experiments/get", "experiment", calls.experiment_get),
    _read("experiments/get-by-name", "experiment-by-name", calls.experiment_get_by_name),
    _read("experiments/search", "experiments", calls.experiment_search, "get", "post"),
    _write("experiments/update", "experiment-update", calls.experiment_update),
    _write("experiments/delete", "experiment-delete", calls.experiment_delete),
    _write("experiments/restore", "experiment-restore", calls.experiment_restore),
    _write("experiments/set-experiment-tag", "experiment-tag", calls.experiment_set_tag),
    _write("experiments/delete-experiment-tag", "experiment-untag", calls.experiment_delete_tag),
    _write("runs/create", "run-create", calls.run_create),
    _read("runs/get", "run", calls.run_get),
    _write("runs/update", "run-update", calls.run_update),
    _write("runs/delete", "run-delete", calls.run_delete),
    _write("runs/restore", "run-restore", calls.run_restore),
    _read("runs/search", "runs", calls.run_search, "post"),
    _write("runs/log-metric", "log-metric", calls.log_metric),
    _write("runs/log-parameter", "log-parameter", calls.log_param),
    _write("runs/log-batch", "log-batch", calls.log_batch),
    _write("runs/log-inputs", "log-inputs", calls.log_inputs),
    _write("runs/set-tag", "set-tag", calls.set_tag),
    _write("runs/delete-tag", "delete-tag", calls.delete_tag),
    _read("metrics/get-history", "metric-history", calls.metric_history),
    _read("logged-models/search", "logged-models", calls.logged_model_search, "post"),
    _write("logged-models", "logged-model-create", calls.logged_model_create),
    path(
        f"{V2}logged-models/<str:model_id>",
        Endpoint.as_view(
            call=calls.logged_model,
            change=calls.logged_model_finalize,
            http_method_names=["get", "patch", "options"],
        ),
        name="logged-model",
    ),
    path(
        f"{V2}logged-models/<str:model_id>/tags",
        Endpoint.as_view(change=calls.logged_model_tag, http_method_names=["patch", "options"]),
        name="logged-model-tags",
    ),
    _write("logged-models/<str:model_id>/params", "logged-model-params", calls.logged_model_params),
    _write("runs/outputs", "log-outputs", calls.log_outputs),
    _read("artifacts/list", "artifacts", calls.artifact_list),
    path(
        "2.0/mlflow-artifacts/artifacts",
        Endpoint.as_view(
            call=calls.artifact_list_of_path, reads=True, http_method_names=["get", "options"]
        ),
        name="artifacts-of",
    ),
    path("2.0/mlflow-artifacts/artifacts/<path:artifact>", ArtifactFile.as_view(), name="artifact"),
    path("2.0/mlflow/<path:rest>", Unknown.as_view(), name="unknown"),
    path("3.0/mlflow/<path:rest>", Unknown.as_view(), name="unknown-3"),
    path("2.0/mlflow-artifacts/<path:rest>", Unknown.as_view(), name="unknown-artifacts"),
]
