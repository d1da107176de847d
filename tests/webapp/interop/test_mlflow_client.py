"""The unmodified client of PyPI, `mlflow-skinny`, against a running server of ours."""

from __future__ import annotations

import gc
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from django.conf import settings
from django.core.servers.basehttp import ServerHandler, WSGIRequestHandler
from django.test import Client
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException
from mlflow.utils import request_utils
from requests import HTTPError

from webapp.accounts import tokens
from webapp.accounts.models import Project, User
from webapp.runs import chunks
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
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
    # MLflow sends an empty file in chunks, which Django's own server leaves unread, and takes for
    # the next request of an open connection; gunicorn does not. So each request has its own.
    monkeypatch.setattr(WSGIRequestHandler, "protocol_version", "HTTP/1.0")
    monkeypatch.setattr(ServerHandler, "http_version", "1.0")
    signed_in(user)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(live_server.url)
    yield MlflowClient()
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # set_experiment leaves it there
    request_utils._cached_get_request_session.cache_clear()  # open connections of the server's
    gc.collect()


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
    assert ours.tags == ["MLflow Quickstart"]
    assert "first" in client.get("/runs/").content.decode()
    assert client.get(f"/runs/{ours.pk}/").status_code == 200


def test_the_example_of_our_own_page_runs(server: MlflowClient) -> None:
    text = (settings.BASE_DIR / "docs" / "interop.md").read_text()
    example = next(part for part in text.split("```python\n") if "mlflow.set_experiment" in part)
    names: dict[str, Any] = {}

    exec(example.partition("```")[0], names)

    assert [run.info.run_name for run in names["best"]] == ["seed 1"]
    assert server.list_artifacts(names["best"][0].info.run_id)[0].path == "notes.txt"


@pytest.mark.slow
@pytest.mark.long
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


def test_what_is_no_number_a_step_that_comes_twice_and_one_without_a_step_are_kept(
    server: MlflowClient,
) -> None:
    run_id = server.create_run("0").info.run_id
    sent = [(math.nan, 5, 1), (math.inf, 6, 2), (-math.inf, 6, 2), (0.5, 7, -3), (0.5, 8, -3)]

    server.log_batch(run_id, metrics=[Metric("loss", *point) for point in sent])
    for value in (1.0, 2.0, 3.0):
        server.log_metric(run_id, "plain", value)

    found = [(m.value, m.timestamp, m.step) for m in server.get_metric_history(run_id, "loss")]
    assert str(found) == str(sent)
    assert [m.value for m in server.get_metric_history(run_id, "plain")] == [1, 2, 3]
    assert server.get_run(run_id).data.metrics == {"loss": -math.inf, "plain": 3.0}
    assert server.get_metric_history(run_id, "no such metric") == []


def test_experiments_are_made_renamed_tagged_deleted_and_found(server: MlflowClient) -> None:
    first = server.create_experiment("first", tags={"team": "vad"})
    second = server.create_experiment("second")
    with pytest.raises(RestException, match="already"):
        server.create_experiment("first")
    server.rename_experiment(second, "renamed")
    server.set_experiment_tag(second, "stage", "2")
    server.delete_experiment(first)

    names = {e.name: e for e in server.search_experiments()}
    gone = server.search_experiments(view_type=ViewType.DELETED_ONLY)
    tagged = server.search_experiments(filter_string="tags.stage = '2' and name LIKE 're%'")
    assert set(names) == {"Default", "renamed"}
    assert [(e.name, e.lifecycle_stage, e.tags) for e in gone] == [
        ("first", "deleted", {"team": "vad"})
    ]
    assert [e.experiment_id for e in tagged] == [second]
    assert server.get_experiment_by_name("nothing") is None
    assert server.get_experiment("0").name == "Default"
    server.restore_experiment(first)
    assert server.get_experiment(first).lifecycle_stage == "active"
    with pytest.raises(RestException, match="own"):
        server.delete_experiment("0")


