"""The OpenAPI document in words, for the pages under `/api/v1/docs/`. Pure: no request, no rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

REFS = "#/components/schemas/"
WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "null"}
FORMATS = {"uuid": "id", "date-time": "time, UTC"}
SAMPLES: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A parameter, or a member of an object.

    Args:
        place: path, query or header; empty in an object.
        bounds: range, length and default.
    """

    name: str
    words: str
    place: str = ""
    required: bool = False
    help: str = ""
    bounds: str = ""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A named object."""

    name: str
    text: str
    members: list[Member]


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: str
    text: str
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Operation:
    id: str
    method: str
    path: str
    tag: str
    summary: str
    text: str
    parameters: list[Member]
    body: str
    answers: list[Answer]
    shapes: list[Shape]
    scope: str  # of the token that is needed; empty: in a browser only
    example: str = field(repr=False)


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """All operations, in the order of the document."""
    return [
        _operation(document, path, method, said)
        for path, item in document["paths"].items()
        for method, said in item.items()
    ]


def _operation(
    document: Mapping[str, Any], path: str, method: str, said: Mapping[str, Any]
) -> Operation:
    body = _json_of(said.get("requestBody", {}))
    answers = [_answer(document, status, one) for status, one in said["responses"].items()]
    used = [body, *(_json_of(one) for one in said["responses"].values())]
    scopes = [scope for need in said["security"] for scope in need.get("token", ())]
    parameters = [_parameter(one) for one in said.get("parameters", ())]
    return Operation(
        id=said["operationId"],
        method=method.upper(),
        path=path,
        tag=said["tags"][0],
        summary=said["summary"],
        text=said.get("description", ""),
        parameters=parameters,
        body=body.get("contentMediaType") or (_words(body) if body else ""),
        answers=answers,
        shapes=list(_shapes(document, used)),
        scope=scopes[0] if scopes else "",
        example=_curl(document, path, method.upper(), parameters, body) if scopes else "",
    )


def _json_of(part: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a body or an answer; empty when it has none."""
    return next((one["schema"] for one in part.get("content", {}).values()), {})


def _answer(document: Mapping[str, Any], status: str, said: Mapping[str, Any]) -> Answer:
    if "$ref" in said:
        said = document["components"]["responses"][said["$ref"].rpartition("/")[2]]
    schema = _json_of(said)
    media = schema.get("contentMediaType", "")
    return Answer(
        status=status, text=said["description"], words=media or (_words(schema) if schema else "")
    )


def _parameter(said: Mapping[str, Any]) -> Member:
    return Member(
        name=said["name"],
        place=said["in"],
        required=said.get("required", False),
        help=said.get("description", ""),
        words=_words(said["schema"]),
        bounds=_bounds(said["schema"]),
    )


def _shapes(document: Mapping[str, Any], used: list[Any]) -> Iterator[Shape]:
    """The objects that these schemas name, and those that they name in turn."""
    known = document["components"]["schemas"]
    waiting, seen = _names(used), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in known:
            continue
        seen.add(name)
        schema = known[name]
        waiting += _names(schema)
        needed = schema.get("required", ())
        yield Shape(
            name=name,
            text=schema.get("description", ""),
            members=[
                Member(
                    name=key, words=_words(part), required=key in needed, bounds=_bounds(part),
                    help=part.get("description", ""),
                )
                for key, part in schema.get("properties", {}).items()
            ],
        )  # fmt: skip


def _names(part: Any) -> list[str]:
    if isinstance(part, list):
        return [name for one in part for name in _names(one)]
    if not isinstance(part, Mapping):
        return []
    own = [part["$ref"].removeprefix(REFS)] if isinstance(part.get("$ref"), str) else []
    return own + [name for value in part.values() for name in _names(value)]


def _words(schema: Mapping[str, Any]) -> str:
    """`list of Run`, `id or null`."""
    if "$ref" in schema:
        return schema["$ref"].removeprefix(REFS)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_words(schema.get('items') or {})}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_words(inner)}" if isinstance(inner, Mapping) and inner else "object"
    return FORMATS.get(schema.get("format", "")) or WORDS.get(kind) or kind or "anything"


def _bounds(schema: Mapping[str, Any]) -> str:
    for part in schema.get("anyOf", ()):
        if part.get("type") != "null":
            return _bounds(part)
    said = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        said.append(f"{low} to {high}")
    elif low is not None:
        said.append(f"{low} or more")
    if "maxLength" in schema:
        said.append(f"{schema['maxLength']} characters at most")
    if "maxItems" in schema:
        said.append(f"{schema['maxItems']} at most")
    if "default" in schema:
        said.append(f"{json.dumps(schema['default'])} without it")
    return "; ".join(said)


def _curl(
    document: Mapping[str, Any],
    path: str,
    method: str,
    parameters: list[Member],
    body: Mapping[str, Any],
) -> str:
    """A line for a terminal; `$VADLAB_URL` and `$VADLAB_TOKEN` are the reader's."""
    for one in parameters:
        path = path.replace(f"{{{one.name}}}", f"${one.name.upper()}")
    query = "&".join(
        f"{one.name}=${one.name.upper()}"
        for one in parameters
        if one.place == "query" and one.required
    )
    address = f'"$VADLAB_URL{path}{"?" + query if query else ""}"'
    parts = ["curl" if method == "GET" else f"curl -X {method}", address]
    parts.append('-H "Authorization: Bearer $VADLAB_TOKEN"')
    if any(one.name == "Idempotency-Key" for one in parameters):
        parts.append('-H "Idempotency-Key: $(uuidgen)"')
    if media := body.get("contentMediaType"):
        parts.append(f"-H 'Content-Type: {media}'")
        parts.append("--data-binary @FILE")
    elif body:
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d '{json.dumps(_sample(document, body))}'")
    return " \\\n  ".join(parts)


def _sample(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """Something small that fits: the members that are needed, or the first one."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].removeprefix(REFS)]
    if "anyOf" in schema:
        return _sample(document, schema["anyOf"][0])
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if members := schema.get("properties"):
        names = [*schema.get("required", ())] or [*members][:1]
        return {name: _sample(document, members[name]) for name in names}
    return SAMPLES.get(schema.get("type", ""), "TEXT")
