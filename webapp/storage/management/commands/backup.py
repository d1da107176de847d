"""`manage.py backup DIR`: database and files, while the server runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vad.errors import VadError
from webapp.core.templatetags.vadlab import bytes_
from webapp.core.terminal import told
from webapp.storage.backup import backup


class Command(BaseCommand):
    help = "Write a backup of the database and all files below a folder, beside earlier ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dir", type=Path, help="best on another disk; made if it is missing")
        parser.add_argument(
            "--full", action="store_true", help="read every file again, and check earlier copies"
        )
        parser.add_argument(
            "--keep", type=int, metavar="N", help="then remove all but the newest N backups"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep"] is not None and options["keep"] < 1:
            raise CommandError("--keep must be at least 1.")
        try:
            done = backup(
                options["dir"], full=options["full"], keep=options["keep"], say=self.stdout.write
            )
        except VadError as exc:
            raise CommandError(told(exc)) from None
        found = done.manifest
        self.stdout.write(
            f"{found.name}: the database and {len(found.files):,} files, "
            f"{bytes_(found.size_bytes)}; {done.added:,} of them new, {bytes_(done.added_bytes)}."
        )
        if done.freed_bytes:
            self.stdout.write(f"Older backups removed: {bytes_(done.freed_bytes)} freed.")
