"""MLflow's API asked by hand: other clients' spellings, wrong and hostile requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from webapp.accounts import tokens
from webapp.accounts.models import User
from webapp.external import history
from webapp.interop.tracking.filters import like, parse
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db

API = "/api/2.0/mlflow"


@pytest.fixture
def ask(user: User) -> Callable[..., Any]:
    _, secret = tokens.token_create(by=user, name="curl", scope="write")
    headers = {"Authorization": f"Bearer {secret}"}

    def send(path: str, body: Any = None, method: str = "post", **query: str) -> Any:
        if method == "get":
            return Client().get(API + path, query, headers=headers)
        text = body if isinstance(body, str | bytes) else json.dumps(body or {})
        kind = "application/json" if method == "post" else "application/octet-stream"
        where = path if path.startswith("/api") else API + path
        return getattr(Client(), method)(where, text, content_type=kind, headers=headers)

    return send


@pytest.fixture
def run_id(ask: Callable[..., Any]) -> str:
    return ask("/runs/create", {"experiment_id": "0"}).json()["run"]["info"]["run_id"]


def test_numbers_may_be_texts_as_protobuf_writes_them(ask: Callable[..., Any], run_id: str) -> None:
    point = {"run_id": run_id, "key": "auc", "value": "Infinity", "timestamp": "17", "step": "3"}

    assert ask("/runs/log-metric", point).json() == {}
    assert ask("/runs/log-metric", {"run_uuid": run_id, "key": "n", "value": 1}).status_code == 200

    found = ask("/metrics/get-history", method="get", run_id=run_id, metric_key="auc").json()
    assert found == {"metrics": [{"key": "auc", "value": "Infinity", "timestamp": 17, "step": 3}]}
    assert history.read(Run.objects.get(), "n")["step"].tolist() == [0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/runs/log-metric", {"key": "a", "value": "much"}),
        ("/runs/log-metric", {"key": "a", "value": 10**400}),
        ("/runs/log-metric", {"key": "a"}),
        ("/runs/log-metric", {"key": ["a"], "value": 1}),
        ("/runs/log-metric", {"key": "a", "value": 1, "step": 2**60}),
        ("/runs/log-metric", {"key": "a", "value": 1, "timestamp": -5}),
        ("/runs/log-metric", {"key": "sys/step", "value": 1}),
        ("/runs/log-metric", {"key": "a" * 300, "value": 1}),
        ("/runs/log-parameter", {"key": "a", "value": "x" * 7000}),
        ("/runs/log-parameter", {"key": "a\0", "value": "x"}),
        ("/runs/log-batch", {"metrics": {"a": 1}}),
        ("/runs/log-batch", {"metrics": [{"key": "a", "value": 1}] * 20_001}),
        ("/runs/log-batch", {"metrics": [{"key": "a", "value": 1}], "params": [{"key": 1}]}),
        ("/runs/set-tag", {"key": "a", "value": "\ud800"}),
        ("/runs/update", {"status": "DONE"}),
        ("/runs/update", {"end_time": "1e400"}),
        ("/runs/log-inputs", {"datasets": [{"dataset": {"profile": "x" * 30_000}}]}),
        ("/experiments/create", {"name": "x" * 300}),
        ("/runs/search", {"experiment_ids": []}),
        ("/runs/search", {"experiment_ids": ["0"], "page_token": "bm8"}),
        ("/runs/search", {"experiment_ids": ["0"], "max_results": 10**9}),
        ("/runs/search", {"experiment_ids": ["0"], "run_view_type": "EVERY"}),
        ("/runs/search", {"experiment_ids": ["0"], "order_by": ["metrics.auc SIDEWAYS"]}),
        ("/runs/search", "[1]"),
        ("/runs/search", "{" * 100_000),
    ],
)
def test_what_is_wrong_is_refused_whole_and_by_name(
    path: str, body: Any, ask: Callable[..., Any], run_id: str
) -> None:
    if isinstance(body, dict) and path.startswith("/runs/") and path != "/runs/search":
        body = {"run_id": run_id} | body
    before = list(Run.objects.values())

    refused = ask(path, body)

    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert refused.json()["message"]
    assert list(Run.objects.values()) == before
    assert not Run.objects.get().metric_summaries.exists()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/runs/get?run_id=" + "0" * 32, "RESOURCE_DOES_NOT_EXIST"),
        ("/runs/get?run_id=../../etc/passwd", "RESOURCE_DOES_NOT_EXIST"),
        ("/runs/get", "INVALID_PARAMETER_VALUE"),
        ("/experiments/get?experiment_id=99999999999999999999", "RESOURCE_DOES_NOT_EXIST"),
        ("/experiments/get?experiment_id=p0", "RESOURCE_DOES_NOT_EXIST"),
        ("/experiments/get?experiment_id=²", "RESOURCE_DOES_NOT_EXIST"),
        ("/registered-models/search", "ENDPOINT_NOT_FOUND"),
    ],
)
def test_what_is_not_there_has_mlflows_code(path: str, code: str, ask: Callable[..., Any]) -> None:
    assert ask(path, method="get").json()["error_code"] == code


def test_nobody_is_told_to_bring_a_token(db: None) -> None:
    answer = Client().post(f"{API}/runs/search", "{}", content_type="application/json")

    assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert "3." in Client().get("/version").content.decode()


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "..", "a//b", "a/./b", " ", "a\\b", "x" * 500, "a/%2e%2e/b", "a%00b"],
)
def test_a_path_that_leads_out_is_refused(path: str, ask: Callable[..., Any], run_id: str) -> None:
    run = Run.objects.get()
    address = f"/api/2.0/mlflow-artifacts/artifacts/{run_id}/{path}"

    sent, got = ask(address, b"x", "put"), ask(address, b"", "get")

    assert sent.status_code in (400, 404) and got.status_code in (400, 404)
    assert not run.uploads.exists()


@pytest.mark.parametrize(
    "text",
    [
        "metrics.auc > 1; drop table runs_run", "metrics.auc", "> 1", "metrics. = 1 2", "and",
        "metrics.auc > 1 and", "params.lr = 'a' or 1 = 1", "params.lr LIKE 5", "tags.a IN (",
        "attributes.password = 'x'", "attributes.__class__ = 'x'", "run.owner__password = 'a'",
        "tags.a IN ('b' 'c')", "metrics.a IS NULL", "(" * 1000, "a" * 6000,
        " and ".join(["metrics.a > 1"] * 51),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_says_where(text: str, ask: Callable[..., Any]) -> None:
    refused = ask("/runs/search", {"experiment_ids": ["0"], "filter": text})

    assert refused.status_code == 400
    assert "filter" in refused.json()["message"]


def test_like_is_sqls_and_no_pattern_runs_away() -> None:
    cases = [
        ("abc", "abc", True), ("abc", "a%", True), ("abc", "%c", True), ("abc", "%b%", True),
        ("abc", "a_c", True), ("abc", "_", False), ("abc", "", False), ("", "%", True),
        ("a\nb", "a%b", True), ("aXbXb", "a%X%b", True), ("ab", "ab%b", False),
        ("a.c", "a.c", True), ("abc", "a.c", False), ("aba", "ab%ba", False), ("%", "%%", True),
    ]  # fmt: skip
    assert [(t, p) for t, p, fits in cases if like(t, p) != fits] == []
    start = time.perf_counter()
    assert not like("a" * 6000, "%a" * 120 + "b")
    assert not like("a" * 6000, "%" + "a" * 240 + "b%")
    assert time.perf_counter() - start < 2
    names = parse("metrics.`a b` > -1e-3 and tags.\"x.y\" != 'it' and metrics.loss/total <= .5")
    assert [(c.key, c.operator, c.value) for c in names] == [
        ("a b", ">", -0.001), ("x.y", "!=", "it"), ("loss/total", "<=", 0.5)
    ]  # fmt: skip
