"""The OpenAPI document: it is there, valid, and has every route of the API."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from rest_framework.views import APIView

from webapp.api_urls import urlpatterns
from webapp.core import apidocs
from webapp.core.schema import REFUSALS
from webapp.core.schema_views import document

METHODS = ("get", "post", "put", "patch", "delete")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    ]


def test_the_document_is_valid_and_nothing_in_it_is_guessed(tmp_path: Any) -> None:
    """A view without @operation, or two types of one name, is a warning."""
    call_command("spectacular", "--validate", "--fail-on-warn", file=str(tmp_path / "openapi.yaml"))

    assert document()["openapi"].startswith("3.1")


def test_every_route_of_the_api_is_described() -> None:
    missing = []
    for entry in urlpatterns:
        view: type[APIView] = entry.callback.view_class
        path = "/api/v1/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(entry.pattern))
        known = document()["paths"].get(path, {})
        missing += [
            f"{method.upper()} {path}: put @operation(…) on {view.__name__}.{method}"
            for method in METHODS
            if hasattr(view, method) and not known.get(method, {}).get("summary")
        ]

    assert not missing, "\n".join(missing)


def test_every_operation_has_what_a_client_needs() -> None:
    wrong = []
    seen: set[str] = set()
    for path, method, operation in operations():
        where = f"{method.upper()} {path}"
        if operation["operationId"] in seen:
            wrong.append(f"{where}: its id is taken")
        seen.add(operation["operationId"])
        if not operation["security"] or not operation["tags"]:
            wrong.append(f"{where}: no security, or no tag")
        if not any(status.startswith("2") for status in operation["responses"]):
            wrong.append(f"{where}: no answer")
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            if parameter["in"] == "query" and not parameter["description"]:
                wrong.append(f"{where}: {parameter['name']} is not described")
            numeric = schema.get("type") in ("integer", "number")
            if parameter["in"] == "query" and numeric and "minimum" not in schema:
                wrong.append(f"{where}: {parameter['name']} has no bounds")

    assert not wrong


def test_every_reference_leads_somewhere() -> None:
    components = document()["components"]
    refs = set(re.findall(r"'\$ref': '#/components/(\w+)/([^']+)'", str(document())))

    assert not {ref for ref in refs if ref[1] not in components[ref[0]]}
    assert {name for name, _ in REFUSALS.values()} == set(components["responses"])


def test_what_is_required_is_described() -> None:
    schemas = document()["components"]["schemas"]

    assert not {
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member in schema.get("required", ())
        if member not in schema.get("properties", {})
    }


@pytest.mark.django_db
def test_the_document_is_served_to_who_is_signed_in(client: Client) -> None:
    assert client.get("/api/v1/schema/").json()["info"]["title"] == "VADLab"
    assert Client().get("/api/v1/schema/").status_code == 401


@pytest.mark.django_db
def test_every_operation_has_a_page(client: Client) -> None:
    listed = client.get("/api/v1/docs/").content.decode()

    for _, _, operation in operations():
        address = f"/api/v1/docs/{operation['operationId']}/"
        page = client.get(address).content.decode()
        assert address in listed
        assert operation["summary"].replace("'", "&#x27;") in page
        assert ("curl" in page) == any("token" in need for need in operation["security"])
    assert client.get("/api/v1/docs/nothing/").status_code == 404
    assert Client().get("/api/v1/docs/")["Location"] == "/login/?next=/api/v1/docs/"


def test_an_example_is_a_request_that_fits() -> None:
    found = {one.id: one.example for one in apidocs.operations(document())}

    assert found["post_run_list"] == (
        "curl -X POST \\\n"
        '  "$VADLAB_URL/api/v1/runs/" \\\n'
        '  -H "Authorization: Bearer $VADLAB_TOKEN" \\\n'
        '  -H "Idempotency-Key: $(uuidgen)" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        """  -d '{"kind": "register"}'"""
    )
    assert "$RUN_ID/log/" in found["get_run_log"]