def test_runs_are_filtered_ordered_and_paged_as_mlflow_does_it(server: MlflowClient) -> None:
    experiment = server.create_experiment("search")
    for n in range(6):
        run = server.create_run(experiment, run_name=f"run {n}", start_time=1000 + n)
        server.log_batch(
            run.info.run_id,
            metrics=[Metric("auc", n / 10, 1, 0)] if n else [],
            params=[Param("lr", str(10.0**-n)), Param("net", "UR-DMU" if n % 2 else "stp")],
            tags=[RunTag("my tag", f"a{n}%")],
        )
    server.set_terminated(run.info.run_id, "FAILED")

    def names(text: str = "", **more: Any) -> list[str]:
        return [r.info.run_name[-1] for r in server.search_runs([experiment], text, **more)]

    assert names() == ["5", "4", "3", "2", "1", "0"]
    assert names("metrics.auc >= 0.3 AND params.net = 'UR-DMU'") == ["5", "3"]
    assert names('params.lr = "0.01"') == ["2"]
    assert names("tags.`my tag` LIKE 'a%' and attributes.start_time < 1002") == ["1", "0"]
    assert names("params.net ILIKE 'ur-%' and attributes.status != 'FAILED'") == ["3", "1"]
    assert names("tag.\"my tag\" = 'a3%'") == ["3"]
    assert names(f"attributes.run_id IN ('{run.info.run_id}')") == ["5"]
    assert names("params.net = 'stp'", order_by=["metrics.auc DESC"]) == ["4", "2", "0"]
    assert names(order_by=["params.net", "attributes.start_time ASC"]) == list("135024")
    first = server.search_runs([experiment], max_results=4)
    second = server.search_runs([experiment], max_results=4, page_token=first.token)
    assert (len(first), len(second), second.token) == (4, 2, None)
    for wrong in ("metrics.auc > 'a'", "auc > 1", "params.lr > 0.1", "metrics.auc > 0.1 or 1", "'"):
        with pytest.raises(RestException, match="cannot be read"):
            names(wrong)


def test_a_run_is_deleted_restored_resumed_and_its_params_never_change(
    server: MlflowClient,
) -> None:
    run_id = server.create_run("0", tags={"mlflow.note.content": "a note"}).info.run_id
    server.log_param(run_id, "lr", 0.1)
    server.log_param(run_id, "lr", 0.1)
    with pytest.raises(MlflowException, match="cannot become"):
        server.log_param(run_id, "lr", 0.2)
    server.set_tag(run_id, "a", "1")
    server.delete_tag(run_id, "a")
    with pytest.raises(RestException, match="no tag"):
        server.delete_tag(run_id, "a")
    server.set_terminated(run_id, "KILLED")
    with mlflow.start_run(run_id=run_id):
        assert server.get_run(run_id).info.status == "RUNNING"
    server.update_run(run_id, name="another name")
    server.delete_run(run_id)

    assert server.search_runs(["0"]) == []
    assert [r.info.lifecycle_stage for r in server.search_runs(["0"], "", 2)] == ["deleted"]
    assert Run.objects.get().tags == ["mlflow-deleted"]
    server.restore_run(run_id)
    run = server.search_runs(["0"])[0]
    assert run.info.run_name == "another name"
    assert run.data.tags["mlflow.note.content"] == "a note" and "a" not in run.data.tags
    assert Run.objects.get().tags == []


def test_a_run_that_vadlab_trained_is_read_and_not_written(
    server: MlflowClient, make_run: Callable[..., Run]
) -> None:
    ours = make_run(state="succeeded", config={"lr": 3e-4}, tags=["paper"])
    steps, values = np.arange(1, 9001), np.linspace(1, 0, 9000)
    chunks.append(ours, {"loss/total": (steps, values), "sys/cpu_percent": (steps, values)})

    found = server.search_runs(["0"], "params.lr = '0.0003' and metrics.`loss/total` <= 0")

    assert [r.info.run_id for r in found] == [ours.pk.hex]
    assert found[0].data.metrics == {"loss/total": 0.0}
    assert found[0].data.tags["vadlab.tags"] == "paper"
    history = server.get_metric_history(ours.pk.hex, "loss/total")
    assert [(m.step, m.value) for m in history] == list(zip(steps, values, strict=True))
    for write in (
        lambda: server.log_metric(ours.pk.hex, "loss/total", 1.0),
        lambda: server.set_tag(ours.pk.hex, "a", "b"),
        lambda: server.delete_run(ours.pk.hex),
        lambda: server.set_terminated(ours.pk.hex),
    ):
        with pytest.raises(MlflowException, match="trained by VADLab itself"):
            write()


