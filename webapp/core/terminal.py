"""What the management commands share: who and where, errors without a trace, waiting for runs."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, close_old_connections

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.demo.display import Display
from webapp.fleet.models import Worker
from webapp.runs.models import ENDED, Run, State

POLL_S = 0.5


class VadCommand(BaseCommand):
    """A command that acts for a person in a project. A `VadError` becomes a few plain lines."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="act as this person; default: the first admin")
        parser.add_argument("--project", help="short name of the project; default: the first")
        parser.add_argument("--wait", action="store_true", help="show progress until all has ended")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            by = _user(options["user"])
            runs = self.act(_project(options["project"]), by, options)
        except VadError as exc:
            raise CommandError(told(exc)) from None
        except DatabaseError as exc:
            raise CommandError(
                f"The database cannot be used: {exc}. Bring it up to date: manage.py migrate"
            ) from None
        for run in runs:
            self.stdout.write(f"{run.pk}  {run.kind}  {run.state}  {run.name}")
        if options["wait"]:
            self.watch(runs)

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        """Queue what the command is for, and return it."""
        raise NotImplementedError

    def watch(self, runs: Sequence[Run]) -> None:
        """Show the runs until all have ended, or cannot go on.

        Raises:
            CommandError: one did not succeed.
        """
        display = Display(cast(TextIO, self.stdout._out))  # itself: no style, no line ends
        if not Worker.objects.alive().exists():
            display.note("No worker is alive; the runs wait for one: manage.py serve")
        try:
            while True:
                for run in runs:
                    run.refresh_from_db()
                display.runs(runs)
                if all(run.state in ENDED or _stuck(run) for run in runs):
                    break
                time.sleep(POLL_S)
                close_old_connections()
        except KeyboardInterrupt:
            self.stdout.write("They go on without this terminal.")
            return
        bad = [_end(run) for run in runs if run.state != State.SUCCEEDED]
        if bad:
            raise CommandError("\n".join(bad))


def _stuck(run: Run) -> bool:
    """Held, or after a run that has ended without success."""
    if run.state == State.HELD:
        return True
    parents = run.parents.filter(state__in=(State.FAILED, State.CANCELLED, State.HELD))
    return run.state == State.WAITING and (
        parents.exists() or any(_stuck(p) for p in run.parents.filter(state=State.WAITING))
    )


def _end(run: Run) -> str:
    if run.error:
        return f"{run.name}: {told(VadError.from_dict(run.error))}\nIts log: {run.folder}/log.txt"
    return f"{run.name}: {run.get_state_display().lower()}"


def told(error: VadError) -> str:
    """An error as a terminal shows it."""
    problems = [f"  - {problem}" for problem in error.problems]
    return "\n".join([f"{error.message} [{error.code}]", *problems, *filter(None, [error.hint])])


def _user(name: str | None) -> User:
    people = User.objects.filter(is_active=True)
    if name is None:
        found = people.filter(is_superuser=True).order_by("pk").first()
        if found is None:
            raise CommandError("There is no admin yet. Make one: manage.py first_admin")
        return found
    found = people.filter(username=name).first()
    if found is None:
        raise CommandError(f"There is no person {name!r}.")
    return found


def _project(slug: str | None) -> Project:
    if slug is None:
        found = Project.objects.order_by("pk").first()
        if found is None:
            raise CommandError("There is no project yet. Make one: manage.py first_admin")
        return found
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Project.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(f"There is no project {slug!r}; known: {known or 'none'}.")
    return found
