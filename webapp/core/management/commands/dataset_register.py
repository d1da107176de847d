"""`manage.py dataset_register NAME FORMAT ROOT`: as the page does it, through the queue."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from vad.configs import RegisterConfig
from webapp.accounts.models import Project, User
from webapp.core import inputs
from webapp.core.terminal import VadCommand
from webapp.datasets import services
from webapp.runs.models import Run


class Command(VadCommand):
    help = "Read, check and register a data set, and pack its features. A worker does the work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="of the data set; a known one gets a new version")
        parser.add_argument("format", help="layout of the files: synthetic, ucf_crime, ucsd_ped, …")
        parser.add_argument("root", help="folder of the videos, or of the features without videos")
        parser.add_argument("--annotations", default="", help="annotation file or folder")
        parser.add_argument("--features", default="", help="folder of .npy files to pack")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE",
            help="another field, as crop_axis=first or snippet_rule=stretch; may be repeated",
        )  # fmt: skip

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        named = {name: options[name] for name in ("name", "format", "root")}
        paths = {name: options[name] for name in ("annotations", "features") if options[name]}
        for name, text in [("root", named["root"]), *paths.items()]:
            if Path(text).exists():  # here, relative means: to where one stands
                (named if name == "root" else paths)[name] = str(Path(text).absolute())
        pairs = [f"{name}={text}" for name, text in {**named, **paths}.items()]
        config = inputs.config(RegisterConfig, None, [*pairs, *options["set"]])
        return [services.dataset_register(project=project, config=config, by=by)]
