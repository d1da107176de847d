from __future__ import annotations

import os
import sys
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.core.launcher import Servers, free_port
from webapp.datasets.models import DatasetVersion
from webapp.demo import check, pipeline
from webapp.demo.display import Display
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Run, State

POLL_S = 0.5


class Command(BaseCommand):
    help = "From nothing to trained, evaluated and compared models, then serve until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="verify over HTTP, then exit")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="the next free one is taken")

    def handle(self, *args: Any, **options: Any) -> None:
        self.display = Display(sys.stdout)
        try:
            self._demo(**options)
        except VadError as exc:
            raise CommandError("\n".join([exc.message, exc.hint, *exc.problems])) from None

    def _demo(self, *, check: bool, host: str, port: int, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        if not User.objects.filter(is_superuser=True).exists():
            self.display.note("The first admin; the password is shown this once:")
            call_command("first_admin", stdout=self.stdout, stderr=self.stderr)
        by = User.objects.filter(is_superuser=True).earliest("pk")
        project = Project.objects.earliest("pk")
        pipeline.make_footage(lambda done, all_: self.display.bar("synthetic clips", done, all_))
        slots = max(1, min(4, os.cpu_count() or 1))
        with Servers(host=host, port=free_port(port, host), cpu_slots=slots) as servers:
            self.display.note(f"VADLab is at {servers.address}")
            register = pipeline.registration(project=project, by=by)
            if not self._watch(servers, [register]):
                return self._interrupted()
            version = DatasetVersion.objects.get(pk=register.result["version"])
            runs = pipeline.models(project=project, version=version, by=by)
            if not self._watch(servers, runs):
                return self._interrupted()
            self._headline(runs)
            if check:
                return self._check(servers, by, [register, *runs])
            self.display.note(f"The dashboard is at {servers.address}. Ctrl-C stops it.")
            servers.wait()
        return None

    def _watch(self, servers: Servers, runs: list[Run]) -> bool:
        """Show the runs until all have ended; False when the person stopped it.

        Raises:
            CommandError: a run failed, was cancelled, or a server process ended.
        """
        while not servers.stopping:
            servers.check_alive()
            close_old_connections()
            for run in runs:
                run.refresh_from_db()
            self.display.runs(runs)
            for run in runs:
                if run.state in (State.FAILED, State.CANCELLED):
                    error = VadError.from_dict(run.error or {})
                    raise CommandError(
                        f"{run.name} {run.state}. {error.message} {error.hint}\n"
                        f"Its log: {run.folder / 'log.txt'}"
                    )
            if all(run.state == State.SUCCEEDED for run in runs):
                return True
            time.sleep(POLL_S)
        return False

    def _interrupted(self) -> None:
        self.display.note("Stopping. What runs writes a checkpoint; make demo goes on from there.")

    def _headline(self, runs: list[Run]) -> None:
        self.display.note("\nFrame level, synthetic test split, from video-level labels only:")
        self.display.note(f"  {'model':<28} {'AUC':>6}  {'95 % interval':<15} {'AP':>6}")
        found = Evaluation.objects.filter(run__in=runs).select_related("of_run")
        for e in found.order_by("of_run__created_at"):
            low, high = e.intervals["auc"]
            row = f"{e.frame_auc:6.3f}  {low:.3f} to {high:.3f}  {e.frame_ap:6.3f}"
            self.display.note(f"  {e.of_run.name:<28} {row}")

    def _check(self, servers: Servers, by: User, runs: list[Run]) -> None:
        found = check.problems(servers.address, by, runs)
        for text in found:
            self.stderr.write(f"✗ {text}")
        if found:
            raise CommandError(f"The check found {len(found)} problems.")
        self.display.note(f"Checked over HTTP: {len(runs)} runs, their pages and their data stand.")
