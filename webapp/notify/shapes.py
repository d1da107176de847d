"""What the API says and takes of notifications: mypy and the OpenAPI document read these types."""

from __future__ import annotations

from typing import Annotated, Literal, Required, TypedDict
from uuid import UUID

from msgspec import Meta

from webapp.core.openapi import Time
from webapp.notify.models import Event, Kind
from webapp.notify.services import MOST_MINUTES

Crosses = Literal["above", "below"]


class ChannelJson(TypedDict):
    """`target`: of a webhook the host alone. `project` is null where it is a person's own."""

    id: int
    kind: str
    name: str
    target: str
    project: str | None
    confirmed: bool
    paused: bool
    created_at: Time


class MadeChannelJson(ChannelJson, total=False):
    """`secret` signs a webhook's messages; it is in this answer and nowhere else."""

    secret: str


class SecretJson(TypedDict):
    """In this answer and nowhere else."""

    secret: str


class NotificationRuleJson(TypedDict):
    """`project`: all its runs; null: your own, or those of the channel's project."""

    id: int
    channel: int
    event: str
    project: str | None
    metric_key: str | None
    crosses: Crosses | None
    value: float | None
    minutes: int | None
    paused: bool
    created_at: Time


class DeliveryJson(TypedDict):
    """One message to one channel. `code`: what the other side answered last."""

    id: UUID
    channel: int
    rule: int | None
    run: UUID | None
    event: str
    subject: str
    status: str
    attempts: int
    code: int | None
    error: str | None
    took_ms: int | None
    created_at: Time
    next_at: Time | None
    ended_at: Time | None


# --- bodies ---------------------------------------------------------------------------------


class NewChannel(TypedDict, total=False):
    """Your own, or of a `project` that you administer."""

    kind: Required[Annotated[str, Meta(extra_json_schema={"enum": Kind.values})]]
    name: Required[Annotated[str, Meta(min_length=1, max_length=80)]]
    target: Required[Annotated[str, Meta(max_length=500, description="an address of mail, or URL")]]
    project: str


class PauseChange(TypedDict):
    paused: bool


class ChannelStep(TypedDict, total=False):
    """`code` of a `confirm`; nothing for the other steps."""

    code: Annotated[str, Meta(max_length=40)]


class NewNotificationRule(TypedDict, total=False):
    """`metric_key`, `crosses` and `value` are of `metric-crossed`, `minutes` of `queue-waits`."""

    channel: Required[Annotated[int, Meta(ge=0, le=2**63 - 1)]]
    event: Required[Annotated[str, Meta(extra_json_schema={"enum": Event.values})]]
    project: Annotated[str, Meta(description="all its runs, by its slug; your own without it")]
    metric_key: Annotated[str, Meta(max_length=120)]
    crosses: Crosses
    value: float | None
    minutes: Annotated[int, Meta(ge=0, le=MOST_MINUTES)]
