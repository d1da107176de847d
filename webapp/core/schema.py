"""The OpenAPI 3.1 document, made from what stands beside each operation (`webapp.core.openapi`)."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import msgspec
from drf_spectacular.drainage import warn
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from vad.configs import CONFIGS
from vad.errors import CATALOGUE
from webapp.accounts.permissions import InBrowser
from webapp.core.openapi import Operation

REFS = "#/components/schemas/"
WRITES = ("POST", "PUT", "PATCH", "DELETE")
# Status: name of the component, and whose turn it is.
REFUSALS: dict[int, tuple[str, str]] = {
    400: ("Unreadable", "The request cannot be read, or a parameter is out of range."),
    401: ("NotSignedIn", "Nobody is signed in, or the token does not hold."),
    403: ("NotAllowed", "Your role, or the token's scope, does not allow this."),
    404: ("NotFound", "It is not there, or not for you."),
    406: ("NotAcceptable", "No type that `Accept` names can be sent."),
    409: ("Conflict", "The state does not allow this, or not any more."),
    410: ("Gone", "It was there, and can be used no more."),
    412: ("Changed", "Somebody changed it since you read it (`If-Match`)."),
    413: ("TooLarge", "The body is larger than this server reads."),
    415: ("NotJson", "The body has to be `application/json`."),
    422: ("Impossible", "Understood, but it cannot be done as it was asked."),
    429: ("TooMany", "Too many at once, or too many failed tries; wait."),
    503: ("Unavailable", "The server lacks something that it needs for this, now or at all."),
    507: ("NoRoom", "The server's disk is full."),
}
ALWAYS = (400, 401, 403, 404, 406, 422)
WITH_BODY = (409, 413, 415)

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key", "in": "header",
    "description": "Made up by the client for one request. The same request again with the same "
    "key, within a day, gets the first answer and makes nothing new.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}  # fmt: skip

IF_MATCH = {
    "name": "If-Match", "in": "header",
    "description": "An ETag that was read: nothing is changed where somebody else did since (412).",
    "schema": {"type": "string", "maxLength": 1000},
}  # fmt: skip
IF_NONE_MATCH = {
    "name": "If-None-Match", "in": "header",
    "description": "An ETag that was read: 304 without a body while it is the same.",
    "schema": {"type": "string", "maxLength": 1000},
}  # fmt: skip
ETAG = {"ETag": {"schema": {"type": "string"}}}

_ERROR = {
    "type": "object",
    "description": "What happened, to which thing, and what to do.",
    "required": ["code", "message", "hint", "problems", "fields"],
    "properties": {
        "code": {"type": "string", "enum": sorted(CATALOGUE)},
        "message": {"type": "string"},
        "hint": {"type": "string"},
        "problems": {"type": "array", "items": {"type": "string"}},
        "fields": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}},
}
COMPONENTS = {
    "schemas": {
        "Error": _ERROR,
        **{
            f"Config_{kind}": {k: v for k, v in config.json_schema().items() if k != "$schema"}
            for kind, config in CONFIGS.items()
        },
    },
    "responses": {
        name: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": f"{REFS}Error"}}},
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, (name, text) in REFUSALS.items()
    },
}


def ours(endpoints: list[tuple[Any, ...]], **kwargs: Any) -> list[tuple[Any, ...]]:
    """Our own API alone, not those of others that are spoken; named in the settings."""
    return [one for one in endpoints if one[0].startswith("/api/v1/")]


def complete(result: dict[str, Any], generator: Any, **kwargs: Any) -> dict[str, Any]:
    """Add what all operations refer to; named in the settings."""
    components = result.setdefault("components", {})
    for kind, parts in COMPONENTS.items():
        components[kind] = {**components.get(kind, {}), **parts}
    return result


class Schema(AutoSchema):
    """One operation's part of the document."""

    @property
    def described(self) -> Operation | None:
        method = getattr(self.view, self.method.lower())
        return getattr(method, "operation", None)

    def get_operation_id(self) -> str:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self.view).__name__).lower()
        return f"{self.method.lower()}_{words}"

    def get_summary(self) -> str | None:
        if self.described is None:
            warn(f"no @operation describes {self.method} {self.path} (webapp/core/openapi.py)")
            return None
        return self.described.summary

    def get_description(self) -> str:  # type: ignore[override]  # as in drf-spectacular
        return inspect.getdoc(getattr(self.view, self.method.lower())) or ""

    def _get_parameters(self) -> list[dict[str, Any]]:
        found = self._resolve_path_parameters(re.findall(r"{([^}]+)}", self.path))
        if self.described is None:
            return found
        for parameter in found:
            if parameter["schema"].get("type") == "integer":
                parameter["schema"].setdefault("minimum", 0)  # an address has digits only
            if parameter["name"] in self.described.path:
                parameter["schema"] = {
                    "type": "string", "enum": list(self.described.path[parameter["name"]])
                }  # fmt: skip
        for asked in self.described.query:
            parameter = {
                "in": "query", "name": asked.name, "description": asked.help,
                "schema": dict(asked.schema),
            }  # fmt: skip
            if asked.required:
                parameter["required"] = True
            found.append(parameter)
        if getattr(getattr(self.view, self.method.lower()), "idempotent", False):
            found.append(dict(IDEMPOTENCY_KEY))
        if self.described.if_match:
            found.append(dict(IF_MATCH))
        if self.method == "GET":
            found.append(dict(IF_NONE_MATCH))
        return found + list(self._paging(self.described))

    def _paging(self, described: Operation) -> Iterator[dict[str, Any]]:
        names: set[str] = set()
        for paginator in described.paging:
            for parameter in paginator().get_schema_operation_parameters(self.view):
                if parameter["name"] not in names:
                    names.add(parameter["name"])
                    yield parameter

    def _get_request_body(self, direction: Any = "request") -> dict[str, Any] | None:
        if self.described is None or self.described.body is None:
            return None
        if isinstance(self.described.body, str):
            media = self.described.body
            return {"content": {media: {"schema": _file(media)}}, "required": True}
        schema = self.of_type(self.described.body, closed=True)
        return {"content": {"application/json": {"schema": schema}}, "required": True}

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        described = self.described
        if described is None:
            return {"200": {"description": ""}}
        answer: dict[str, Any] = {"description": described.summary}
        files = described.returns
        if isinstance(files, str | tuple):
            answer["content"] = {
                media: {"schema": _file(media)}
                for media in ([files] if isinstance(files, str) else files)
            }
        elif described.returns is not None:
            schema = self.of_type(described.returns)
            answer["content"] = {"application/json": {"schema": schema}}
        found = {str(status): answer for status in (described.status, *described.also)}
        if self.method == "GET":
            answer["headers"] = dict(ETAG)
            found["304"] = {"description": "It is as `If-None-Match` says.", "headers": dict(ETAG)}
        refusals = {*ALWAYS, *described.refuses, *(WITH_BODY if self.method in WRITES else ())}
        if described.if_match:
            refusals.add(412)
        if 416 in refusals:
            refusals.discard(416)
            found["416"] = {"description": "The file has no such range."}
        for status in sorted(refusals):
            found[str(status)] = {"$ref": f"#/components/responses/{REFUSALS[status][0]}"}
        return found

    def of_type(self, hint: Any, *, closed: bool = False) -> dict[str, Any]:
        """The JSON schema of a type; named ones become components.

        Args:
            closed: it has these members and no others, as `json_object` sees to.
        """
        if get_origin(hint) in (Union, types.UnionType):
            return {"anyOf": [self.of_type(part) for part in get_args(hint)]}
        (schema,), parts = msgspec.json.schema_components([hint], ref_template=REFS + "{name}")
        for name, part in parts.items():
            if closed and schema == {"$ref": REFS + name}:
                part["additionalProperties"] = False
            self._register(_named(name), _renamed(part))
        return _renamed(schema)

    def _register(self, name: str, schema: dict[str, Any]) -> None:
        component = ResolvedComponent(
            name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
        )
        if component not in self.registry:
            self.registry.register(component)
        elif self.registry[component].schema != schema:
            warn(f"two types are named {name}; the API's names have to be different")


