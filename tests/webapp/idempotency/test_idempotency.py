"""`Idempotency-Key`: sent twice, done once."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from webapp.accounts import tokens
from webapp.accounts.models import ApiToken, Project
from webapp.core.errors import STATUS
from webapp.idempotency import services
from webapp.idempotency.models import IdempotencyKey

ADDRESS = "/api/v1/projects/"


def send(client, data=None, *, key="k-1", address=ADDRESS):
    headers = {"Idempotency-Key": key} if key is not None else {}
    body = json.dumps({"name": "Twins"} if data is None else data)
    return client.post(address, body, content_type="application/json", headers=headers)


def test_the_same_request_again_gets_the_first_answer_and_makes_nothing(client):
    first, again = send(client), send(client)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first
    assert Project.objects.filter(name="Twins").count() == 1


def test_without_a_key_it_is_another_request(client):
    send(client, key=None)

    assert send(client, key=None).status_code == 422  # the name is taken
    assert not IdempotencyKey.objects.exists()


def test_the_key_with_something_else_is_refused(client):
    send(client)
    answer = send(client, {"name": "Other"})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-mismatch")
    assert not Project.objects.filter(name="Other").exists()


def test_a_failed_request_leaves_the_key_for_the_next(client):
    assert send(client, {"name": ""}).status_code == 422
    assert send(client, {"nme": "Twins"}).status_code == 400
    assert not IdempotencyKey.objects.exists()

    assert send(client).status_code == 201


def test_keys_are_of_one_person_and_one_address(client, sign_in, stranger):
    send(client)

    assert send(sign_in(stranger), {"name": "Theirs"}).status_code == 201
    assert send(client, {"name": "t"}, address="/api/v1/tokens/").status_code == 201


def test_a_token_of_another_project_does_not_get_the_answer(user, project, client):
    headers = {}
    for name, reach in (("all", None), ("one", project)):
        _, secret = tokens.token_create(by=user, name=name, scope="write", project=reach)
        headers[name] = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k"}
    body = json.dumps({"name": "v", "query": "q=a"})
    made = [
        Client().post("/api/v1/runs/views/", body, content_type="application/json", headers=h)
        for h in headers.values()
    ]

    assert [answer.status_code for answer in made] == [201, 422]


@pytest.mark.parametrize("key", ["", "k" * 201, "ключ", "a\tb"])
def test_a_key_that_cannot_be_kept_is_refused(client, key):
    answer = send(client, key=key.encode().decode("latin-1"))

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["Idempotency-Key"])


def test_a_secret_is_not_kept(client):
    first = send(client, {"name": "laptop"}, address="/api/v1/tokens/")
    again = send(client, {"name": "laptop"}, address="/api/v1/tokens/")

    assert (first.status_code, again.status_code) == (201, 409)
    assert again.json()["code"] == "idempotency-used"
    assert ApiToken.objects.count() == 1
    assert first.json()["token"] not in str(list(IdempotencyKey.objects.values()))


def test_a_key_is_forgotten_after_a_day(client):
    send(client)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert send(client, {"name": "Another day"}).status_code == 201

    assert services.keys_forget() == 0
    assert services.keys_forget(timezone.now() + timedelta(hours=25)) == 1
    assert {"idempotency-used", "precondition-failed"} <= set(STATUS)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_is_done_and_all_get_its_answer(user, sign_in):
    clients = [sign_in(user) for _ in range(6)]
    gate = threading.Barrier(len(clients))
    answers = []

    def work(client):
        gate.wait()
        try:
            answers.append(send(client))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [a.status_code for a in answers] == [201] * len(clients)
    assert len({a.content for a in answers}) == 1
    assert Project.objects.filter(name="Twins").count() == 1
    assert sum("Idempotency-Replayed" in a for a in answers) == len(clients) - 1
