"""`manage.py run_submit KIND`: queue one run."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from vad.configs import QUEUED_KINDS, config_class
from webapp.accounts.models import Project, User
from webapp.core import inputs
from webapp.core.terminal import VadCommand
from webapp.runs import services
from webapp.runs.models import Run


class Command(VadCommand):
    help = "Queue a run, as the browser does it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("kind", choices=QUEUED_KINDS)
        parser.add_argument("--config", help="JSON: a file, or the object itself")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE",
            help="one field of the configuration, as lr=1e-4; may be repeated",
        )  # fmt: skip
        parser.add_argument("--dataset", help="id, NAME (its newest version) or 'NAME v2'")
        parser.add_argument("--features", help="id or name of a feature set")
        parser.add_argument("--of-run", help="evaluate: id or name of the training run")
        parser.add_argument("--name", default="", help="of the run")
        parser.add_argument("--tag", action="append", default=[], help="may be repeated")
        parser.add_argument("--priority", type=int, default=0, help="higher goes first")

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        config = inputs.config(config_class(options["kind"]), options["config"], options["set"])
        version = inputs.version(project, options["dataset"]) if options["dataset"] else None
        features = None
        if options["features"]:
            features = inputs.features(project, options["features"], version)
        elif version is not None and options["kind"].startswith("train"):
            features = inputs.only_features(version)
        run = services.run_create(
            project=project,
            config=config,
            by=by,
            name=options["name"],
            version=version,
            feature_set=features,
            of_run=inputs.run(project, options["of_run"]) if options["of_run"] else None,
            tags=options["tag"],
            priority=options["priority"],
        )
        return [run]
