"""The unmodified client of PyPI, `mlflow-skinny`, against a running server of ours."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from django.test import Client
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException

from webapp.accounts import tokens
from webapp.accounts.models import Project, User
from webapp.runs import metrics
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Give the client a token of a person."""

    def give(user: User, *, scope: str = "write", project: Project | None = None) -> None:
        _, secret = tokens.token_create(by=user, name="mlflow", scope=scope, project=project)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", secret)

    return give


@pytest.fixture
def server(
    live_server: Any, user: User, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowClient]:
    """A client of `user`, who is a member."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)
    signed_in(user)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(live_server.url)
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def test_the_quick_start_of_mlflow_runs_and_is_read_back(
    server: MlflowClient, client: Client, user: User, tmp_path: Path
) -> None:
    experiment = mlflow.set_experiment("MLflow Quickstart")
    with mlflow.start_run(run_name="first") as active:
        mlflow.log_params({"solver": "lbfgs", "max_iter": 1000, "lr": 0.1})
        mlflow.log_param("seed", 8888)
        for step in range(3):
            mlflow.log_metric("accuracy", 0.25 * step, step=step)
        mlflow.log_metrics({"auc": 0.91, "val/ap": 0.5}, step=2)
        mlflow.set_tag("Training Info", "Basic LR model for iris data")
        mlflow.set_tags({"team": "vad"})
    run_id = active.info.run_id

    run = mlflow.get_run(run_id)

    assert run.data.params == {
        "solver": "lbfgs", "max_iter": "1000", "lr": "0.1", "seed": "8888"
    }  # fmt: skip
    assert run.data.metrics == {"accuracy": 0.5, "auc": 0.91, "val/ap": 0.5}
    assert run.data.tags["Training Info"] == "Basic LR model for iris data"
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.info.experiment_id == experiment.experiment_id
    assert run.info.end_time >= run.info.start_time > 0
    assert [m.value for m in server.get_metric_history(run_id, "accuracy")] == [0.0, 0.25, 0.5]
    found = server.search_runs(
        [experiment.experiment_id], "metrics.auc > 0.8 and params.lr = '0.1'"
    )
    assert [r.info.run_id for r in found] == [run_id]
    ours = Run.objects.get()
    assert (ours.owner, ours.state, ours.config["lr"]) == (user, "succeeded", "0.1")
    assert "first" in client.get("/runs/").content.decode()
    assert client.get(f"/runs/{ours.pk}/").status_code == 200


def test_100000_points_are_read_back_exactly(server: MlflowClient) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(100_000) * 10.0 ** rng.integers(-300, 300, 100_000)
    times = 1_700_000_000_000 + np.cumsum(rng.integers(0, 900, 100_000))
    sent = [
        Metric("loss", value, at, step)
        for step, (value, at) in enumerate(zip(values.tolist(), times.tolist(), strict=True))
    ]
    run = server.create_run("0")
    start = time.perf_counter()
    for i in range(0, len(sent), 1000):
        server.log_batch(run.info.run_id, metrics=sent[i : i + 1000], synchronous=True)
    logged = time.perf_counter()

    found = server.get_metric_history(run.info.run_id, "loss")

    print(f"logged in {logged - start:.1f} s, read in {time.perf_counter() - logged:.1f} s")
    assert [(m.value, m.timestamp, m.step) for m in found] == [
        (m.value, m.timestamp, m.step) for m in sent
    ]
    last = server.get_run(run.info.run_id).data._metric_objs[0]
    assert (last.value, last.timestamp, last.step) == (values[-1], times[-1], 99_999)
