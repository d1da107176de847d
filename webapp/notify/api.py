"""Notifications over HTTP."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.models import Project, User
from webapp.accounts.queries import administered
from webapp.core.api import Cursor, Request, invalid, json_object, member, project_of
from webapp.core.openapi import Page, Results, operation, text
from webapp.idempotency.services import idempotent, idempotent_secret
from webapp.notify import queries, services
from webapp.notify.models import Channel, Delivery, Kind, Rule, Status
from webapp.notify.shapes import (
    ChannelJson,
    ChannelStep,
    DeliveryJson,
    MadeChannelJson,
    NewChannel,
    NewNotificationRule,
    NotificationRuleJson,
    PauseChange,
    SecretJson,
)

OWNER = text("project", "of a project that you administer, by its slug; your own without it")
STATUS = text("status", "of this status", choices=("", *Status.values))
STEPS = ("test", "confirm", "secret")
ONCE = {"Cache-Control": "no-store"}  # an answer with a secret


class ChannelList(APIView):
    @operation("Channels", query=[OWNER], returns=Results[ChannelJson])
    def get(self, request: Request) -> Response:
        found = queries.channels(_owner(request, request.GET.get("project")), request.user)
        return Response({"results": [_channel(row) for row in found]})

    @operation("Make a channel", body=NewChannel, returns=MadeChannelJson, status=201)
    @idempotent_secret
    def post(self, request: Request) -> Response:
        """Mail begins once the code that is sent there was entered. A webhook's `secret` is in this
        answer and nowhere else.
        """
        data = json_object(request, NewChannel)
        made = services.channel_create(
            owner=_owner(request, member(data, "project", str, "")),
            kind=member(data, "kind", str, ""),
            name=member(data, "name", str, ""),
            target=member(data, "target", str, ""),
            by=request.user,
        )
        answer: MadeChannelJson = {**_channel(made)}
        if made.kind == Kind.WEBHOOK:
            answer["secret"] = made.secret
        return Response(answer, status=201, headers=ONCE)


class ChannelDetail(APIView):
    @operation("Pause or resume a channel", body=PauseChange, returns=ChannelJson)
    def patch(self, request: Request, channel_id: int) -> Response:
        """Nothing is sent meanwhile, and nothing that happens meanwhile is told later."""
        found = _channel_of(request, channel_id)
        paused = _flag(json_object(request, PauseChange))
        services.channel_pause(channel=found, paused=paused, by=request.user)
        found.refresh_from_db()
        return Response(_channel(found))

    @operation("Delete a channel")
    def delete(self, request: Request, channel_id: int) -> Response:
        """With its rules, and what it was told."""
        services.channel_delete(channel=_channel_of(request, channel_id), by=request.user)
        return Response(status=204)


class ChannelAction(APIView):
    @operation(
        "Test or confirm a channel, or renew its secret",
        path={"action": STEPS},
        body=ChannelStep,
        returns=ChannelJson | DeliveryJson | SecretJson,
        also=(202,),
        refuses=(429,),
    )
    def post(self, request: Request, channel_id: int, action: str) -> Response:
        """`test` answers 202 with the delivery that will be sent; `confirm` takes the `code` that
        was mailed, and answers with the channel; `secret` makes a webhook's old one worthless. No
        `Idempotency-Key`: nothing lasting is made, and a new secret's answer must not be kept.
        """
        if action not in STEPS:
            raise Http404
        found = _channel_of(request, channel_id)
        if action == "test":
            made = services.channel_test(channel=found, by=request.user)
            return Response(_delivery(made), status=202)
        if action == "secret":
            renewed: SecretJson = {"secret": services.secret_renew(channel=found, by=request.user)}
            return Response(renewed, headers=ONCE)
        code = member(json_object(request, ChannelStep), "code", str, "")
        services.channel_confirm(channel=found, code=code, by=request.user)
        found.refresh_from_db()
        return Response(_channel(found))


class RuleList(APIView):
    @operation("Rules of notification", query=[OWNER], returns=Results[NotificationRuleJson])
    def get(self, request: Request) -> Response:
        found = queries.rules(_owner(request, request.GET.get("project")), request.user)
        return Response({"results": [_rule(row) for row in found]})

    @operation(
        "Make a rule of notification",
        body=NewNotificationRule,
        returns=NotificationRuleJson,
        status=201,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """The channel is told when it comes true."""
        data = json_object(request, NewNotificationRule)
        crosses = member(data, "crosses", str, "above")
        if crosses not in ("above", "below"):
            raise invalid({"crosses": "above or below"})
        value: Any = data.get("value")
        if value is not None and type(value) not in (int, float):
            raise invalid({"value": "expected a number"})
        if data.get("channel") is None:
            raise invalid({"channel": "the id of the channel to tell"})
        slug = member(data, "project", str, "")
        made = services.rule_create(
            channel=_channel_of(request, member(data, "channel", int, 0)),
            event=member(data, "event", str, ""),
            project=project_of(request, slug) if slug else None,
            metric_key=member(data, "metric_key", str, ""),
            above=crosses == "above",
            value=None if value is None else _float(value),
            minutes=member(data, "minutes", int, 0) or None,
            by=request.user,
        )
        return Response(_rule(made), status=201)


class RuleDetail(APIView):
    @operation(
        "Pause or resume a rule of notification", body=PauseChange, returns=NotificationRuleJson
    )
    def patch(self, request: Request, rule_id: int) -> Response:
        found = _rule_of(request, rule_id)
        paused = _flag(json_object(request, PauseChange))
        services.rule_pause(rule=found, paused=paused, by=request.user)
        found.refresh_from_db()
        return Response(_rule(found))

    @operation("Delete a rule of notification")
    def delete(self, request: Request, rule_id: int) -> Response:
        """What it told stays in the log."""
        services.rule_delete(rule=_rule_of(request, rule_id), by=request.user)
        return Response(status=204)


class Deliveries(APIView):
    @operation("What was told", query=[OWNER, STATUS], returns=Page[DeliveryJson], paging=Cursor)
    def get(self, request: Request) -> Response:
        """And what became of it, the newest first."""
        status = request.GET.get("status", "")
        if status and status not in Status.values:
            raise invalid({"status": f"none of {', '.join(Status.values)}"})
        owner = _owner(request, request.GET.get("project"))
        found: QuerySet[Delivery] = queries.deliveries(owner, request.user, status=status)
        pages = Cursor()
        rows = pages.paginate_queryset(found, request, view=self) or []
        return pages.get_paginated_response([_delivery(row) for row in rows])


def _owner(request: Request, slug: str | None) -> User | Project:
    return administered(request.user, slug) if slug else request.user


def _channel_of(request: Request, pk: int) -> Channel:
    found = Channel.objects.manageable_by(request.user)
    return get_object_or_404(found, pk=pk if 0 <= pk < 1 << 63 else -1)


def _rule_of(request: Request, pk: int) -> Rule:
    found = Rule.objects.manageable_by(request.user).select_related("channel", "project")
    return get_object_or_404(found, pk=pk if 0 <= pk < 1 << 63 else -1)


def _flag(data: dict[str, Any]) -> bool:
    if type(data.get("paused")) is not bool:
        raise invalid({"paused": "expected true or false"})
    return data["paused"]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise invalid({"value": "too large a number"}) from None


def _channel(row: Channel) -> ChannelJson:
    return {
        "id": row.pk,
        "kind": row.kind,
        "name": row.name,
        "target": row.shown,
        "project": row.project.slug if row.project else None,
        "confirmed": row.confirmed_at is not None,
        "paused": row.paused,
        "created_at": row.created_at,
    }


def _rule(row: Rule) -> NotificationRuleJson:
    metric = row.value is not None
    return {
        "id": row.pk,
        "channel": row.channel_id,
        "event": row.event,
        "project": row.project.slug if row.project else None,
        "metric_key": row.metric_key or None,
        "crosses": ("above" if row.above else "below") if metric else None,
        "value": row.value,
        "minutes": row.minutes,
        "paused": row.paused,
        "created_at": row.created_at,
    }


def _delivery(row: Delivery) -> DeliveryJson:
    return {
        "id": row.pk,
        "channel": row.channel_id,
        "rule": row.rule_id,
        "run": row.run_id,
        "event": row.event,
        "subject": row.subject,
        "status": row.status,
        "attempts": row.attempts,
        "code": row.code,
        "error": row.error or None,
        "took_ms": row.took_ms,
        "created_at": row.created_at,
        "next_at": row.next_at if row.status == Status.PENDING else None,
        "ended_at": row.ended_at,
    }