def test_who_may_not_is_told_so(
    server: MlflowClient, signed_in: Any, user: User, viewer: User, stranger: User, project: Project
) -> None:
    experiment = server.create_experiment("ours")
    run_id = server.create_run(experiment).info.run_id

    signed_in(stranger)
    for read in (
        lambda: server.get_run(run_id),
        lambda: server.get_experiment(experiment),
        lambda: server.search_runs([experiment]),
        lambda: server.get_metric_history(run_id, "loss"),
        lambda: server.log_metric(run_id, "loss", 1.0),
        lambda: server.create_run(experiment),
    ):
        with pytest.raises(MlflowException, match="not for you"):
            read()
    assert server.get_experiment_by_name("ours") is None
    for person, scope in ((viewer, "write"), (user, "read")):
        signed_in(person, scope=scope)
        assert [r.info.run_id for r in server.search_runs([experiment])] == [run_id]
        for write in (
            lambda: server.log_metric(run_id, "loss", 1.0),
            lambda: server.create_run(experiment),
            lambda: server.create_experiment("more"),
            lambda: server.delete_run(run_id),
            lambda: server.set_experiment_tag(experiment, "a", "b"),
        ):
            with pytest.raises(MlflowException, match="may"):
                write()
    assert not Run.objects.get().metric_summaries.exists()


def test_a_person_of_two_projects_names_the_other_one(
    server: MlflowClient, signed_in: Any, user: User, stranger: User
) -> None:
    other = stranger.projects.get()
    other.membership_set.create(user=user, role="member")
    signed_in(user)
    made = server.create_experiment(f"{other.slug}/theirs")

    assert server.get_experiment_by_name(f"{other.slug}/theirs").experiment_id == made
    assert {e.name for e in server.search_experiments()} == {
        "Default", f"{other.slug}/Default", f"{other.slug}/theirs"
    }  # fmt: skip
    assert Run.objects.get(pk=server.create_run(made).info.run_id).project == other
    signed_in(user, project=other)
    assert {e.name for e in server.search_experiments()} == {"Default", "theirs"}


