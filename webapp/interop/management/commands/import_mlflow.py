"""`manage.py import_mlflow PATH`: the runs of an MLflow store."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from webapp.accounts.models import Project, User
from webapp.core.terminal import VadCommand
from webapp.interop import mlflow_store
from webapp.interop.foreign import Report, run_import
from webapp.runs.models import Run


class Command(VadCommand):
    help = "Take over the runs of an MLflow store. Doing it again adds only what is new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("path", type=Path, help="the folder mlruns, or an SQLite file")
        parser.add_argument("--no-files", action="store_true", help="leave the artifacts out")

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        report = Report()
        for run in mlflow_store.read(options["path"], report, files=not options["no_files"]):
            run_import(project=project, by=by, foreign=run, report=report)
        self.stdout.write("\n".join(report.lines()))
        return []
