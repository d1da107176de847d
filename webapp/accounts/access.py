"""Access is a queryset: what a person may not see does not exist for them (404).

A person known by a token is less than the same person in a browser: never a superuser, never an
admin, in one project only where the token says so, and without writing where its scope is `read`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest

from webapp.accounts.models import Membership, Project, Role, Scope, User

EDITORS = (Role.MEMBER, Role.ADMIN)


def memberships(user: User) -> QuerySet[Membership]:
    """The person's memberships, as far as their token reaches."""
    found = Membership.objects.filter(user=user)
    if user.token is not None and user.token.project_id is not None:
        found = found.filter(project=user.token.project_id)
    return found


def projects(user: User) -> QuerySet[Project]:
    """Projects that the person may see."""
    if user.is_superuser:
        return Project.objects.filter(deleting_at=None)
    return Project.objects.filter(pk__in=memberships(user).values("project"))


def administered(user: User) -> QuerySet[Project]:
    """Projects whose people and links the person may change; none with a token."""
    if user.token is not None:
        return Project.objects.none()
    if user.is_superuser:
        return Project.objects.filter(deleting_at=None)
    return Project.objects.filter(membership__user=user, membership__role=Role.ADMIN)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The project that a request works in, and what the person may do there."""

    projects: tuple[Project, ...] = ()  # all to choose from
    project: Project | None = None
    can_edit: bool = False
    can_admin: bool = False

    def put_on(self, request: HttpRequest) -> None:
        """Set what views read of a request."""
        for name in ("projects", "project", "can_edit", "can_admin"):
            setattr(request, name, getattr(self, name))


def place(user: User, chosen: int | None = None) -> Place:
    """The chosen project if the person is in it, else the first one.

    Read from the database at every request, so a role that was taken away is gone at once.
    """
    if user.is_superuser:
        every = tuple(Project.objects.filter(deleting_at=None).order_by("pk"))
        found = next((p for p in every if p.pk == chosen), every[0] if every else None)
        return Place(projects=every, project=found, can_edit=bool(found), can_admin=bool(found))
    mine = list(memberships(user).select_related("project").order_by("project_id"))
    if not mine:
        return Place()
    here = next((m for m in mine if m.project_id == chosen), mine[0])
    return Place(
        projects=tuple(m.project for m in mine),
        project=here.project,
        can_edit=here.role in EDITORS and may_write(user),
        can_admin=here.role == Role.ADMIN and user.token is None,
    )


def may_write(user: User) -> bool:
    """Whether what the request came with allows writing at all."""
    return user.token is None or user.token.scope == Scope.WRITE


class ProjectQuerySet(models.QuerySet):
    """Rows that belong to a project, directly or over `project_path`."""

    project_path = "project"

    def visible_to(self, user: User) -> Self:
        """Rows of projects that the person is in, whatever the role; all for a superuser."""
        if user.is_superuser:
            return self
        return self._of(user)

    def editable_by(self, user: User) -> Self:
        """Rows of projects that the person may change."""
        if not may_write(user):
            return self.none()
        if user.is_superuser:
            return self
        return self._of(user, **{f"{self.project_path}__membership__role__in": EDITORS})

    def _of(self, user: User, **and_also: object) -> Self:
        if user.token is not None and user.token.project_id is not None:
            and_also[self.project_path] = user.token.project_id
        return self.filter(**{f"{self.project_path}__membership__user": user}, **and_also)


def through(path: str) -> type[ProjectQuerySet]:
    """A `ProjectQuerySet` for a model whose project is reached over `path`."""
    return type("ProjectQuerySet", (ProjectQuerySet,), {"project_path": path})
