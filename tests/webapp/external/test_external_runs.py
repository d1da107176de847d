"""Runs that are trained elsewhere: their life, and what is logged of them."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from uuid import uuid4

import numpy as np
import pytest
from django.http import Http404
from django.utils import timezone

from vad.errors import VadError
from webapp.external import history, points, services
from webapp.runs import metrics
from webapp.runs import services as run_services
from webapp.runs.claims import Slot
from webapp.runs.lifecycle import claiming, commands, sweeping
from webapp.runs.models import MetricSummary, Run, RunEvent, State

JSON = "application/json"


@pytest.fixture
def run(project, user) -> Run:
    return services.run_start(project=project, by=user, params={"lr": 0.1})


@pytest.fixture
def post(client):
    def send(address, body=None, **more):
        body = body if isinstance(body, bytes) else json.dumps(body or {})
        return client.post(f"/api/v1/external/{address}", body, content_type=JSON, **more)

    return send


def log(run, by, *rows):
    """Points (key, value, step[, time])."""
    batch = points.from_rows((*row, None)[:4] for row in rows)
    return services.metrics_log(run_id=run.pk, batch=batch, by=by)


# --- its life -------------------------------------------------------------------------------


def test_it_runs_at_once_and_no_worker_can_claim_it(run, worker):
    assert run.state == State.RUNNING
    assert claiming.claim_best(worker=worker, slot=Slot("cpu")) is None


def test_the_end_that_its_script_tells_stays(run, user):
    services.run_end(run_id=run.pk, status="failed", reason="out of memory", by=user)
    again = services.run_end(run_id=run.pk, status="finished", by=user)

    assert again.state == State.FAILED
    assert again.error["message"] == "out of memory"
    assert again.claim is None


@pytest.mark.parametrize("step", ["hold", "release", "retry"])
def test_steps_of_the_queue_are_refused_with_a_reason(run, user, step):
    with pytest.raises(VadError, match="is trained elsewhere") as refused:
        run_services.STEPS[step](run=run, by=user)

    assert refused.value.code == "run-not-movable"


def test_it_is_neither_cloned_nor_queued(run, user, client):
    with pytest.raises(VadError, match="never queued"):
        run_services.run_clone(run=run, by=user)
    body = json.dumps({"kind": "external", "config": {}})
    assert client.post("/api/v1/runs/", body, content_type=JSON).status_code == 422


def test_who_stops_it_on_its_page_ends_it_and_its_script_is_told(run, user):
    run_services.run_stop(run=run, by=user)

    assert log(run, user, ("loss", 1.0, 1)) == services.Heard(state=State.CANCELLED)
    assert services.Heard(state=State.CANCELLED).stop
    assert metrics.keys(run) == ["loss", "sys/step"]


def test_why_a_rule_ended_it_is_noted(run):
    commands.cancel(run, by=None, cause="the project is deleted")

    noted = RunEvent.objects.get(run=run, kind="cancelled")
    assert (noted.message, noted.by) == ("the project is deleted", None)


def test_the_sweep_leaves_a_silent_run_alone_but_its_page_says_so(run, client):
    Run.objects.filter(pk=run.pk).update(beat_at=timezone.now() - timedelta(hours=2))

    sweeping.sweep()

    run.refresh_from_db()
    assert run.state == State.RUNNING
    assert "Not heard of for 2 h" in client.get(f"/runs/{run.pk}/").content.decode()


def test_a_silent_run_is_failed_where_that_is_set_and_goes_on_when_it_is_heard(run, user, settings):
    settings.EXTERNAL_FAIL_S = 3600
    Run.objects.filter(pk=run.pk).update(beat_at=timezone.now() - timedelta(hours=2))

    sweeping.sweep()
    run.refresh_from_db()
    assert (run.state, run.error["code"]) == (State.FAILED, "external-silent")

    assert log(run, user, ("loss", 1.0, 1)).state == State.RUNNING
    run.refresh_from_db()
    assert (run.state, run.error) == (State.RUNNING, None)


def test_it_is_deleted_like_others_after_it_ended(run, user):
    log(run, user, ("loss", 1.0, 1, 5))
    services.run_end(run_id=run.pk, status="finished", by=user)
    run_services.run_delete(run=run, by=user)

    assert not Run.objects.filter(pk=run.pk).exists()


def test_an_id_of_the_clients_makes_one_run(project, user):
    chosen = uuid4()
    first = services.run_start(project=project, by=user, run_id=chosen, name="a")
    again = services.run_start(project=project, by=user, run_id=chosen, name="b")

    assert (first.pk, again.pk, again.name) == (chosen, chosen, "a")


# --- points ---------------------------------------------------------------------------------


def test_a_hundred_thousand_points_read_back_exactly(run, user):
    rng = np.random.default_rng(0)
    values, steps = rng.standard_normal(100_000), rng.permutation(100_000)
    values[7], values[8] = np.nan, np.inf
    for i in range(0, 100_000, 20_000):
        part = points.Points(steps[i : i + 20_000], values[i : i + 20_000])
        services.metrics_log(run_id=run.pk, batch={"loss": part}, by=user)

    found = metrics.read_raw(run, "loss")
    assert (found.steps == np.arange(100_000)).all()
    np.testing.assert_array_equal(found.values, values[np.argsort(steps)])


def test_of_two_values_for_a_step_the_one_logged_last_wins(run, user):
    log(run, user, ("loss", 1.0, 5), ("loss", 2.0, 5))
    log(run, user, ("loss", 3.0, 4), ("loss", 4.0, 5))

    assert metrics.read_raw(run, "loss").values.tolist() == [3.0, 4.0]


def test_with_times_every_point_is_kept_and_the_chart_has_the_latest(run, user):
    sent = [("loss", 1.0, 0, 2000), ("loss", 2.0, 0, 1000), ("loss", math.nan, 0, 2500)]
    log(run, user, *sent)
    log(run, user, *sent)  # a client that got no answer sends again
    log(run, user, ("loss", 4.0, 0, 3000))

    found = history.read(run, "loss")
    assert found["time"].tolist() == [2000, 1000, 2500, 3000]
    assert metrics.read_raw(run, "loss").values.tolist() == [4.0]


def test_a_history_that_grows_point_by_point_stays_in_few_rows(run, user):
    for n in range(200):
        history.append(run, points.from_rows([("loss", float(n), n, n)]))

    assert run.metric_history.count() <= 8
    assert history.read(run, "loss")["step"].tolist() == list(range(200))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("loss", 1.0, 2**53), "is no step"),
        (("loss", 1.0, 1.5), "is no step"),
        (("loss", 1.0, True), "is no step"),
        (("loss", "1", 1), "is no number"),
        (("loss", True, 1), "is no number"),
        (("loss", None, 1), "is no number"),
        (("loss", 10**400, 1), "is no number"),
        (("a,b", 1.0, 1), "is no name"),
        (("", 1.0, 1), "is no name"),
        (("x" * 121, 1.0, 1), "is no name"),
        (("a\0", 1.0, 1), "is no name"),
        (("sys/cpu", 1.0, 1), "server's own"),
        (("loss", 1.0, 1, -5), "is no time"),
    ],
)
def test_a_batch_with_one_wrong_point_is_refused_whole(run, user, row, words):
    with pytest.raises(VadError, match=words):
        log(run, user, ("good", 1.0, 1), row)

    assert not MetricSummary.objects.filter(run=run).exists()


def test_a_run_has_no_more_metrics_than_the_limit(run, user, monkeypatch):
    monkeypatch.setattr(points, "MOST_KEYS", 3)
    log(run, user, ("a", 1.0, 1), ("b", 1.0, 1))

    with pytest.raises(VadError, match="3 at most"):
        log(run, user, ("c", 1.0, 1))


def test_the_time_axis_knows_when_a_step_was_done(run, user, client):
    log(
        run,
        user,
        *(("loss", 1.0, n, int(1000 * (run.started_at.timestamp() + n))) for n in (10, 90)),
    )

    assert "time (not known)" not in client.get(f"/runs/{run.pk}/").content.decode()


# --- params, log, labels --------------------------------------------------------------------


def test_settings_are_flat_and_change_only_where_that_is_allowed(run, user):
    services.params_log(run_id=run.pk, params={"model": {"depth": 3}, "lr": 0.2}, by=user)
    with pytest.raises(VadError, match="cannot become"):
        services.params_log(run_id=run.pk, params={"lr": 0.3}, by=user, replace=False)

    run.refresh_from_db()
    assert run.config == {"lr": 0.2, "model.depth": 3}


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), "x" * 6001, "\0", "\ud800"])
def test_a_setting_that_cannot_be_kept_is_refused(run, user, value):
    with pytest.raises(VadError):
        services.params_log(run_id=run.pk, params={"lr": value}, by=user)


def test_a_part_of_the_log_that_is_sent_twice_is_there_once(run, user):
    for part in (0, 0, 1):
        services.log_append(run_id=run.pk, lines=[f"part {part}"], by=user, session="a", part=part)

    assert (run.folder / "log.txt").read_text() == "part 0\npart 1\n"


def test_a_log_that_is_full_takes_no_more(run, user, monkeypatch):
    monkeypatch.setattr(services, "MOST_LOG_BYTES", 10)
    with pytest.raises(VadError, match="which is the most"):
        services.log_append(run_id=run.pk, lines=["x" * 11], by=user)


def test_labels_change_and_go(run, user):
    services.labels_set(run_id=run.pk, labels={"a": "1", "b": "2"}, by=user)
    services.labels_set(run_id=run.pk, labels={"a": "3"}, remove=["b"], by=user)

    run.external.refresh_from_db()
    assert run.external.labels == {"a": "3"}


# --- who may --------------------------------------------------------------------------------


def test_who_may_not_write_is_told_and_who_may_not_see_finds_nothing(run, viewer, stranger):
    with pytest.raises(VadError, match="not change it"):
        log(run, viewer, ("loss", 1.0, 1))
    with pytest.raises(Http404):
        log(run, stranger, ("loss", 1.0, 1))


def test_a_run_of_a_worker_is_not_logged_from_outside(make_run, user):
    with pytest.raises(Http404):
        log(make_run(state=State.RUNNING), user, ("loss", 1.0, 1))


# --- like all others ------------------------------------------------------------------------


def test_it_is_filtered_shown_and_compared_like_others(run, user, client):
    other = services.run_start(project=run.project, by=user, params={"lr": 0.2, "mine": [1, 2]})
    for row, top in ((run, 0.8), (other, 0.9)):
        log(row, user, ("val/auc", top, 1))

    listed = client.get("/api/v1/runs/", {"q": "kind=external last(val/auc)>0.85"}).json()
    assert [row["id"] for row in listed["results"]] == [str(other.pk)]
    assert run.name in client.get("/runs/").content.decode()
    for tab in ("overview", "config", "log", "checkpoints", "events", "lineage", "system"):
        assert client.get(f"/runs/{run.pk}/", {"tab": tab}).status_code == 200
    page = client.get("/compare/", {"run": [run.pk, other.pk]}).content.decode()
    assert "mine" in page


def test_everything_goes_over_http(post, client):
    made = post("", {"name": "mine", "params": {"a": 1}, "labels": {"x": "y"}, "tags": ["t"]})
    assert made.status_code == 201
    at = made.json()["id"]
    rows = [{"step": 1, "values": {"loss": "NaN", "auc": 0.5}, "time": 1000}]
    assert post(f"{at}/metrics/", {"rows": rows}).json() == {"state": "running", "stop": False}
    columns = {"loss": {"steps": [2, 3], "values": [1, 0.5]}}
    assert post(f"{at}/metrics/", {"metrics": columns, "total": 10}).status_code == 200
    assert post(f"{at}/log/", {"lines": ["hello"]}).status_code == 200
    assert post(f"{at}/tags/", {"tags": ["u"]}).status_code == 200
    assert post(f"{at}/end/", {"status": "finished"}).json() == {"state": "succeeded"}
    assert post(f"{at}/resume/").json() == {"state": "running"}

    told = client.get(f"/api/v1/external/{at}/history/", {"key": "loss"}).json()
    assert (told["values"], told["times"]) == (["NaN"], [1000])
    raw = client.get(f"/api/v1/runs/{at}/metrics/", {"raw": 1, "keys": "loss"}).json()
    assert raw["series"]["loss"]["values"] == [None, 1.0, 0.5]
    run = client.get(f"/api/v1/external/{at}/").json()
    assert (run["labels"], run["tags"], run["done"], run["total"]) == ({"x": "y"}, ["u"], 3, 10)


@pytest.mark.parametrize(
    "body",
    [
        b"[1]",
        b"{",
        b'{"metrics": {"a": [1]}}',
        b'{"metrics": {"a": {"steps": [1]}}}',
        b'{"metrics": {"a": {"steps": [1], "values": [1, 2]}}}',
        b'{"metrics": {"a": {"steps": [1], "values": [NaN]}}}',
        b'{"rows": [3]}',
        b'{"rows": [{"step": 1}]}',
        b'{"rows": [{"values": {"a": 1}}]}',
        b'{"done": -1}',
        b'{"other": 1}',
    ],
)
def test_a_malformed_batch_is_an_error_that_says_so(run, post, body):
    answer = post(f"{run.pk}/metrics/", body)

    assert answer.status_code in (400, 422)
    assert answer.json()["message"]


def test_a_body_beyond_all_measure_is_refused_unread(run, post):
    assert post(f"{run.pk}/metrics/", b" " * (9 << 20)).status_code == 413
