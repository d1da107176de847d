"""Requests made from the OpenAPI document, sent as everybody: no fault, no answer outside of it.

Schemathesis makes them, fitting and unfitting ones, always the same. Ids in addresses, queries and
bodies are mostly replaced by those of rows that are there, so that requests get further than 404.
Each is sent to the WSGI application as every role, and undone.

    VADLAB_API_EXAMPLES=300 pytest tests/webapp/core/test_schemathesis.py     takes minutes
"""

# ruff: noqa: F811 (a fixture is imported, and an argument)
from __future__ import annotations

import copy
import os
import random
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import got_request_exception, request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from test_every_route import World, _django_db_helper, _same_place, world  # noqa: F401

from webapp.core.schema_views import document

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

EXAMPLES = int(os.environ.get("VADLAB_API_EXAMPLES", "1"))
WHO = ("admin", "member", "viewer", "stranger", "write token", "nobody")
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# What stands for what, beside the names of `World.values`.
MEANT = {
    "username": "user", "name": "worker", "version": "version_id", "run": "run_id",
    "feature_set": "feature_set_id", "of_run": "first", "to": "version_id", "key": "video",
    "first": "run_id", "project": "slug", "user": "username", "channel": "channel_id",
}  # fmt: skip
RUNS = ("first", "second", "running", "failed", "queued", "run_id")


def strict(known: dict[str, Any]) -> dict[str, Any]:
    """The document, of which answers may not say more either."""
    found = copy.deepcopy(known)
    for schema in found["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return found


application = get_wsgi_application()
api = schemathesis.openapi.from_dict(strict(document()))
api.app = application
OPERATIONS = {found.ok().label: found.ok() for found in api.get_all_operations()}


@pytest.fixture(autouse=True)
def _same_connection() -> Iterator[None]:
    """As in Django's test client: the transaction around all requests stays open."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_answers_everybody_as_the_document_says(label: str, world: World) -> None:
    operation = OPERATIONS[label]
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @seed(1)
    @given_settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=cases, chance=st.randoms(use_true_random=False))
    def ask(case: schemathesis.Case, chance: random.Random) -> None:
        _with_rows(case, world, chance)
        for who in WHO:
            with Faults() as faults, transaction.atomic():
                answer = case.call(**_as(who, world))
                transaction.set_rollback(True)
            assert not faults.found, f"{who}: {case.as_curl_command()}\n{faults.found[0]}"
            # A 503 of the document is no fault: this machine has no Chromium, say.
            case.validate_response(answer, checks=CHECKS[answer.status_code == 503 :])

    ask()


class Faults:
    """What a view raised and nobody caught; the answer says no more than 500."""

    def __enter__(self) -> Faults:
        self.found: list[str] = []
        got_request_exception.connect(self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        got_request_exception.disconnect(self._note)

    def _note(self, **kwargs: Any) -> None:
        self.found.append(traceback.format_exc())


def _as(who: str, world: World) -> dict[str, Any]:
    """Headers and cookies of a person's request."""
    if who in world.headers:
        return {"headers": {"Authorization": world.headers[who]}}
    signed_in = world.people.get(who)
    if signed_in is None:
        return {}
    cookies = {name: morsel.value for name, morsel in signed_in.cookies.items()}
    token = "t" * 32
    return {"cookies": {**cookies, "csrftoken": token}, "headers": {"X-CSRFToken": token}}


def _with_rows(case: schemathesis.Case, world: World, chance: random.Random) -> None:
    """Put ids of rows that are there where the request has made-up ones."""
    if chance.random() < 0.9:  # sign in as the role, not with what was made up
        case.headers.pop("Authorization", None)
        case.cookies.pop("sessionid", None)
    for part in (case.path_parameters, case.query, case.body):
        if not isinstance(part, dict):
            continue
        for name in list(part):
            key = MEANT.get(name, name)
            if name == "run_id" and "/evaluations/" not in case.path:
                key = "external" if "/external/" in case.path else chance.choice(RUNS)
            if name == "runs":
                part[name] = f"{world.values['first']},{world.values['second']}"
            elif key in world.values and name not in ("kind", "action") and chance.random() < 0.9:
                if type(part[name]) is not int:
                    part[name] = world.values[key]
                elif world.values[key].isdigit():  # the same name elsewhere means an id
                    part[name] = int(world.values[key])