def _file(media_type: str) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": media_type}


def _named(name: str) -> str:
    """`Page_RunJson_` is `RunPage`."""
    inner = re.fullmatch(r"(\w+?)_(\w+)_", name)
    outer, name = (inner[1], inner[2]) if inner else ("", name)
    return name.removesuffix("Json") + outer


def _renamed(part: Any) -> Any:
    """The same schema with names as clients see them."""
    if isinstance(part, list):
        return [_renamed(item) for item in part]
    if not isinstance(part, dict):
        return part
    named = isinstance(part.get("title"), str)  # the schema; a member `title` has one of its own
    found = {k: _renamed(value) for k, value in part.items() if not (named and k == "title")}
    if isinstance(found.get("$ref"), str):
        found["$ref"] = REFS + _named(found["$ref"].removeprefix(REFS))
    return found


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "webapp.core.rest.SessionAuth"
    name = ["session", "csrf"]

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        if auto_schema.method in WRITES:
            return {"session": [], "csrf": []}
        return {"session": []}

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        return [
            {
                "type": "apiKey", "in": "cookie", "name": "sessionid",
                "description": "The browser's session.",
            },
            {
                "type": "apiKey", "in": "header", "name": "X-CSRFToken",
                "description": "The text of the cookie `csrftoken`; with a session, to change.",
            },
        ]  # fmt: skip


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "webapp.accounts.tokens.TokenAuth"
    name = "token"

    def get_security_requirement(
        self, auto_schema: Any
    ) -> dict[str, list[str]] | list[dict[str, list[str]]]:
        described, asked = auto_schema.described, auto_schema.view.get_permissions()
        if (described and described.in_browser) or any(isinstance(p, InBrowser) for p in asked):
            return []
        return {"token": ["write" if auto_schema.method in WRITES else "read"]}

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "vad_…",
            "description": "A personal token, made under Settings, Tokens. Its scope is `read`, or "
            "`write`, which may read, too.",
        }
