"""One request to a route, what it says, and what it would have changed; see test_every_route.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection, transaction
from django.http import HttpResponse
from route_rules import Rule
from route_world import World, rows


@dataclass(frozen=True)
class Answer:
    status: int
    to: str
    text: str
    changed: tuple[str, ...] = ()  # tables with other rows than before

    @property
    def outcome(self) -> str:
        if self.status in (401, 403, 404, 405):
            return str(self.status)
        return "login" if self.to.startswith("/login/?next=") else "allowed"


def ask(world: World, name: str, route: str, rule: Rule, method: str, who: str) -> Answer:
    """One request; whatever it did is undone."""
    values = dict(world.values)
    if name.partition(":")[0] == "runs" or name.startswith("api:run"):
        values["run_id"] = values["first"]
    values |= {k: v.format(**world.values) for k, v in rule.args.items()}
    if "{viewer_token}" in rule.args.values():  # each has a token of their own
        own = f"{who}_token" if f"{who}_token" in world.values else "viewer_token"
        values["token_id"] = world.values[own]
    path = _fill(route, values)
    query = "?run={run_id}&run={first}&runs={first},{second}&key={video}&video={video}"
    query += "&run_id={external}&metric_key=loss&experiment_id={experiment}"
    query += "&experiment_name=Default&path={external}"
    body = {k: v.format(**world.values) for k, v in rule.body.items()}
    if rule.of_query:
        query += "".join(f"&{k}={{{k}_given}}" for k in body)
        values |= {f"{k}_given": v for k, v in body.items()}
    extra: dict[str, Any] = {}
    if who in world.headers:
        extra["headers"] = {"Authorization": world.headers[who]}
    writes = _Writes()
    with transaction.atomic(), connection.execute_wrapper(writes):
        call = getattr(world.client(who), method)
        if method == "get":
            answer = call(path + query.format(**values), **extra)
        elif path.startswith("/api/"):
            given = {k: json.loads(v) if v.startswith(("{", "[")) else v for k, v in body.items()}
            answer = call(path, json.dumps(given), content_type="application/json", **extra)
        elif method == "post":
            answer = call(path, body, **extra)
        else:
            answer = call(path + query.format(**values), **extra)
        told = Answer(answer.status_code, answer.get("Location", ""), _text_of(answer))
        if method != "get" and writes.seen and told.outcome in ("allowed", "403", "404"):
            after = rows()
            changed = tuple(label for label in after if after[label] != world.before[label])
            told = replace(told, changed=changed)
        transaction.set_rollback(True)
    return told


class _Writes:
    """Whether anything was written at all, which is seen faster than that it is still the same."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen = self.seen or not sql.lstrip().upper().startswith(
            ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "EXPLAIN")
        )
        return execute(sql, params, many, context)


def _fill(route: str, values: dict[str, str]) -> str:
    for part, value in values.items():
        for converter in ("uuid", "int", "slug", "str", "path"):
            route = route.replace(f"<{converter}:{part}>", value)
    assert "<" not in route, f"give a value for {route}: route_world.py, or .at(...) in TABLE"
    return "/" + route


def _text_of(answer: HttpResponse) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return body.decode("utf-8", "replace")
