"""How the API knows people and writes JSON; named in the settings.

Apart from `api.py`, since REST framework imports these while its own views are being imported.
"""

from __future__ import annotations

import io
import math
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer


class SessionAuth(SessionAuthentication):
    """The browser's session. Nobody signed in is 401, not 403."""

    def authenticate_header(self, request: HttpRequest) -> str:
        return "Session"


MOST_DEPTH = 100  # whatever looks through a body later may do so recursively
TOO_DEEP = "JSON parse error - nested too deeply"


class StrictParser(JSONParser):
    """JSON; what is nested beyond sense is malformed, not a fault of ours."""

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> dict[str, Any]:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE  # Django asks where it reads the body itself
        body = stream.read(most + 1)
        if len(body) > most:
            raise RequestDataTooBig
        try:
            found = super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError(TOO_DEEP) from None
        encoding = str((parser_context or {}).get("encoding") or "utf-8").lower()
        shallow = encoding == "utf-8" and body.count(b"[") + body.count(b"{") <= MOST_DEPTH
        if not shallow and _is_deep(found):  # a batch of metrics is not looked through
            raise ParseError(TOO_DEEP)
        return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            part
            for one in level if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
        ]  # fmt: skip
        if not level:
            return False
    return True


def finite(value: Any) -> Any:
    """The same data with None for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


class StrictRenderer(JSONRenderer):
    """JSON as the standard has it: a number that is not finite becomes null, never `NaN`."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        try:
            return super().render(data, *args, **kwargs)
        except ValueError:  # rare, so only then is all of it looked through
            return super().render(finite(data), *args, **kwargs)
