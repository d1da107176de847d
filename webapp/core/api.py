"""What all API views share: one error shape, bounded paging."""

from __future__ import annotations

import math
import uuid
from typing import Any, TypeVar

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination, LimitOffsetPagination
from rest_framework.request import Request as AnyRequest
from rest_framework.request import is_form_media_type
from rest_framework.response import Response
from rest_framework.views import set_rollback

from vad.errors import VadError
from webapp.accounts import access
from webapp.accounts.models import Project, User
from webapp.core import errors
from webapp.core.openapi import invalid as invalid
from webapp.core.openapi import whole

M = TypeVar("M", bound=Model)
T = TypeVar("T")
_JSON_TYPES = {
    str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list",
}  # fmt: skip

_HINTS = {
    405: "The header `Allow` says which methods this address takes.",
    406: "Ask for `application/json`, or for anything.",
    415: "Send JSON, with `Content-Type: application/json`.",
    429: "Wait for as long as `Retry-After` says, and ask again.",
}

log = structlog.get_logger(__name__)


class Request(AnyRequest):
    """For annotations: what a view of the API is given, since nobody else comes so far."""

    user: User
    project: Project | None
    can_edit: bool
    can_admin: bool


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """`{code, message, hint, problems, fields}` for every error of an API view.

    What is not an error of the client's is passed on to Django, whose handler answers in the same
    shape (`errors.server_error`) after the trace was logged.
    """
    headers: dict[str, str] = {}
    if isinstance(exc, VadError):
        error, status = exc, errors.status_of(exc)
        log.info("request.refused", code=exc.code)
    elif isinstance(exc, Http404 | exceptions.NotFound):
        error, status = VadError(*errors.NOT_FOUND), 404
    elif isinstance(exc, exceptions.NotAuthenticated):
        error, status = VadError(*errors.NOT_SIGNED_IN), 401
        headers = {"WWW-Authenticate": 'Bearer realm="VADLab"'}
    elif isinstance(exc, exceptions.AuthenticationFailed):
        error, status = VadError(*errors.TOKEN_INVALID), 401
        headers = {"WWW-Authenticate": 'Bearer realm="VADLab", error="invalid_token"'}
    elif isinstance(exc, PermissionDenied | exceptions.PermissionDenied):
        detail = str(getattr(exc, "detail", "")) or "Your role does not allow this."
        error = VadError("not-allowed", detail, "Ask an admin of the project for another role.")
        status = 403
    elif isinstance(exc, RequestDataTooBig):
        error, status = errors.too_large(), 413
    elif isinstance(exc, exceptions.APIException):
        status = exc.status_code
        hint = _HINTS.get(status, "Correct the request and send it again.")
        error = VadError("request-invalid", _text(exc.detail), hint, fields=_fields(exc.detail))
        wait = getattr(exc, "wait", None)
        headers = {"Retry-After": str(math.ceil(wait))} if wait else {}
    else:
        return None
    set_rollback()
    return Response(error.to_dict(), status=status, headers=headers)


def _text(detail: Any) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{name}: {_text(part)}" for name, part in detail.items())
    if isinstance(detail, list):
        return " ".join(_text(part) for part in detail)
    return str(detail)


def _fields(detail: Any) -> dict[str, str]:
    if not isinstance(detail, dict):
        return {}
    return {str(name): _text(part) for name, part in detail.items()}


