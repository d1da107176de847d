"""Who may change a project, for services that have no row to ask yet; what needs a browser."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import IsAuthenticated

from vad.errors import VadError
from webapp.accounts import access
from webapp.accounts.models import Project, User


class InBrowser(IsAuthenticated):
    """Signed in with a browser: a token that leaked must not make others, or let people in."""

    message = "A token may not do this: sign in with a browser."

    def has_permission(self, request: Any, view: Any) -> bool:
        return super().has_permission(request, view) and request.auth is None


def may_edit(user: User, project: Project) -> bool:
    if not access.may_write(user):
        return False
    if user.is_superuser:
        return True
    mine = access.memberships(user)
    return mine.filter(project=project, role__in=access.EDITORS).exists()


def require_editor(user: User, project: Project | None) -> None:
    """Refuse who may not change the project.

    Raises:
        VadError: `not-allowed`.
    """
    if project is None:
        raise VadError(
            "not-allowed",
            f"{user} is in no project.",
            "Ask an admin of a project for an invitation, or create a project of your own.",
        )
    if not may_edit(user, project):
        raise VadError(
            "not-allowed",
            f"{user} may look at {project} but not change it.",
            "Ask an admin of the project for the role of a member.",
        )


def require_admin(user: User, project: Project) -> None:
    """Refuse who may not change the project's people.

    Raises:
        VadError: `not-allowed`.
    """
    if not access.administered(user).filter(pk=project.pk).exists():
        raise VadError(
            "not-allowed",
            f"Only an admin of {project} may do this, signed in with a browser.",
            "Ask an admin of the project.",
        )


def require_server_admin(user: User) -> None:
    """Refuse who does not administer the server; nobody does with a token.

    Raises:
        VadError: `not-allowed`.
    """
    if not user.is_superuser or user.token is not None:
        raise VadError(
            "not-allowed",
            "Only who administers the server may do this, signed in with a browser.",
            "Ask them.",
        )
