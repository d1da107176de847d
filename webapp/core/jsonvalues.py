"""Values inside JSON columns as SQL expressions that mean the same on SQLite and PostgreSQL.

Django's own key transforms compare JSON with JSON: on SQLite a text with a text, on PostgreSQL
numbers, texts and null by its order of types. Here a number is a number, or NULL.
"""

from __future__ import annotations

import json
from typing import Any

from django.db.models import BooleanField, FloatField, Func, TextField
from django.db.models.expressions import Combinable


class JsonNumber(Func):
    """The number at a path of keys; NULL where there is none, or something else.

    On SQLite it is read from its decimal text like `JsonLiteral`'s, by the same code, so that equal
    numbers are equal.
    """

    output_field = FloatField()

    def __init__(self, column: str | Combinable, *path: str, **extra: Any) -> None:
        super().__init__(column, **extra)
        self.path = path

    def _constructor_args_for_identity(self) -> tuple[str, ...]:
        return self.path

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        path = "$" + "".join(f".{json.dumps(key)}" for key in self.path)
        text = (
            f"(CASE WHEN JSON_TYPE({sql}, %s) IN ('integer', 'real') "
            f"THEN JSON_EXTRACT({sql}, %s) END)"
        )
        return text, (*params, path, *params, path)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        value = f"({sql} #> %s)"
        args = (*params, list(self.path))
        text = f"(CASE WHEN jsonb_typeof({value}) = 'number' THEN {value}::double precision END)"
        return text, (*args, *args)


class JsonText(JsonNumber):
    """The text at a path; `true` and `false` for booleans; NULL for anything else."""

    output_field = TextField()  # type: ignore[assignment]

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        path = "$" + "".join(f".{json.dumps(key)}" for key in self.path)
        text = (
            f"(CASE JSON_TYPE({sql}, %s) WHEN 'text' THEN JSON_EXTRACT({sql}, %s) "
            "WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' END)"
        )
        return text, (*params, path, *params, path)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        value = f"({sql} #> %s)"
        args = (*params, list(self.path))
        text = f"(CASE WHEN jsonb_typeof({value}) IN ('string', 'boolean') THEN {sql} #>> %s END)"
        return text, (*args, *args)


class JsonWithout(Func):
    """A JSON object without one of its keys, as text."""

    output_field = TextField()

    def __init__(self, column: str, key: str, **extra: Any) -> None:
        super().__init__(column, **extra)
        self.key = key

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        return f"JSON_REMOVE({sql}, %s)", (*params, f"$.{json.dumps(self.key)}")

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        return f"({sql} - %s::text)::text", (*params, self.key)


class JsonLiteral(Func):
    """A number to compare a `JsonNumber` with."""

    output_field = FloatField()

    def __init__(self, value: float, **extra: Any) -> None:
        super().__init__(**extra)
        self.value = value

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return "JSON_EXTRACT(%s, '$')", (json.dumps(self.value),)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return "%s::double precision", (self.value,)


class JsonHas(Func):
    """Whether a JSON list of texts has this one among its items; case counts."""

    output_field = BooleanField()

    def __init__(self, column: str, text: str, **extra: Any) -> None:
        super().__init__(column, **extra)
        self.text = text

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        return f"EXISTS(SELECT 1 FROM JSON_EACH({sql}) WHERE value = %s)", (*params, self.text)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        return f"({sql} @> %s::jsonb)", (*params, json.dumps([self.text]))


class Sure(Func):
    """A comparison that is false where a value is missing, so that `not` of it is true there."""

    template = "COALESCE(%(expressions)s, FALSE)"
    output_field = BooleanField()
