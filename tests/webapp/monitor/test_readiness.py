"""Alive, and ready: which part is not, and nothing that a stranger could use."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from webapp.core import doorbell
from webapp.monitor import readiness

FINE = {"database": "ok", "migrations": "ok", "broker": "ok", "data_folder": "ok"}


@pytest.fixture(autouse=True)
def anew(settings, data_dir):
    settings.CELERY_BROKER_DIR = data_dir / "broker"
    doorbell._producer.cache_clear()
    readiness.forget()
    yield
    doorbell._producer.cache_clear()
    readiness.forget()


def ask():
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def test_a_server_that_has_all_it_needs_is_ready(db):
    assert ask() == (200, {"status": "ready", "parts": FINE})


def test_a_process_is_alive_whatever_is_the_matter_with_the_rest(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = Client().get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_database_that_is_away_is_told_without_its_address(db, monkeypatch):
    monkeypatch.setattr(readiness, "_database", _down)

    status, said = ask()

    assert status == 503
    assert said["parts"] == FINE | {"database": "failed", "migrations": "unknown"}
    assert "secret-host" not in str(said)


def test_a_migration_that_is_not_applied_is_told(db):
    rows = MigrationRecorder.Migration.objects.filter(app="runs")
    rows.filter(pk=rows.order_by("-pk").first().pk).delete()

    status, said = ask()

    assert (status, said["parts"]) == (503, FINE | {"migrations": "failed"})


def test_a_broker_that_is_away_is_told(db, settings):
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"  # nobody listens there

    assert ask()[1]["parts"] == FINE | {"broker": "failed"}


def test_a_data_folder_that_is_gone_is_told(db, settings, tmp_path):
    settings.DATA_DIR = tmp_path / "not-mounted"

    status, said = ask()

    assert (status, said["parts"]) == (503, FINE | {"data_folder": "failed"})
    assert "not-mounted" not in str(said)


def test_many_questions_are_one_look(db, django_assert_num_queries):
    ask()

    with django_assert_num_queries(0):
        ask()


def _down(*_):
    raise OperationalError("could not connect to secret-host")
