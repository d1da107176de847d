"""All people of the server over HTTP, for those who administer it."""

from __future__ import annotations

from django.db import transaction
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts import passwords, people
from webapp.accounts.models import User
from webapp.accounts.people import Person
from webapp.accounts.people_views import STATES
from webapp.accounts.permissions import require_server_admin
from webapp.accounts.shapes import PasswordLinkJson, PersonChange, PersonJson
from webapp.core.api import Cursor, Request, json_object, member
from webapp.core.conditional import require_match, revision, tagged
from webapp.core.openapi import Page, operation, text
from webapp.idempotency.services import idempotent_secret

WORDS = text("q", "a part of a name, or of the name of a project", most=150)
STATE = text("state", "only these", choices=STATES)


class ByName(Cursor):
    ordering = ("username",)


class PersonList(APIView):
    @operation(
        "People", query=[WORDS, STATE], returns=Page[PersonJson], paging=ByName, in_browser=True
    )
    def get(self, request: Request) -> Response:
        """By name. By superusers."""
        require_server_admin(request.user)
        state = request.GET.get("state", "")
        found = people.users(
            q=request.GET.get("q", "").strip()[:150], state=state if state in STATES else ""
        )
        cursor = ByName()
        part = cursor.paginate_queryset(found, request) or []
        return cursor.get_paginated_response([person_json(p) for p in people.described(part)])


class PersonDetail(APIView):
    @operation("A person", returns=PersonJson, in_browser=True)
    def get(self, request: Request, username: str) -> Response:
        """By superusers."""
        return _answer(_user(request, username))

    @operation(
        "Deactivate, reactivate, or make an admin of the server",
        body=PersonChange,
        returns=PersonJson,
        in_browser=True,
        if_match=True,
    )
    @transaction.atomic
    def patch(self, request: Request, username: str) -> Response:
        """Who is deactivated loses sessions, tokens and links for good; their runs stay. The last
        active admin of the server cannot go. By superusers."""
        user = _user(request, username)
        data = json_object(request, PersonChange)
        active = member(data, "active", bool, user.is_active)
        admin = member(data, "admin", bool, user.is_superuser)
        require_match(request, user, person_revision)
        if active and not user.is_active:
            people.person_reactivate(user=user, by=request.user)
        if admin != user.is_superuser:
            people.person_set_admin(user=user, admin=admin, by=request.user)
        if user.is_active and not active:
            people.person_deactivate(user=user, by=request.user)
        user.refresh_from_db()
        return _answer(user)


class PersonPasswordLink(APIView):
    @operation(
        "Make a link to a new password", returns=PasswordLinkJson, status=201, in_browser=True
    )
    @idempotent_secret
    def post(self, request: Request, username: str) -> Response:
        """`link` is in this answer and nowhere else; it works once. By superusers."""
        user = _user(request, username)
        made, secret = passwords.link_create(user=user, by=request.user)
        link = request.build_absolute_uri(reverse("password", args=[secret]))
        answer: PasswordLinkJson = {"link": link, "expires_at": made.expires_at}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


def _user(request: Request, username: str) -> User:
    require_server_admin(request.user)
    return get_object_or_404(User, username=username)


def _answer(user: User) -> Response:
    [found] = people.described([user])
    return tagged(Response(person_json(found)), person_revision(user))


def person_revision(user: User) -> str:
    return revision(user, "is_active", "is_superuser")


def person_json(person: Person) -> PersonJson:
    return {
        "username": person.user.username,
        "active": person.user.is_active,
        "admin": person.user.is_superuser,
        "joined_at": person.user.date_joined,
        "last_seen_at": person.last_seen_at,
        "projects": [
            {"slug": m.project.slug, "name": m.project.name, "role": m.role}
            for m in person.memberships
        ],
        "sessions": person.sessions,
        "tokens": person.tokens,
        "running": person.running,
        "waiting": person.waiting,
    }
