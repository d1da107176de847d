"""`manage.py load_seed --runs 10000`: fill a project of its own with made-up runs."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.accounts.services import project_create
from webapp.core.terminal import told
from webapp.demo.load import Load, load

SLUG = "load"


class Command(BaseCommand):
    help = "Fill a project with plausible runs from a seed, to see how the pages cope."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=Load.runs)
        parser.add_argument("--points", type=int, default=Load.points, help="of the long curves")
        parser.add_argument("--curves", type=int, default=Load.curves, help="runs with long ones")
        parser.add_argument("--seed", type=int, default=Load.seed)
        parser.add_argument("--project", help=f"short name; default: {SLUG}, made if it is missing")
        parser.add_argument("--user", help="owner of most runs; default: the first admin")
        parser.add_argument(
            "--force", action="store_true", help="also into a project that has real runs"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["runs"] < 1 or options["points"] < 2 or options["curves"] < 0:
            raise CommandError("--runs must be at least 1, --points 2, --curves 0.")
        by = _user(options["user"])
        size = Load(**{name: options[name] for name in ("runs", "points", "curves", "seed")})
        try:
            load(
                project=_project(options["project"], by),
                by=by,
                size=size,
                force=options["force"],
                say=self.stdout.write,
            )
        except VadError as exc:
            raise CommandError(told(exc)) from None


def _user(name: str | None) -> User:
    found = User.objects.filter(username=name) if name else User.objects.filter(is_superuser=True)
    user = found.order_by("pk").first()
    if user is None:
        raise CommandError(
            f"There is no person {name!r}." if name else "There is no admin: manage.py first_admin"
        )
    return user


def _project(slug: str | None, by: User) -> Project:
    project = Project.objects.filter(slug=slug or SLUG).first()
    if project is None and slug:
        raise CommandError(f"There is no project {slug!r}.")
    return project or project_create(name="Load", by=by)