class Cursor(CursorPagination):
    """Newest first, stable while rows arrive."""

    ordering: tuple[str, ...] = ("-created_at", "-id")
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def paginate_queryset(
        self, queryset: Any, request: AnyRequest, view: Any = None
    ) -> list[Any] | None:
        """One page. A cursor that holds no position of this list is 404, as a damaged one is."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError):  # no time, or no number
            raise exceptions.NotFound(self.invalid_cursor_message) from None

    def decode_cursor(self, request: AnyRequest) -> Any:
        found = super().decode_cursor(request)
        if found is not None and not storable(found.position):
            raise exceptions.NotFound(self.invalid_cursor_message)
        return found

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            _size("limit", self.page_size, self.max_page_size),
            {
                "name": "cursor", "in": "query", "description": "a place, out of `next`",
                "schema": {"type": "string", "maxLength": 1000},
            },
        ]  # fmt: skip


class Offset(LimitOffsetPagination):
    """For orders that a cursor cannot keep: by a metric, or of groups."""

    default_limit = 50
    max_limit = 200

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            _size("limit", self.default_limit, self.max_limit),
            {
                "name": "offset", "in": "query", "description": "how many to leave out",
                "schema": {"type": "integer", "minimum": 0},
            },
        ]  # fmt: skip


def _size(name: str, default: int, most: int) -> dict[str, Any]:
    return {
        "name": name, "in": "query", "description": "how many at most",
        "schema": {"type": "integer", "minimum": 1, "maximum": most, "default": default},
    }  # fmt: skip


def int_param(
    request: HttpRequest, name: str, default: int | None, *, least: int, most: int
) -> int | None:
    """A whole number of the query, within bounds; better as a parameter beside the operation.

    Raises:
        VadError: `request-invalid`, naming the parameter.
    """
    return whole(name, "", least=least, most=most, default=default).of(request)


def json_object(
    request: Request, *allowed: str | type, numbers: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The body, a JSON object with no other than these members.

    Args:
        allowed: their names, or a `TypedDict` whose names they are.
        numbers: members in which the view refuses every text itself; they are not looked through.

    Raises:
        VadError: `request-invalid`, naming what is unknown.
    """
    if is_form_media_type(request.content_type) and request.META.get("CONTENT_LENGTH", "0") != "0":
        raise exceptions.UnsupportedMediaType(request.content_type)
    data = request.data
    if not isinstance(data, dict):
        raise VadError(
            "request-invalid", "The body must be a JSON object.", "Send one, with its type."
        )
    names = [
        name for one in allowed for name in ([one] if isinstance(one, str) else one.__annotations__)
    ]
    unknown = {name: f"no such member; known: {', '.join(names)}" for name in data}
    unknown = {name: text for name, text in unknown.items() if name not in names}
    if unknown:
        raise invalid(unknown)
    odd = "holds a character that cannot be stored (NUL, or half of a surrogate pair)"
    texts = {name: value for name, value in data.items() if name not in numbers}
    wrong = {name: odd for name, value in texts.items() if not storable(value)}
    if wrong:
        raise invalid(wrong)
    return data


def storable(value: Any) -> bool:
    """Whether both databases can store all text in it, and a page can show it again.

    A lone surrogate, which JSON can spell, is no text in UTF-8; PostgreSQL has no NUL.
    """
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return all(storable(part) for pair in value.items() for part in pair)
    return not isinstance(value, list) or all(storable(part) for part in value)


def member(data: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    """A member of the body, of this JSON type; `default` when it is absent or null."""
    value = data.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise invalid({name: f"expected {_JSON_TYPES[kind]}, got {str(value)[:40]!r}"})
    return value


def texts(data: dict[str, Any], name: str) -> list[str]:
    """A member of the body that is a list of texts; empty when it is absent."""
    values = member(data, name, list, [])
    if not all(isinstance(value, str) for value in values):
        raise invalid({name: "expected a list of texts"})
    return values


def row(rows: QuerySet[M], data: dict[str, Any], name: str) -> M | None:
    """The row that a member of the body names by its id; None when it is absent.

    Raises:
        VadError: `run-inputs-missing`, there is none among the rows that the person may see.
    """
    text = data.get(name)
    if text is None:
        return None
    try:
        found = rows.filter(pk=uuid.UUID(str(text))).first()
    except ValueError:
        found = None
    if found is None:
        problem = f"there is no {name.replace('_', ' ')} {str(text)[:40]}, or not for you"
        raise VadError(
            "run-inputs-missing", problem.capitalize() + ".", "Choose another.",
            fields={name: problem},
        )  # fmt: skip
    return found


def project_of(request: Request, slug: str | None) -> Project:
    """The named project, else the one that the person works in.

    Raises:
        Http404: it does not exist, or not for this person.
    """
    if not slug:
        if request.project is None:
            raise Http404
        return request.project
    return get_object_or_404(access.projects(request.user), slug=slug)
