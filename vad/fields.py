"""What a configuration of a run is made of: fields that are data, checked when it is built.

A field carries its default, help, unit and limits. The web form, the API, the command line and the
JSON schema are all made from these fields, so there is one place to change. Unknown keys are
refused. The kinds of run are in `vad.configs`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from vad.errors import ConfigError

SCHEMA_VERSION = 1
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bfloat16")


def option(
    default: Any,
    *,
    help: str,
    group: str = "General",
    unit: str = "",
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    choices: tuple[Any, ...] | None = None,
    advanced: bool = False,
) -> Any:
    """A configuration field. `above` is an exclusive lower limit, `min` and `max` are inclusive."""
    limits = {"min": min, "max": max, "above": above, "choices": choices}
    return field(
        default=default,
        metadata={"help": help, "group": group, "unit": unit, "advanced": advanced, **limits},
    )


def is_bare_name(text: str) -> bool:
    """No path: it names a file in a folder that somebody else chooses."""
    return text not in (".", "..") and not any(c in text for c in "/\\\0")


def redefault(config_type: type[RunConfig], name: str, default: Any) -> Any:
    """The field of another configuration, with a default of its own."""
    return field(default=default, metadata=config_type.__dataclass_fields__[name].metadata)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What all runs share. Subclasses set `kind` and `title` and add fields."""

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""

    device: str = option(
        "auto",
        help="Where to compute. 'auto' takes a GPU when there is one, else the CPU.",
        group="Device",
        choices=DEVICES,
    )

    def __post_init__(self) -> None:
        fields = dataclasses.fields(self)
        problems = {f.name: p for f in fields if (p := _problem(getattr(self, f.name), f))}
        problems.update({k: v for k, v in self.cross_check().items() if k not in problems})
        if problems:
            raise ConfigError(problems)

    def cross_check(self) -> dict[str, str]:
        """Problems that involve several fields, by the field to show them at."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; tuples become lists."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, texts: Mapping[str, str] | None = None) -> Self:
        """Build from JSON. Unknown keys and wrong types are refused, all problems at once.

        Args:
            data: values in their JSON types.
            texts: override single fields, as text: options of a command line beside a file.
        """
        over = dict(texts or {})
        return cls._build(
            {**data, **over},
            lambda f, value: (_from_text if f.name in over else _from_json)(f, value),
        )

    @classmethod
    def from_strings(cls, data: Mapping[str, str]) -> Self:
        """Build from text, as a form or a command line gives it. Empty text means the default."""
        given = {name: text for name, text in data.items() if text != ""}
        return cls._build(given, lambda f, value: _from_text(f, value))

    @classmethod
    def read_field(cls, name: str, value: Any, *, is_text: bool = False) -> Any:
        """One value by itself, checked; how it goes with others shows when all are built.

        Raises:
            ValueError: with what is wrong.
        """
        f = next(f for f in _typed_fields(cls) if f.name == name)
        found = (_from_text if is_text else _from_json)(f, value)
        if problem := _problem(found, f):
            raise ValueError(problem)
        return found

    @classmethod
    def _build(cls, data: Mapping[str, Any], read: Callable[[dataclasses.Field, Any], Any]) -> Self:
        known = {f.name: f for f in _typed_fields(cls)}
        problems = {
            name: f"no such field; {cls.kind} runs have: {', '.join(known)}"
            for name in data
            if name not in known
        }
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in known:
                continue
            try:
                values[name] = read(known[name], value)
            except ValueError as exc:
                problems[name] = str(exc)
        try:
            config = cls(**values)
        except ConfigError as exc:
            raise ConfigError({**exc.fields, **problems}) from None
        if problems:
            raise ConfigError(problems)
        return config

    def digest(self) -> str:
        """A content hash: equal configurations have equal digests."""
        text = json.dumps([self.kind, SCHEMA_VERSION, self.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON schema (2020-12) with `x-group`, `x-unit` and `x-advanced` for forms."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": cls.title,
            "type": "object",
            "additionalProperties": False,
            "properties": {f.name: _field_schema(f) for f in _typed_fields(cls)},
        }


def _typed_fields(cls: type[RunConfig]) -> list[dataclasses.Field]:
    """Fields with resolved types (annotations are text under `from __future__`)."""
    hints = typing.get_type_hints(cls)
    found = list(dataclasses.fields(cls))
    for f in found:
        f.type = hints[f.name]
    return found


def _problem(value: Any, f: dataclasses.Field) -> str:
    """What is wrong with one value; empty if nothing is."""
    meta = f.metadata
    if meta["choices"] and value not in meta["choices"]:
        return f"{value!r} is not one of {', '.join(map(str, meta['choices']))}"
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if isinstance(number, float) and not math.isfinite(number):
            return f"{number} is not a finite number"
        if meta["above"] is not None and number <= meta["above"]:
            return f"{number} must be above {meta['above']}"
        if meta["min"] is not None and number < meta["min"]:
            return f"{number} is below the least allowed, {meta['min']}"
        if meta["max"] is not None and number > meta["max"]:
            return f"{number} is above the most allowed, {meta['max']}"
    return ""


def _item_types(f: dataclasses.Field) -> tuple[type, ...]:
    """(int, int) for a `tuple[int, int]` field, else empty."""
    return typing.get_args(f.type) if typing.get_origin(f.type) is tuple else ()


def _base_type(f: dataclasses.Field) -> tuple[type, bool]:
    """The type of a field and whether None is allowed."""
    if isinstance(f.type, types.UnionType):
        args = [a for a in typing.get_args(f.type) if a is not type(None)]
        return args[0], True
    return f.type, False  # type: ignore[return-value]


def _from_json(f: dataclasses.Field, value: Any) -> Any:
    items = _item_types(f)
    if items:
        if not isinstance(value, list | tuple) or len(value) != len(items):
            raise ValueError(f"expected {len(items)} numbers, got {value!r}")
        return tuple(_scalar_from_json(kind, v) for kind, v in zip(items, value, strict=True))
    kind, optional = _base_type(f)
    if value is None and optional:
        return None
    return _scalar_from_json(kind, value)


def _scalar_from_json(kind: type, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("is larger than any number that is kept") from None
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not kind:
        raise ValueError(f"expected {_type_name(kind)}, got {value!r}")
    return value


def _from_text(f: dataclasses.Field, text: Any) -> Any:
    items = _item_types(f)
    if items:
        parts = str(text).replace(",", " ").split()
        if len(parts) != len(items):
            raise ValueError(f"expected {len(items)} numbers, got {text!r}")
        return tuple(_scalar_from_text(kind, p) for kind, p in zip(items, parts, strict=True))
    return _scalar_from_text(_base_type(f)[0], str(text).strip())


def _scalar_from_text(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() in ("true", "yes", "on", "1"):
            return True
        if text.lower() in ("false", "no", "off", "0"):
            return False
        raise ValueError(f"expected yes or no, got {text!r}")
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"expected {_type_name(kind)}, got {text!r}") from None


def _type_name(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]


def _field_schema(f: dataclasses.Field) -> dict[str, Any]:
    meta = f.metadata
    names = {int: "integer", float: "number", bool: "boolean", str: "string"}
    items = _item_types(f)
    default = list(f.default) if isinstance(f.default, tuple) else f.default
    limits = {
        "minimum": meta["min"],
        "maximum": meta["max"],
        "exclusiveMinimum": meta["above"],
    }
    limits = {k: v for k, v in limits.items() if v is not None}
    schema: dict[str, Any] = {
        "description": meta["help"],
        "default": default,
        "x-group": meta["group"],
        "x-unit": meta["unit"],
        "x-advanced": meta["advanced"],
    }
    if items:
        schema |= {
            "type": "array",
            "items": {"type": names[items[0]], **limits},
            "minItems": len(items),
            "maxItems": len(items),
        }
    else:
        schema |= {"type": names[_base_type(f)[0]], **limits}
    if meta["choices"]:
        schema["enum"] = list(meta["choices"])
    return schema
