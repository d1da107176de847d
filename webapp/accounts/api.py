"""Who is asking, their tokens, and the people of a project, over HTTP."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts import access, audit, invitations, queries, services
from webapp.accounts.models import (
    ApiToken,
    AuditEvent,
    Invitation,
    Membership,
    Project,
    Role,
    Scope,
)
from webapp.accounts.permissions import InBrowser, require_admin
from webapp.accounts.shapes import (
    AuditEventJson,
    InvitationJson,
    MadeInvitationJson,
    MadeTokenJson,
    MeJson,
    MemberJson,
    MemberRole,
    NewInvitation,
    NewToken,
    ProjectDetailJson,
    ProjectJson,
    ProjectName,
    TokenJson,
)
from webapp.accounts.tokens import DAYS, token_create, token_revoke
from webapp.core.api import Cursor, Request, json_object, member
from webapp.core.conditional import require_match, revision, tagged
from webapp.core.openapi import Page, Results, operation, text
from webapp.idempotency.services import idempotent, idempotent_secret

KIND = text("kind", "of this kind", choices=tuple(audit.KINDS))
WORDS = text("q", "who, of what, from where", most=150)


class Me(APIView):
    @operation("Who is asking", returns=MeJson)
    def get(self, request: Request) -> Response:
        """You, your projects and roles, and the token that was used."""
        rows = access.memberships(request.user).select_related("project")
        token = request.user.token
        return Response(
            {
                "username": request.user.username,
                "projects": [
                    {"slug": m.project.slug, "name": m.project.name, "role": m.role}
                    for m in rows.order_by("project__name")
                ],
                "token": token_json(token) if token else None,
            }
        )


# --- tokens ---------------------------------------------------------------------------------


class TokenList(APIView):
    permission_classes = [InBrowser]

    @operation("Your tokens", returns=Results[TokenJson])
    def get(self, request: Request) -> Response:
        return Response({"results": [token_json(t) for t in queries.tokens(request.user)]})

    @operation("Make a token", body=NewToken, returns=MadeTokenJson, status=201)
    @idempotent_secret
    def post(self, request: Request) -> Response:
        """Its text is in this answer and nowhere else."""
        data = json_object(request, NewToken)
        slug = member(data, "project", str, "")
        token, secret = token_create(
            by=request.user,
            name=member(data, "name", str, ""),
            scope=member(data, "scope", str, Scope.READ),
            project=queries.project_of(request.user, slug) if slug else None,
            days=member(data, "days", int, DAYS),
        )
        answer: MadeTokenJson = {**token_json(token), "token": secret}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


class TokenDetail(APIView):
    permission_classes = [InBrowser]

    @operation("Revoke a token")
    def delete(self, request: Request, token_id: int) -> Response:
        token = get_object_or_404(ApiToken, pk=token_id, user=request.user)
        token_revoke(token=token, by=request.user)
        return Response(status=204)


def token_json(token: ApiToken) -> TokenJson:
    return {
        "id": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "scope": token.scope,
        "project": token.project.slug if token.project else None,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "problem": token.problem or None,
    }


# --- projects and their people --------------------------------------------------------------


class ProjectList(APIView):
    def get_permissions(self) -> list[Any]:
        return [IsAuthenticated() if self.request.method in ("GET", "HEAD") else InBrowser()]

    @operation("Projects", returns=Results[ProjectJson])
    def get(self, request: Request) -> Response:
        """Those that you may see."""
        found = access.projects(request.user).order_by("name")
        return Response({"results": [project_json(project) for project in found]})

    @operation("Create a project", body=ProjectName, returns=ProjectJson, status=201)
    @idempotent
    def post(self, request: Request) -> Response:
        """You are its first admin."""
        data = json_object(request, ProjectName)
        made = services.project_create(name=member(data, "name", str, ""), by=request.user)
        return Response(project_json(made), status=201)


class ProjectDetail(APIView):
    @operation("A project and its members", returns=ProjectDetailJson)
    def get(self, request: Request, slug: str) -> Response:
        found = queries.project_of(request.user, slug)
        people = [member_json(m) for m in queries.members(found)]
        answer = Response({**project_json(found), "members": people})
        return tagged(answer, project_revision(found))

    @operation(
        "Rename a project", body=ProjectName, returns=ProjectJson, in_browser=True, if_match=True
    )
    @transaction.atomic
    def patch(self, request: Request, slug: str) -> Response:
        """Its address stays. By admins."""
        found = queries.administered(request.user, slug)
        name = member(json_object(request, ProjectName), "name", str, found.name)
        require_match(request, found, project_revision)
        found = services.project_rename(project=found, name=name, by=request.user)
        return tagged(Response(project_json(found)), project_revision(found))


class MemberDetail(APIView):
    @operation("A member", returns=MemberJson)
    def get(self, request: Request, slug: str, username: str) -> Response:
        found = queries.project_of(request.user, slug)
        return _member_answer(_membership(found, username))

    @operation(
        "Change a member's role",
        body=MemberRole,
        returns=MemberJson,
        in_browser=True,
        if_match=True,
    )
    @transaction.atomic
    def patch(self, request: Request, slug: str, username: str) -> Response:
        """By admins."""
        found = queries.administered(request.user, slug)
        role = member(json_object(request, MemberRole), "role", str, "")
        membership = _membership(found, username)
        require_match(request, membership, member_revision)
        changed = services.member_set_role(
            project=found, user=membership.user, role=role, by=request.user
        )
        return _member_answer(changed)

    @operation("Remove a member, or leave", in_browser=True)
    def delete(self, request: Request, slug: str, username: str) -> Response:
        """Admins remove anybody; you may always leave."""
        found = queries.project_of(request.user, slug)
        if username == request.user.username and request.user.token is None:
            services.project_leave(project=found, by=request.user)
        else:
            require_admin(request.user, found)
            person = _membership(found, username).user
            services.member_remove(project=found, user=person, by=request.user)
        return Response(status=204)


class InvitationList(APIView):
    @operation("Invitations into a project", returns=Results[InvitationJson], in_browser=True)
    def get(self, request: Request, slug: str) -> Response:
        """By admins."""
        found = queries.administered(request.user, slug)
        return Response({"results": [invitation_json(i) for i in queries.invitations(found)]})

    @operation(
        "Invite", body=NewInvitation, returns=MadeInvitationJson, status=201, in_browser=True
    )
    @idempotent_secret
    def post(self, request: Request, slug: str) -> Response:
        """`link` is in this answer and nowhere else. By admins."""
        found = queries.administered(request.user, slug)
        data = json_object(request, NewInvitation)
        made, secret = invitations.invitation_create(
            project=found,
            by=request.user,
            role=member(data, "role", str, Role.MEMBER),
            days=member(data, "days", int, 7),
            max_uses=member(data, "max_uses", int, 1),
            note=member(data, "note", str, ""),
        )
        link = request.build_absolute_uri(reverse("join", args=[secret]))
        answer: MadeInvitationJson = {**invitation_json(made), "link": link}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


class InvitationDetail(APIView):
    @operation("Revoke an invitation", in_browser=True)
    def delete(self, request: Request, slug: str, invitation_id: int) -> Response:
        found = queries.administered(request.user, slug)
        invitation = get_object_or_404(Invitation, pk=invitation_id, project=found)
        invitations.invitation_revoke(invitation=invitation, by=request.user)
        return Response(status=204)


class AuditCursor(Cursor):
    ordering = ("-at", "-id")


class Audit(APIView):
    @operation(
        "The audit log",
        query=[KIND, WORDS],
        returns=Page[AuditEventJson],
        paging=AuditCursor,
        in_browser=True,
    )
    def get(self, request: Request, slug: str) -> Response:
        """Who did what, when and from where, newest first. By admins."""
        found = queries.administered(request.user, slug)
        filters = queries.AuditFilters.of(request.GET)
        events = queries.audit_events(found, filters, by=request.user)
        cursor = AuditCursor()
        part = cursor.paginate_queryset(events, request) or []
        return cursor.get_paginated_response([event_json(event) for event in part])


def project_revision(project: Project) -> str:
    return revision(project, "name")


def member_revision(membership: Membership) -> str:
    return revision(membership, "role")


def _member_answer(membership: Membership) -> Response:
    return tagged(Response(member_json(membership)), member_revision(membership))


def project_json(project: Project) -> ProjectJson:
    return {"slug": project.slug, "name": project.name, "created_at": project.created_at}


def member_json(membership: Membership) -> MemberJson:
    return {"username": membership.user.username, "role": membership.role}


def invitation_json(invitation: Invitation) -> InvitationJson:
    return {
        "id": invitation.pk,
        "note": invitation.note,
        "role": invitation.role,
        "uses": invitation.uses,
        "max_uses": invitation.max_uses,
        "created_by": invitation.created_by.username,
        "created_at": invitation.created_at,
        "expires_at": invitation.expires_at,
        "problem": invitation.problem or None,
    }


def event_json(event: AuditEvent) -> AuditEventJson:
    return {
        "at": event.at,
        "kind": event.kind,
        "by": event.by_name or None,
        "subject": event.subject,
        "detail": event.detail,
        "address": event.address,
        "token": event.via or None,
        "said": audit.KINDS.get(event.kind, event.kind),
    }


def _membership(project: Project, username: str) -> Membership:
    return get_object_or_404(
        Membership.objects.select_related("user"), project=project, user__username=username
    )
