"""What Prometheus is told, and who may ask."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from webapp.accounts.models import Project
from webapp.fleet.models import Pause, Worker
from webapp.runs.models import Attempt, State

KEY = "a-key-of-the-metrics"

pytestmark = pytest.mark.django_db


@pytest.fixture
def scrape(settings):
    """The samples, by name and the values of their labels, in the order of the labels' names."""
    settings.METRICS_KEY = KEY

    def ask() -> dict[tuple[str, ...], float]:
        answer = Client().get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200, answer.content
        return {
            (sample.name.removeprefix("vadlab_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.content.decode())
            for sample in family.samples
        }

    return ask


def ago(seconds):
    return timezone.now() - timedelta(seconds=seconds)


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Basic a-key-of-the-metrics", "Bearer "])
def test_the_metrics_need_their_key(settings, given):
    settings.METRICS_KEY = KEY
    answer = Client().get("/metrics", headers={"Authorization": given} if given else {})

    assert answer.status_code == 401
    assert b"vadlab" not in answer.content


def test_without_a_key_there_are_no_metrics_for_anybody(settings, client):
    settings.METRICS_KEY = ""

    assert client.get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_an_empty_server_has_a_queue_of_nothing_and_no_heartbeat(scrape):
    found = scrape()

    assert found["queue_runs", "cpu"] == found["queue_oldest_seconds", "cpu"] == 0
    assert found["runs", "", "queued"] == 0
    assert found["workers", "alive"] == 0
    assert ("heartbeat_age_seconds",) not in found


def test_the_queue_is_counted_by_device_with_the_age_of_its_oldest(scrape, make_run):
    make_run(config={"device": "cpu"}, queued_at=ago(500))
    make_run(config={"device": "cpu"}, queued_at=ago(90))
    make_run(state=State.HELD, config={"device": "cpu"}, queued_at=ago(9000))

    found = scrape()

    assert found["queue_runs", "cpu"] == 2
    assert found["queue_runs", "cuda"] == 0
    assert 500 <= found["queue_oldest_seconds", "cpu"] < 520


def test_runs_that_are_kept_on_purpose_do_not_wait_for_a_slot(scrape, make_run):
    other = Project.objects.create(name="Paused", slug="paused")
    Pause.objects.create(project=other)
    make_run(project=other, config={"device": "cpu"}, queued_at=ago(500))
    make_run(config={"device": "cpu"}, queued_at=ago(400), not_before=ago(-60))

    assert scrape()["queue_runs", "cpu"] == 0


def test_a_run_that_came_back_waits_since_its_attempt_ended(scrape, make_run, user):
    run = make_run(config={"device": "cpu"}, queued_at=ago(9000))
    Attempt.objects.create(
        id=uuid.uuid4(), run=run, owner=user, number=1, worker="w", slot="cpu:0", kind="cpu",
        started_at=ago(8000), ended_at=ago(30), end="given-back",
    )  # fmt: skip

    found = scrape()

    assert 30 <= found["queue_oldest_seconds", "cpu"] < 50
    assert found["attempts_last_day", "given-back"] == 1


def test_runs_are_counted_by_state_and_failures_by_cause(scrape, make_run):
    make_run(state=State.SUCCEEDED)
    for code in ("disk-full", "disk-full", "of-a-later-version"):
        make_run(state=State.FAILED, error={"code": code})
    make_run(state=State.FAILED)

    found = scrape()

    assert found["runs", "", "succeeded"] == 1
    assert found["runs", "disk-full", "failed"] == 2
    assert found["runs", "unexpected", "failed"] == 2


def test_a_worker_that_died_is_silent_and_its_heartbeat_grows_old(scrape, worker, make_run):
    make_run(state=State.RUNNING, worker=worker, slot="cpu:0", beat_at=ago(70))
    Worker.objects.filter(pk=worker.pk).update(seen_at=ago(80))

    found = scrape()

    assert (found["workers", "silent"], found["workers", "alive"]) == (1, 0)
    assert 80 <= found["worker_heartbeat_age_seconds", worker.name] < 100
    assert 80 <= found["heartbeat_age_seconds",] < 100
    assert 70 <= found["run_heartbeat_age_seconds",] < 90
    assert (found["slots", "cpu"], found["slots_busy", "cpu"]) == (0, 1)


def test_what_the_devices_do_is_told_once_a_device_even_when_slots_share_it(scrape, worker):
    Worker.objects.filter(pk=worker.pk).update(
        gpu_slots=3, device_ids=["GPU-a", "GPU-a", "GPU-b"],
        device_stats={"GPU-a": {"use_percent": 40, "used_mb": 1024, "memory_mb": 2048}},
    )  # fmt: skip

    found = scrape()

    assert found["slots", "gpu"] == 3
    assert found["device_use_ratio", "0", worker.name] == pytest.approx(0.4)
    assert found["device_memory_used_bytes", "0", worker.name] == 1 << 30
    assert ("device_use_ratio", "1", worker.name) not in found


def test_a_scrape_is_as_many_queries_for_much_as_for_little(
    scrape, make_run, worker, django_assert_max_num_queries
):
    for n in range(20):
        make_run(config={"device": "cpu"}, queued_at=ago(n))
        make_run(state=State.RUNNING, worker=worker, slot=f"cpu:{n}")
        make_run(state=State.FAILED, error={"code": "disk-full"})
    Worker.objects.create(
        name="second", host="h", version="0", started_at=ago(0), seen_at=ago(0), cpu_slots=1
    )

    with django_assert_max_num_queries(8):
        scrape()
