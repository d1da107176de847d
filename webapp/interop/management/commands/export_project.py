"""`manage.py export_project TO`: a project as Parquet tables and files."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from webapp.accounts.models import Project, User
from webapp.core.terminal import VadCommand
from webapp.interop import export, files
from webapp.runs.models import Run


class Command(VadCommand):
    help = "Write a project as Parquet tables and files into a new folder, or a .zip."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("to", type=Path, help="a new or empty folder, or a file ending in .zip")
        parser.add_argument(
            "--files", choices=list(files.CHOICES), default=files.ALL,
            help="; ".join(f"{name}: {text}" for name, text in files.CHOICES.items()),
        )  # fmt: skip

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        to: Path = options["to"]
        if to.suffix == ".zip":
            export.to_zip(project=project, path=to, which=options["files"])
        else:
            export.to_folder(project=project, folder=to, which=options["files"])
        self.stdout.write(f"{project} is written to {to}.")
        return []
