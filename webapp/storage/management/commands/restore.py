"""`manage.py restore DIR`: a backup in the place of database and files."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vad.errors import VadError
from webapp.core.terminal import told
from webapp.storage.restore import restore

SHOWN = 10


class Command(BaseCommand):
    help = "Restore the newest backup below a folder; stop the server and its workers first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dir", type=Path, help="that `backup` wrote to")
        parser.add_argument("--name", default="", help="of the backup; default: the newest")
        parser.add_argument(
            "--force", action="store_true", help="also over an installation that is not empty"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = restore(
                options["dir"],
                name=options["name"],
                force=options["force"],
                say=self.stdout.write,
            )
        except VadError as exc:
            raise CommandError(told(exc)) from None
        self.stdout.write(
            f"{done.manifest.name} is restored: {done.people:,} people, {done.runs:,} runs, "
            f"{len(done.manifest.files):,} files, each checked by its hash."
        )
        if done.aside:
            self.stdout.write(f"What was here before is in {done.aside}.")
        for path in done.missing[:SHOWN]:
            self.stdout.write(f"Missing already when the backup was made: {path}")
        if len(done.missing) > SHOWN:
            self.stdout.write(f"… and {len(done.missing) - SHOWN} more; see Settings, Storage.")
