"""The OpenAPI document over HTTP, and the pages that show it."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core import apidocs
from webapp.core.api import Request
from webapp.core.http import Request as PageRequest
from webapp.core.openapi import operation


@cache
def document() -> dict[str, Any]:
    """The document; it is made of code alone, so once a process."""
    return SchemaGenerator().get_schema(request=None, public=True)


@cache
def operations() -> list[apidocs.Operation]:
    return apidocs.operations(document())


class SchemaDocument(APIView):
    @operation("This document", returns=dict[str, Any])
    def get(self, request: Request) -> Response:
        """OpenAPI 3.1, as JSON."""
        return Response(document())


@require_safe
def api_docs(request: PageRequest) -> HttpResponse:
    """All operations, by what they are about."""
    ordered = sorted(operations(), key=lambda one: one.tag)
    groups = [(tag, list(part)) for tag, part in groupby(ordered, key=lambda one: one.tag)]
    return render(request, "api/docs.html", {"groups": groups, "count": len(ordered)})


@require_safe
def api_operation(request: PageRequest, operation_id: str) -> HttpResponse:
    """One operation, with all that it takes and answers."""
    found = next((one for one in operations() if one.id == operation_id), None)
    if found is None:
        raise Http404
    beside = [one for one in operations() if one.tag == found.tag]
    root = request.build_absolute_uri("/").rstrip("/")
    return render(request, "api/operation.html", {"one": found, "beside": beside, "root": root})
