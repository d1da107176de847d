"""Who may do what with a route, and what a request then comes to; see test_every_route.py."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum


class Level(IntEnum):
    ANYBODY = 0  # also who is not signed in
    PERSON = 1  # who is signed in, whatever their projects
    VIEWER = 2
    MEMBER = 3
    ADMIN = 4
    SERVER = 5  # who administers the server: none of those who ask here
    KEY = 6  # a machine with a key of its own; for people, who have none, it is not there


@dataclass(frozen=True)
class Rule:
    read: Level | None = None  # None: GET is not taken
    write: Level | None = None  # None: no other method is taken
    in_browser: str = ""  # "all" or "writes": an endpoint for sessions alone
    of_query: bool = False  # the query or the body, not the path, names a thing of the project
    search: bool = False  # asked by POST, and changes nothing
    nothing: bool = False  # 404, whoever asks
    quiet: bool = False  # refuses a write by doing nothing, without a word
    body: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)

    def sends(self, **body: str) -> Rule:
        """`{name}` in a text becomes that of `values`."""
        return replace(self, body=body)

    def named(self) -> Rule:
        return replace(self, of_query=True)

    def at(self, **args: str) -> Rule:
        return replace(self, args=args)


WHO = (
    "nobody", "link holder", "viewer", "member", "admin", "stranger", "read token", "write token",
)  # fmt: skip
LEVELS = {
    "nobody": Level.ANYBODY, "link holder": Level.ANYBODY, "viewer": Level.VIEWER,
    "member": Level.MEMBER, "admin": Level.ADMIN,
    "stranger": Level.MEMBER,  # of a project of their own
    "read token": Level.VIEWER, "write token": Level.MEMBER,
}  # fmt: skip
TOKENS = ("read token", "write token")
STRANGERS = ("nobody", "link holder")  # who reads one report by its link has no other address


def expected(name: str, route: str, rule: Rule, method: str, who: str) -> set[str]:
    """What the table says that the request comes to."""
    level = rule.read if method == "get" else rule.write
    assert level is not None
    api = route.startswith("api/") and not name.startswith("api-")  # its documentation is pages
    if level == Level.ANYBODY:
        return {"allowed", "405"}  # the sign-in page sends who is signed in on, by any method
    if level == Level.KEY:
        return {"404"}
    if who in STRANGERS or (who in TOKENS and not api):
        return {"401"} if api else {"login"}
    if who in TOKENS and (rule.in_browser == "all" or (rule.in_browser and method != "get")):
        return {"403"}
    if who == "read token" and method != "get" and not rule.search:
        return {"403"}
    if rule.nothing:
        return {"404"}
    if level == Level.PERSON:
        return {"allowed"}
    in_path = any(part in route for part in ("<uuid:", "<int:", "<slug:slug>"))
    if who == "stranger" and (in_path or rule.of_query) and level != Level.SERVER:
        return {"404"}
    if LEVELS[who] >= level:
        return {"allowed"}
    return {"allowed"} if rule.quiet else {"403", "404"}


def refused_quietly(rule: Rule, who: str) -> bool:
    return rule.quiet and (who == "stranger" or LEVELS[who] < (rule.write or Level.ANYBODY))
