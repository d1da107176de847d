"""Runs over HTTP."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from webapp.runs import chunks
from webapp.runs.models import MetricSummary, Run, State

RUNS = "/api/v1/runs/"
JSON = "application/json"


@pytest.fixture
def post(client):
    def send(address, body=None, **more):
        return client.post(address, json.dumps(body or {}), content_type=JSON, **more)

    return send


def strict(answer):
    """The body, read as strictly as JSON is defined."""
    return json.loads(answer.content, parse_constant=pytest.fail)


def test_a_run_is_created_from_its_config(post, feature_set, user):
    answer = post(
        RUNS,
        {
            "kind": "train-urdmu", "config": {"lr": 0.01}, "feature_set": str(feature_set.pk),
            "name": "mine", "tags": ["x"], "priority": 3, "notes": "why",
        },
    )  # fmt: skip

    assert answer.status_code == 201
    run = Run.objects.get(pk=answer.json()["id"])
    assert (run.name, run.owner, run.tags, run.priority) == ("mine", user, ["x"], 3)
    assert run.config["lr"] == 0.01
    assert run.state == State.QUEUED


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"config": {"lr": -1}}, 422, "config-invalid", "lr"),
        ({"config": {"lerning": 1}}, 422, "config-invalid", "lerning"),
        ({"config": {"lr": "0.1"}}, 422, "config-invalid", "lr"),
        ({"config": []}, 400, "request-invalid", "config"),
        ({"kind": "dance"}, 422, "config-invalid", "kind"),
        ({"kind": 3}, 400, "request-invalid", "kind"),
        ({"feature_set": None}, 422, "run-inputs-missing", "feature_set"),
        ({"feature_set": "nonsense"}, 422, "run-inputs-missing", "feature_set"),
        (
            {"feature_set": "00000000-0000-0000-0000-000000000000"},
            422, "run-inputs-missing", "feature_set",
        ),
        ({"state": "succeeded"}, 400, "request-invalid", "state"),
        ({"priority": 1000}, 400, "request-invalid", "priority"),
        ({"priority": True}, 400, "request-invalid", "priority"),
        ({"tags": "x"}, 400, "request-invalid", "tags"),
        ({"tags": [1]}, 400, "request-invalid", "tags"),
        ({"name": "x" * 200}, 422, "config-invalid", "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_field(post, feature_set, change, status, code, field):
    good = {"kind": "train-urdmu", "config": {}, "feature_set": str(feature_set.pk)}

    answer = post(RUNS, good | change)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert field in answer.json()["fields"]
    assert answer.json()["hint"]
    assert not Run.objects.exists()


def test_features_of_another_project_do_not_exist_for_me(feature_set, stranger, sign_in):
    answer = sign_in(stranger).post(
        RUNS, json.dumps({"kind": "train-urdmu", "feature_set": str(feature_set.pk)}), JSON
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "run-inputs-missing")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [(b"{", JSON, 400), (b"[1]", JSON, 400), (b"a=1", "application/x-www-form-urlencoded", 415)],
)
def test_a_body_that_is_no_json_object_is_refused_in_the_one_shape(client, body, kind, status):
    answer = client.post(RUNS, body, content_type=kind)

    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message", "hint", "problems", "fields"}


def test_a_forged_request_is_refused_in_the_one_shape(user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    answer = browser.post(RUNS, b"{}", content_type=JSON)

    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert "CSRF" in answer.json()["message"]


def test_the_list_is_paged_by_a_cursor_that_stays_put(client, make_run):
    runs = [make_run() for _ in range(7)]

    first = client.get(RUNS, {"limit": 3}).json()
    make_run()  # arrives while somebody reads
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()

    seen = [r["id"] for page in (first, second, third) for r in page["results"]]
    assert seen == [str(r.pk) for r in reversed(runs)]
    assert third["next"] is None


def test_a_page_is_bounded(client, make_run, monkeypatch):
    from webapp.core.api import Cursor

    monkeypatch.setattr(Cursor, "max_page_size", 2)
    for _ in range(3):
        make_run()

    assert len(client.get(RUNS, {"limit": 100000}).json()["results"]) == 2


def test_a_list_costs_the_same_for_any_number_of_runs(client, make_run, worker, feature_set):
    counts = []
    for _ in range(2):
        for _ in range(5):
            make_run(state=State.RUNNING, worker=worker, version=feature_set.version)
        with CaptureQueriesContext(connection) as queries:
            client.get(RUNS)
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 5


def test_the_list_is_filtered(client, make_run, version, project):
    a = make_run(name="alpha", tags=["x"], state=State.FAILED)
    b = make_run(name="beta", kind="evaluate", version=version)

    def found(**given):
        return {r["id"] for r in client.get(RUNS, given).json()["results"]}

    assert found(state="failed") == {str(a.pk)}
    assert found(state="active") == {str(b.pk)}
    assert found(kind="evaluate") == {str(b.pk)}
    assert found(q="ALPH") == found(tag="x") == {str(a.pk)}
    assert found(q=version.dataset.name) == {str(b.pk)}
    assert found(project=project.slug) == {str(a.pk), str(b.pk)}
    assert client.get(RUNS, {"project": "none"}).status_code == 404


@pytest.mark.parametrize(
    ("action", "state", "after"),
    [
        ("stop", State.QUEUED, State.CANCELLED),
        ("hold", State.QUEUED, State.HELD),
        ("release", State.HELD, State.QUEUED),
        ("retry", State.FAILED, State.QUEUED),
    ],
)
def test_steps(post, make_run, action, state, after):
    run = make_run(state=state)

    answer = post(f"{RUNS}{run.pk}/{action}/")

    assert (answer.status_code, answer.json()["state"]) == (200, after)


def test_a_step_that_is_not_possible_is_a_conflict(post, make_run):
    run = make_run(state=State.SUCCEEDED)

    answer = post(f"{RUNS}{run.pk}/stop/")

    assert (answer.status_code, answer.json()["code"]) == (409, "run-not-movable")
    assert post(f"{RUNS}{run.pk}/dance/").status_code == 404


def test_a_clone_takes_changes(post, make_run, feature_set):
    run = make_run(feature_set=feature_set, version=feature_set.version)

    answer = post(f"{RUNS}{run.pk}/clone/", {"config": {"seed": 7}, "name": "again"})

    assert answer.status_code == 201
    assert answer.json()["config"]["seed"] == 7
    assert answer.json()["cloned_from"] == str(run.pk)


def test_a_run_is_described_and_deleted(client, make_run):
    run = make_run(state=State.QUEUED)
    address = f"{RUNS}{run.pk}/"

    answer = client.patch(
        address, json.dumps({"name": "new", "tags": ["t"], "priority": 5}), content_type=JSON
    )
    assert (answer.json()["name"], answer.json()["tags"], answer.json()["priority"]) == (
        "new", ["t"], 5,
    )  # fmt: skip

    bad = client.patch(address, json.dumps({"name": "no", "tags": 3}), content_type=JSON)
    run.refresh_from_db()
    assert (bad.status_code, run.name) == (400, "new")

    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404


def test_a_pipeline_is_created_as_a_whole(post, feature_set, version):
    answer = post(
        "/api/v1/pipelines/",
        {"feature_set": str(feature_set.pk), "train": {"num_epochs": 5}, "seeds": [1, 2]},
    )
    assert answer.status_code == 201
    kinds = [run["kind"] for run in answer.json()["runs"]]
    assert kinds == ["train-urdmu", "train-urdmu", "evaluate", "evaluate"]

    wrong = post("/api/v1/pipelines/", {"extract": {}, "train": {}})
    assert (wrong.status_code, "version" in wrong.json()["fields"]) == (422, True)
    assert Run.objects.count() == 4


# --- metrics ---------------------------------------------------------------------------------


@pytest.fixture
def measured(make_run):
    run = make_run()
    line = np.sin(np.arange(5000) / 50)
    line[1234], line[100] = 50.0, np.nan
    chunks.append(run, {"loss/total": (np.arange(5000), line)})
    chunks.append(run, {"test/auc": (np.arange(0, 5000, 500), np.full(10, 0.5))})
    return run


def test_metrics_are_thinned_and_keep_their_spike(client, measured):
    answer = strict(client.get(f"{RUNS}{measured.pk}/metrics/?keys=loss/total&max_points=100"))

    found = answer["series"]["loss/total"]
    assert len(found["steps"]) <= 100
    assert found["values"][found["steps"].index(1234)] == 50.0
    assert (found["total"], found["thinned"]) == (5000, True)
    assert answer["keys"] == ["loss/total", "test/auc"]
    assert answer["summaries"]["loss/total"]["greatest_step"] == 1234


def test_all_keys_come_when_none_is_named(client, measured):
    answer = strict(client.get(f"{RUNS}{measured.pk}/metrics/"))

    assert set(answer["series"]) == {"loss/total", "test/auc"}


def test_raw_points_come_whole_with_null_for_nan(client, measured):
    address = f"{RUNS}{measured.pk}/metrics/?keys=loss/total&raw=1&from=99&to=102"

    found = strict(client.get(address))["series"]["loss/total"]

    assert found["steps"] == [99, 100, 101, 102]
    assert found["values"][1] is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("max_points=0", "max_points"), ("max_points=10000000", "max_points"),
        ("max_points=x", "max_points"), ("from=1.5", "from"), ("to=9" + "9" * 30, "to"),
        ("keys=" + ",".join(f"k{i}" for i in range(60)), "keys"),
    ],
)  # fmt: skip
def test_a_query_out_of_bounds_is_refused_by_name(client, measured, given, field):
    answer = client.get(f"{RUNS}{measured.pk}/metrics/?{given}")

    assert (answer.status_code, set(answer.json()["fields"])) == (400, {field})


def test_too_many_raw_points_are_refused(client, measured, monkeypatch):
    monkeypatch.setattr("webapp.runs.parts_api.RAW_POINTS", 1000)

    assert client.get(f"{RUNS}{measured.pk}/metrics/?raw=1").status_code == 400


def test_a_diverged_run_is_still_json(client, make_run):
    run = make_run()
    run.result = {"metrics": {"auc": "nan"}}
    run.save()
    chunks.append(run, {"loss/total": (np.arange(3), np.array([1.0, np.inf, np.nan]))})
    assert MetricSummary.objects.get().last is None

    strict(client.get(f"{RUNS}{run.pk}/"))
    found = strict(client.get(f"{RUNS}{run.pk}/metrics/"))["series"]["loss/total"]

    assert found["values"] == [1.0, None, None]


# --- log, events, checkpoints ----------------------------------------------------------------


def test_the_log_is_read_on_from_where_one_was(client, make_run):
    run = make_run(state=State.RUNNING)
    run.folder.mkdir(parents=True)
    path = run.folder / "log.txt"
    path.write_text("one\ntwo ä\nthr")

    first = client.get(f"{RUNS}{run.pk}/log/").json()
    assert first["text"] == "one\ntwo ä\n"
    with path.open("a") as file:
        file.write("ee\n")
    rest = client.get(f"{RUNS}{run.pk}/log/", {"offset": first["offset"]}).json()
    assert rest["text"] == "three\n"
    short = client.get(f"{RUNS}{run.pk}/log/", {"limit": 5}).json()
    assert (short["text"], short["offset"]) == ("one\n", 4)
    path.write_text("a new file, since the old one was full\n")
    anew = client.get(f"{RUNS}{run.pk}/log/", {"offset": 10**9}).json()
    assert (anew["text"], anew["offset"]) == (path.read_text(), 39)


def test_a_run_without_a_log_has_an_empty_one(client, make_run):
    assert client.get(f"{RUNS}{make_run().pk}/log/").json()["text"] == ""


def test_events_say_who_did_what(client, post, make_run, user):
    run = make_run()
    post(f"{RUNS}{run.pk}/hold/")

    events = client.get(f"{RUNS}{run.pk}/events/").json()["results"]

    assert [(e["kind"], e["by"]) for e in events] == [("held", user.username)]


# --- the rest --------------------------------------------------------------------------------


def test_the_schema_of_each_kind_is_there(client):
    kinds = [c["kind"] for c in client.get("/api/v1/configs/").json()["results"]]
    assert "train-urdmu" in kinds
    for kind in kinds:
        schema = client.get(f"/api/v1/configs/{kind}/").json()
        assert schema["additionalProperties"] is False
    assert client.get("/api/v1/configs/dance/").status_code == 404


def test_a_pipeline_without_evaluations(post, feature_set):
    answer = post(
        "/api/v1/pipelines/",
        {"feature_set": str(feature_set.pk), "evaluate": None, "seeds": [1, 2]},
    )

    assert [run["kind"] for run in answer.json()["runs"]] == ["train-urdmu"] * 2


def test_registering_answers_at_once_with_the_run(post, footage):
    (footage / "one").mkdir()

    answer = post("/api/v1/datasets/", {"config": {"name": "one", "root": str(footage / "one")}})

    assert answer.status_code == 202
    assert answer.json()["run"]["kind"] == "register"
    refused = post("/api/v1/datasets/", {"config": {"name": "one", "root": "/etc"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "path-outside-roots")
    assert "root" in refused.json()["fields"]


def test_the_queue_says_why(client, make_run, worker):
    parent = make_run(state=State.FAILED)
    make_run(state=State.WAITING, parents=[parent])
    make_run(device="cuda")

    rows = client.get("/api/v1/queue/").json()["results"]

    why = {row["run"]["state"]: row["why"] for row in rows}
    assert "GPU" in why["queued"]
    assert parent.name in why["waiting"]


def test_a_comparison_brings_curves_and_differences(client, make_run):
    runs = [make_run(config={"lr": lr}, color=i) for i, lr in enumerate((0.1, 0.2))]
    for run in runs:
        chunks.append(run, {"loss/total": (np.arange(500), np.ones(500))})

    answer = client.get(
        "/api/v1/compare/",
        {"runs": ",".join(str(r.pk) for r in runs), "keys": "loss/total", "max_points": 50},
    )

    found = strict(answer)
    assert [r["color"] for r in found["runs"]] == [0, 1]
    assert len(found["series"]["loss/total"][str(runs[0].pk)]["steps"]) <= 50
    assert found["config_differences"] == {"lr": [0.1, 0.2]}
    assert client.get("/api/v1/compare/").status_code == 400


def test_i_am_told_who_i_am(client, user, project):
    answer = client.get("/api/v1/me/").json()

    assert answer["username"] == user.username
    assert answer["projects"] == [{"slug": project.slug, "name": project.name, "role": "member"}]


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_method_that_is_not_there_is_refused_in_the_one_shape(client, method):
    answer = getattr(client, method)(RUNS)

    assert (answer.status_code, answer.json()["code"]) == (405, "request-invalid")


def test_a_fault_of_ours_is_json_without_a_trace(user, monkeypatch):
    browser = Client(raise_request_exception=False)
    browser.force_login(user)
    monkeypatch.setattr("webapp.runs.api._projects", lambda request: 1 / 0)

    answer = browser.get(RUNS)

    assert (answer.status_code, answer.json()["code"]) == (500, "unexpected")
    assert "ZeroDivision" not in answer.content.decode()


@pytest.mark.parametrize("given", ["q", "tag", "state", "kind", "project"])
def test_a_nul_in_a_query_is_refused_on_every_database(client, given):
    for address in (RUNS, "/runs/"):
        assert client.get(f"{address}?{given}=a%00b").status_code == 400


@pytest.mark.parametrize("member", ["name", "notes", "tags", "config", "kind"])
def test_a_nul_in_a_body_is_refused_on_every_database(post, feature_set, member):
    value = {"tags": ["a\0"], "config": {"device": "\0"}}.get(member, "a\0b")
    good = {"kind": "train-urdmu", "feature_set": str(feature_set.pk)}

    answer = post(RUNS, good | {member: value})

    assert answer.status_code == 400
    assert member in answer.json()["fields"]


@pytest.mark.parametrize("member", ["name", "tags", "config"])
def test_half_a_surrogate_pair_is_refused_on_every_database(post, feature_set, member):
    value = {"tags": ["\ud800"], "config": {"device": "\udfff"}}.get(member, "\ud800")

    answer = post(RUNS, {"kind": "train-urdmu", "feature_set": str(feature_set.pk), member: value})

    assert answer.status_code == 400
    assert member in answer.json()["fields"]
    assert not Run.objects.exists()


def test_a_body_is_bounded_in_length_and_depth(client, settings):
    too_long = '{"kind": "dance"}' + " " * settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    for body, status in (("[" * 100_000, 400), (too_long, 413)):
        answer = client.post(RUNS, body, content_type=JSON)

        assert (answer.status_code, answer.json()["code"]) == (status, "request-invalid")


@pytest.mark.parametrize("position", ["no time", "2020-99-99T00:00", "a\0b"])
def test_a_cursor_that_somebody_made_up_leads_nowhere(client, make_run, version, position):
    make_run()
    cursor = base64.b64encode(f"p={quote(position)}".encode()).decode()
    lists = [RUNS, "/api/v1/datasets/"]
    if "\0" in position:
        lists.append(f"/api/v1/versions/{version.pk}/videos/")

    for address in lists:
        assert client.get(address, {"cursor": cursor}).status_code == 404, address


def test_a_nul_in_a_form_is_refused_on_every_database(client, make_run):
    answer = client.post("/runs/bulk/", {"run": make_run().pk, "action": "tag", "tag": "a\0"})

    assert answer.status_code == 400
