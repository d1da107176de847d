"""The OpenAPI document over HTTP."""

from __future__ import annotations

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Request
from webapp.core.openapi import operation


@cache
def document() -> dict[str, Any]:
    """The document; it is made of code alone, so once a process."""
    return SchemaGenerator().get_schema(request=None, public=True)


class SchemaDocument(APIView):
    @operation("This document", returns=dict[str, Any])
    def get(self, request: Request) -> Response:
        """OpenAPI 3.1, as JSON."""
        return Response(document())
