"""What an operation of the API takes and answers, said once beside it.

    @operation("Events of a run", query=[text("q", "words to find")], returns=Page[EventJson])
    def get(self, request: Request, run_id: UUID) -> Response:

Types say what is sent: the `TypedDict` that a function is annotated with, or the dataclass that is
written out, so mypy holds the code to what the schema promises. `webapp.core.schema` makes the
OpenAPI document of it, and a test refuses a route without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, NotRequired, TypedDict, TypeVar

from django.http import HttpRequest
from msgspec import Meta

from vad.errors import VadError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Time = Annotated[datetime, Meta(tz=True)]  # written in UTC


class Page(TypedDict, Generic[T]):
    """A part of a list; `next` and `previous` are the addresses of the parts beside it."""

    count: NotRequired[int]
    next: str | None
    previous: str | None
    results: list[T]


class Results(TypedDict, Generic[T]):
    """A list that is short enough to be sent whole."""

    results: list[T]


@dataclass(frozen=True, kw_only=True)
class Param:
    """One parameter of the query."""

    name: str
    help: str
    schema: Mapping[str, Any]
    required: bool = False
    many: bool = False  # may be repeated


@dataclass(frozen=True, kw_only=True)
class Whole(Param):
    """A whole number within bounds."""

    least: int
    most: int
    default: int | None

    def of(self, request: HttpRequest) -> int | None:
        """What the query says, or the default.

        Raises:
            VadError: `request-invalid`, naming the parameter.
        """
        given = request.GET.get(self.name, "")
        if given == "":
            return self.default
        try:
            value = int(given)
        except ValueError:
            value = None
        if value is None or not self.least <= value <= self.most:
            problem = f"{given[:40]!r} is not a whole number from {self.least} to {self.most}"
            raise invalid({self.name: problem})
        return value


def whole(name: str, help: str, *, least: int, most: int, default: int | None = None) -> Whole:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return Whole(name=name, help=help, schema=schema, least=least, most=most, default=default)


def text(
    name: str,
    help: str,
    *,
    choices: Sequence[str] = (),
    most: int = 0,
    required: bool = False,
    many: bool = False,
) -> Param:
    """A text; of `choices` where they are named, of `most` characters at most."""
    schema: dict[str, Any] = {"type": "string"}
    if choices:
        schema["enum"] = list(choices)
    if most:
        schema["maxLength"] = most
    if many:
        schema = {"type": "array", "items": schema}
    return Param(name=name, help=help, schema=schema, required=required, many=many)


def number(name: str, help: str, *, least: float, most: float, default: float) -> Param:
    schema = {"type": "number", "minimum": least, "maximum": most, "default": default}
    return Param(name=name, help=help, schema=schema)


def uuid(name: str, help: str, *, required: bool = False) -> Param:
    return Param(
        name=name, help=help, schema={"type": "string", "format": "uuid"}, required=required
    )


PROJECT = text("project", "the slug of a project; without it the one that you work in")


@dataclass(frozen=True, kw_only=True)
class Operation:
    summary: str
    query: tuple[Param, ...] = ()
    path: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: Any = None
    returns: Any = None
    status: int = 200
    also: tuple[int, ...] = ()
    paging: tuple[Any, ...] = ()
    refuses: tuple[int, ...] = ()
    in_browser: bool = False
    if_match: bool = False


def operation(
    summary: str,
    *,
    query: Sequence[Param] = (),
    path: Mapping[str, Sequence[str]] | None = None,
    body: Any = None,
    returns: Any = None,
    status: int | None = None,
    also: Sequence[int] = (),
    paging: Any = (),
    refuses: Sequence[int] = (),
    in_browser: bool = False,
    if_match: bool = False,
) -> Callable[[F], F]:
    """Describe a method of a view; its docstring says more, where there is more to say.

    Args:
        summary: a few words, for a list of operations.
        query: what `request.GET` may hold.
        path: the values that a part of the address may have, where they are few.
        body: the type of the JSON body, or a media type for one that is no JSON.
        returns: the type of the answer, a media type (or several) for one that is no JSON, None for
            204; unions are alternatives.
        also: further statuses with the same answer.
        paging: the paginator's class (or several), which adds the parameters that it reads.
        refuses: statuses beyond those that any operation may answer (`webapp.core.schema`).
        in_browser: not with a token.
        if_match: `If-Match` is heeded (`webapp.core.conditional`).
    """
    described = Operation(
        summary=summary,
        query=tuple(query),
        path=path or {},
        body=body,
        returns=returns,
        status=status or (204 if returns is None else 200),
        also=tuple(also),
        paging=tuple(paging) if isinstance(paging, list | tuple) else (paging,),
        refuses=tuple(refuses),
        in_browser=in_browser,
        if_match=if_match,
    )

    def put_on(method: F) -> F:
        method.operation = described  # type: ignore[attr-defined]
        return method

    return put_on


def invalid(fields: dict[str, str]) -> VadError:
    """Members of a request that are wrong, all of them at once."""
    listed = "; ".join(f"{name}: {text}" for name, text in fields.items())
    return VadError(
        "request-invalid", f"{listed}.", "Correct the request and send it again.", fields=fields
    )