def test_a_model_is_logged_found_and_fetched(server: MlflowClient, tmp_path: Path) -> None:
    """What `log_model` of any kind of model calls; MLflow's own kinds need pandas."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "MLmodel").write_text("flavors: {}")
    (tmp_path / "net" / "weights.bin").write_bytes(b"weights")
    params = {f"p{n}": str(n) for n in range(150)} | {"lr": "0.1"}  # more than a request takes

    def log(run_id: str, **more: Any) -> Any:
        made = server.create_logged_model("0", "net", source_run_id=run_id, **more)
        server.log_model_artifacts(made.model_id, str(tmp_path / "net"))
        server.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
        return server.finalize_logged_model(made.model_id, LoggedModelStatus.READY)

    with mlflow.start_run() as active:
        first = log(active.info.run_id, params=params)
        second = log(active.info.run_id, model_type="detector")
    run_id = active.info.run_id

    assert first.model_id != second.model_id
    model = mlflow.get_logged_model(first.model_id)
    assert (model.status, model.source_run_id) == (LoggedModelStatus.READY, run_id)
    assert (model.params["lr"], len(model.params)) == ("0.1", 151)
    mlflow.set_logged_model_tags(first.model_id, {"stage": "paper"})
    assert mlflow.get_logged_model(first.model_id).tags["stage"] == "paper"
    found = mlflow.search_logged_models(
        experiment_ids=[active.info.experiment_id], filter_string="name = 'net'",
        output_format="list",
    )  # fmt: skip
    assert [m.model_id for m in found] == [second.model_id, first.model_id]
    assert found[0].model_type == "detector"
    with pytest.raises(MlflowException, match="only name"):
        mlflow.search_logged_models(filter_string="params.lr = '0.1'", output_format="list")
    for uri in (f"models:/{first.model_id}", f"models:/{second.model_id}", f"runs:/{run_id}/net"):
        got = Path(mlflow.artifacts.download_artifacts(uri))
        assert (got / "weights.bin").read_bytes() == b"weights"
    assert {"net", "net-2"} <= {f.path for f in server.list_artifacts(run_id)}


def test_a_model_needs_a_run_that_can_be_written(
    server: MlflowClient, signed_in: Any, user: User, viewer: User, make_run: Callable[..., Run]
) -> None:
    run_id = server.create_run("0").info.run_id
    model = server.create_logged_model("0", "net", source_run_id=run_id)
    other = server.create_run("0").info.run_id

    for refused, says in (
        (lambda: server.create_logged_model("0", "net"), "within a run"),
        (lambda: server.create_logged_model("0", "a/b", source_run_id=run_id), "no / among them"),
        (lambda: server.create_logged_model("0", "..", source_run_id=run_id), r"without \. and"),
        (lambda: server.create_logged_model("0", "n", source_run_id=make_run().pk.hex), "trained"),
        (lambda: server.get_logged_model("m-nothing"), "no model"),
        (lambda: server.log_outputs(other, [LoggedModelOutput(model.model_id, 0)]), "another run"),
    ):
        with pytest.raises(MlflowException, match=says):
            refused()
    signed_in(viewer)
    assert server.get_logged_model(model.model_id).name == "net"
    with pytest.raises(MlflowException, match="may"):
        server.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def test_what_is_not_here_is_said_in_words(server: MlflowClient) -> None:
    for call, says in (
        (lambda: server.create_registered_model("m"), "registry of models is not supported"),
        (lambda: server.get_model_version("m", "1"), "registry of models is not supported"),
        (lambda: server.search_traces(["0"]), "tracing is not supported"),
    ):
        with pytest.raises(MlflowException, match=says):
            call()


def test_files_are_sent_listed_and_fetched_through_the_server(
    server: MlflowClient, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "maps.bin").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "out" / "empty.txt").touch()
    with mlflow.start_run() as active:
        run_id = active.info.run_id
        mlflow.log_text("what we saw", "notes/first.txt")
        mlflow.log_dict({"auc": 0.9}, "result.json")
        mlflow.log_artifact(str(tmp_path / "out" / "empty.txt"), "a folder ü")
        mlflow.log_artifacts(str(tmp_path / "out"), "out")
        mlflow.log_text("a later one", "notes/first.txt")

    tops = {(f.path, f.is_dir, f.file_size) for f in server.list_artifacts(run_id)}
    assert ("notes", True, None) in tops and ("a folder ü", True, None) in tops
    assert [f.path for f in server.list_artifacts(run_id, "out")] == ["out/deep", "out/empty.txt"]
    assert server.list_artifacts(run_id, "result.json") == []
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/first.txt") == "a later one"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/result.json") == {"auc": 0.9}
    got = Path(server.download_artifacts(run_id, "", str(tmp_path / "got")))
    assert (got / "out" / "deep" / "maps.bin").read_bytes() == bytes(range(256)) * 5000
    assert (got / "a folder ü" / "empty.txt").read_bytes() == b""
    ours = make_run()
    ours.folder.mkdir(parents=True)
    (ours.folder / "log.txt").write_text("a log")
    (ours.folder / "config.json").write_text("{}")
    assert [f.path for f in server.list_artifacts(ours.pk.hex)] == ["log.txt"]
    with pytest.raises(HTTPError, match="trained by VADLab"):
        server.log_text(ours.pk.hex, "x", "log.txt")
