"""Whatever is wrong with a request, the API says it in one shape, under the right status."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from vad.errors import CATALOGUE
from webapp.datasets import thumbnails
from webapp.datasets.decoder import Busy
from webapp.datasets.models import Video

RUNS = "/api/v1/runs/"


def shape_of(answer):
    """The error, which has to be whole and of a known code."""
    error = answer.json()
    assert answer["Content-Type"] == "application/json"
    assert set(error) == {"code", "message", "hint", "problems", "fields"}
    assert error["code"] in CATALOGUE
    assert error["message"] and error["hint"]
    return error


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("get", "/api/", 404),
        ("get", "/api/v1/nothing/", 404),
        ("post", "/api/v2/runs/", 404),
        ("get", "/api/v1/runs/not-an-id/", 404),
        ("get", RUNS + "?q=%00", 400),
        ("get", RUNS + "?cursor=%ff", 404),
        ("get", RUNS + "00000000-0000-0000-0000-000000000000/", 404),
        ("put", RUNS, 405),
        ("delete", "/api/v1/me/", 405),
        ("trace", RUNS, 405),
    ],
)
def test_a_wrong_address_or_method(client, method, address, status):
    answer = getattr(client, method)(address)

    assert answer.status_code == status
    shape_of(answer)


def test_a_wrong_method_is_told_the_right_ones(client):
    answer = client.patch(RUNS)

    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert "Allow" in shape_of(answer)["hint"]


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[1",
        "nul",
        "",
        "\xff",
        '{"kind": NaN}',
        "[" * 100_000,
        '{"kind": "\\ud800"}',
        "[]",
        "7",
    ],
)
def test_a_body_that_is_no_object_of_json(client, body):
    answer = client.post(RUNS, body.encode("latin-1"), content_type="application/json")

    assert answer.status_code in (400, 422)
    shape_of(answer)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=a"]
)
def test_a_body_of_another_type(client, kind):
    answer = client.post(RUNS, b"kind=register", content_type=kind)

    assert answer.status_code == 415
    assert "application/json" in shape_of(answer)["hint"]


def test_a_body_that_is_too_large(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = json.dumps({"kind": "register", "notes": "n" * 1000})

    answer = client.post(RUNS, body, content_type="application/json")

    assert answer.status_code == 413
    shape_of(answer)


def test_an_answer_of_a_type_that_there_is_not(client):
    answer = client.get(RUNS, headers={"Accept": "application/xml"})

    assert answer.status_code == 406
    shape_of(answer)


@pytest.mark.parametrize("header", [None, "Bearer vad_nothing", "Bearer", "Basic YTpi"])
def test_nobody(db, header):
    answer = Client().get(RUNS, headers={"Authorization": header} if header else {})

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    shape_of(answer)


def test_a_change_without_the_csrf_token(user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    answer = browser.post(RUNS, "{}", content_type="application/json")

    assert answer.status_code == 403
    shape_of(answer)


def test_too_many_at_once(client, version, monkeypatch):
    def busy(*args):
        raise Busy

    monkeypatch.setattr(thumbnails, "thumbnail", busy)
    video = Video.objects.create(version=version, key="a", split="test", label=0, num_frames=9)

    answer = client.get(f"/api/v1/versions/{version.pk}/videos/{video.pk}/thumbnail/")

    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert "Retry-After" in shape_of(answer)["hint"]
