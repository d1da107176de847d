"""What the API says and takes of notifications, as types."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time


class ChannelJson(TypedDict):
    """`secret` of a new webhook is in that answer alone."""

    id: int
    kind: str
    name: str
    target: str
    project: str | None
    confirmed: bool
    paused: bool
    created_at: Time
    secret: NotRequired[str]


class SecretJson(TypedDict):
    secret: str


class RuleJson(TypedDict):
    id: int
    channel: int
    event: str
    project: str | None
    metric_key: str | None
    crosses: str | None
    value: float | None
    minutes: int | None
    paused: bool
    created_at: Time


class DeliveryJson(TypedDict):
    id: UUID
    channel: int
    rule: int | None
    run: UUID | None
    event: str
    subject: str
    status: str
    attempts: int
    code: Any
    error: Any
    took_ms: int | None
    created_at: Time
    next_at: Time | None
    ended_at: Time | None


class NewChannel(TypedDict, total=False):
    kind: Required[Literal["mail", "webhook"]]
    name: str
    target: str
    project: str


class NewRule(TypedDict, total=False):
    channel: Required[int]
    event: Required[str]
    project: str
    metric_key: str
    crosses: Literal["above", "below"]
    value: float | None
    minutes: Annotated[int, Meta(ge=0)]


class Pausing(TypedDict):
    paused: bool


class Code(TypedDict, total=False):
    """The `code` that was sent, to confirm; nothing for the others."""

    code: str
