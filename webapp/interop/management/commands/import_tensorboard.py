"""`manage.py import_tensorboard LOGDIR`: the scalars of event files."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from webapp.accounts.models import Project, User
from webapp.core.terminal import VadCommand
from webapp.interop import tensorboard
from webapp.interop.foreign import Report, run_import
from webapp.runs.models import Run


class Command(VadCommand):
    help = "Take over TensorBoard's scalars. Doing it again adds only what is new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("logdir", type=Path, help="each folder in it with event files is a run")

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        report = Report()
        for run in tensorboard.read(options["logdir"], project, report):
            run_import(project=project, by=by, foreign=run, report=report)
        self.stdout.write("\n".join(report.lines()))
        return []
