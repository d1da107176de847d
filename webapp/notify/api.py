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
from webapp.notify import queries, services
from webapp.notify.models import Channel, Delivery, Kind, Rule, Status


class ChannelList(APIView):
    """GET: one's own channels, or with `?project=` those of a project that one administers.

    POST: `kind` (`mail`, `webhook`), `name`, `target`, `project`. A webhook's `secret` is in this
    answer alone.
    """

    def get(self, request: Request) -> Response:
        found = queries.channels(_owner(request, request.GET.get("project")), request.user)
        return Response({"results": [_channel(row) for row in found]})

    def post(self, request: Request) -> Response:
        data = json_object(request, "kind", "name", "target", "project")
        made = services.channel_create(
            owner=_owner(request, member(data, "project", str, "")),
            kind=member(data, "kind", str, ""),
            name=member(data, "name", str, ""),
            target=member(data, "target", str, ""),
            by=request.user,
        )
        secret = {"secret": made.secret} if made.kind == Kind.WEBHOOK else {}
        return Response({**_channel(made), **secret}, status=201)


class ChannelDetail(APIView):
    """PATCH: `paused`. DELETE: with its rules and its log."""

    def patch(self, request: Request, channel_id: int) -> Response:
        found = _channel_of(request, channel_id)
        paused = _flag(json_object(request, "paused"))
        services.channel_pause(channel=found, paused=paused, by=request.user)
        found.refresh_from_db()
        return Response(_channel(found))

    def delete(self, request: Request, channel_id: int) -> Response:
        services.channel_delete(channel=_channel_of(request, channel_id), by=request.user)
        return Response(status=204)


class ChannelAction(APIView):
    """POST: `test`; `confirm` with the `code`; `secret` for a new one, in this answer alone."""

    def post(self, request: Request, channel_id: int, action: str) -> Response:
        if action not in ("test", "confirm", "secret"):
            raise Http404
        found = _channel_of(request, channel_id)
        if action == "test":
            made = services.channel_test(channel=found, by=request.user)
            return Response(_delivery(made), status=202)
        if action == "secret":
            return Response({"secret": services.secret_renew(channel=found, by=request.user)})
        code = member(json_object(request, "code"), "code", str, "")
        services.channel_confirm(channel=found, code=code, by=request.user)
        found.refresh_from_db()
        return Response(_channel(found))


class RuleList(APIView):
    """GET: rules, as channels are listed. POST: a rule of a channel."""

    def get(self, request: Request) -> Response:
        found = queries.rules(_owner(request, request.GET.get("project")), request.user)
        return Response({"results": [_rule(row) for row in found]})

    def post(self, request: Request) -> Response:
        data = json_object(
            request, "channel", "event", "project", "metric_key", "crosses", "value", "minutes"
        )
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
    """PATCH: `paused`. DELETE: what it told stays in the log."""

    def patch(self, request: Request, rule_id: int) -> Response:
        found = _rule_of(request, rule_id)
        paused = _flag(json_object(request, "paused"))
        services.rule_pause(rule=found, paused=paused, by=request.user)
        found.refresh_from_db()
        return Response(_rule(found))

    def delete(self, request: Request, rule_id: int) -> Response:
        services.rule_delete(rule=_rule_of(request, rule_id), by=request.user)
        return Response(status=204)


class Deliveries(APIView):
    """GET: what was told and what became of it, the newest first; `?project=&status=`."""

    def get(self, request: Request) -> Response:
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


def _channel(row: Channel) -> dict[str, Any]:
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


def _rule(row: Rule) -> dict[str, Any]:
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


def _delivery(row: Delivery) -> dict[str, Any]:
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
