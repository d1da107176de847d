"""Log lines: one event a line, with who asked, which request and which run."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import uuid

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from structlog.contextvars import bound_contextvars, clear_contextvars

from webapp.accounts import tokens
from webapp.settings import env, logs


@pytest.fixture
def lines():
    """What is logged, as JSON, read again."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    made = logs.configure(level="INFO", style=logs.JSON)["formatters"]["event"]
    made.pop("()")
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(**made))
    root = logging.getLogger()
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    clear_contextvars()


def of(lines, event):
    return [line for line in lines() if line["event"] == event]


def test_a_refusal_is_found_by_the_id_that_its_answer_carries(client, user, lines):
    answer = client.get("/api/v1/datasets/999999/")

    (told,) = of(lines, "request.answered")
    assert told["request_id"] == answer["X-Request-ID"]
    assert (told["user"], told["status"]) == (user.username, answer.status_code)
    assert told["level"] == "info"


def test_what_is_only_looked_at_is_not_written_down(client, lines):
    assert client.get("/runs/")["X-Request-ID"]
    assert of(lines, "request.answered") == []


@pytest.mark.parametrize(
    ("given", "taken"),
    [("from-the.proxy:1", True), ("a" * 65, False), ('x"\n{"event": "forged"}', False)],
)
def test_an_id_of_a_proxy_is_taken_over_if_it_is_one(db, given, taken):
    answer = Client().get("/healthz", headers={"X-Request-ID": given})

    assert (answer["X-Request-ID"] == given) is taken


def test_what_a_token_does_names_its_person_and_the_token(user, lines):
    token, secret = tokens.token_create(by=user, name="script", scope="write")
    Client().post(
        "/api/v1/runs/", {}, content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )  # fmt: skip

    (told,) = of(lines, "request.answered")
    assert (told["user"], told["via"]) == (user.username, token.prefix)
    assert secret not in json.dumps(lines())


def test_a_request_about_a_run_names_it(client, make_run, lines):
    run = make_run()
    client.post(f"/api/v1/runs/{run.pk}/nosuch/", {}, content_type="application/json")

    assert {line.get("run_id") for line in of(lines, "request.answered")} == {str(run.pk)}


def test_the_secret_of_an_invitation_is_in_no_line(db, lines):
    secret = "s3cret" * 7

    assert Client().get(f"/join/{secret}/").status_code == 410
    assert any("Gone" in line["event"] for line in lines())
    assert secret not in json.dumps(lines())


def test_lines_of_libraries_are_events_like_ours_and_carry_the_run(lines):
    with bound_contextvars(run_id="abc"):
        logging.getLogger("celery.worker").warning("lost %s", "contact")
        structlog.get_logger("workers.x").info("run.started", pid=3, slot=uuid.UUID(int=1))

    first, second = lines()
    assert (first["event"], first["run_id"], first["logger"]) == (
        "lost contact", "abc", "celery.worker",
    )  # fmt: skip
    assert (second["event"], second["run_id"], second["pid"]) == ("run.started", "abc", 3)


def test_a_traceback_is_one_line_without_local_variables(lines):
    password = "typed-by-a-person"
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger("x").exception("form.failed", n=len(password))

    (told,) = lines()
    assert "ValueError: no" in told["exception"]
    assert password not in json.dumps(told)


def test_people_can_read_the_other_style():
    formatter = logs.configure(level="INFO", style=logs.TEXT)["formatters"]["event"]
    formatter.pop("()")
    record = logging.LogRecord("x", logging.INFO, "", 0, "run.ended", None, None)

    text = structlog.stdlib.ProcessorFormatter(**formatter).format(record)

    assert "run.ended" in text
    assert not text.startswith("{")


def test_a_misspelt_style_stops_the_start(monkeypatch):
    monkeypatch.setenv("VADLAB_LOG_FORMAT", "jsn")

    with pytest.raises(ImproperlyConfigured, match="jsn"):
        env.env_choice("VADLAB_LOG_FORMAT", "text", ("json", "text"))
