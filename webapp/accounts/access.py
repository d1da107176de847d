"""Access is a queryset: what a person may not see does not exist for them (404)."""

from __future__ import annotations

from typing import Self

from django.db import models

from webapp.accounts.models import Role, User

EDITORS = (Role.MEMBER, Role.ADMIN)


class ProjectQuerySet(models.QuerySet):
    """Rows that belong to a project, directly or over `project_path`."""

    project_path = "project"

    def visible_to(self, user: User) -> Self:
        """Rows of projects that the person is in, whatever the role; all for a superuser."""
        if user.is_superuser:
            return self
        return self.filter(**{f"{self.project_path}__membership__user": user})

    def editable_by(self, user: User) -> Self:
        """Rows of projects that the person may change."""
        if user.is_superuser:
            return self
        return self.filter(
            **{
                f"{self.project_path}__membership__user": user,
                f"{self.project_path}__membership__role__in": EDITORS,
            }
        )


def through(path: str) -> type[ProjectQuerySet]:
    """A `ProjectQuerySet` for a model whose project is reached over `path`."""
    return type("ProjectQuerySet", (ProjectQuerySet,), {"project_path": path})
