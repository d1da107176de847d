"""What changes people, projects and roles."""

from __future__ import annotations

from django.db import transaction
from django.utils.text import slugify

from webapp.accounts.models import Membership, Project, Role, User


@transaction.atomic
def project_create(*, name: str, by: User) -> Project:
    """A project whose first admin is the person who made it."""
    base = slugify(name)[:70] or "project"
    slug, n = base, 1
    while Project.objects.filter(slug=slug).exists():
        n += 1
        slug = f"{base}-{n}"
    project = Project(name=name, slug=slug)
    project.full_clean()
    project.save()
    Membership.objects.create(project=project, user=by, role=Role.ADMIN)
    return project


@transaction.atomic
def first_admin_create(*, username: str, password: str, project_name: str) -> User:
    """A superuser, and the project they start with (the one of that name if it exists)."""
    user = User(username=username, is_staff=True, is_superuser=True)
    user.set_password(password)
    user.full_clean()
    user.save()
    project = Project.objects.filter(name=project_name).first()
    if project is None:
        project_create(name=project_name, by=user)
    else:
        Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    return user
