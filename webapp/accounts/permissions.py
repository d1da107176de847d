"""Who may change a project, for services that have no row to ask yet."""

from __future__ import annotations

from vad.errors import VadError
from webapp.accounts.access import EDITORS
from webapp.accounts.models import Membership, Project, User


def may_edit(user: User, project: Project) -> bool:
    if user.is_superuser:
        return True
    return Membership.objects.filter(user=user, project=project, role__in=EDITORS).exists()


def require_editor(user: User, project: Project | None) -> None:
    """Refuse who may not change the project.

    Raises:
        VadError: `not-allowed`.
    """
    if project is None:
        raise VadError(
            "not-allowed",
            f"{user} is in no project.",
            "Ask an admin of a project to add you.",
        )
    if not may_edit(user, project):
        raise VadError(
            "not-allowed",
            f"{user} may look at {project} but not change it.",
            "Ask an admin of the project for the role of a member.",
        )
