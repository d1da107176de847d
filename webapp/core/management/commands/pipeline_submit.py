"""`manage.py pipeline_submit`: features, trainings and their evaluations, queued together."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from vad.configs import EvaluateConfig, ExtractConfig, ProxiesConfig, TwoStageConfig, UrdmuConfig
from webapp.accounts.models import Project, User
from webapp.core import inputs
from webapp.core.terminal import VadCommand
from webapp.runs import pipelines
from webapp.runs.models import Run


class Command(VadCommand):
    help = (
        "Queue extract (unless --features names some), train and evaluate, for one or more seeds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("dataset", help="id, NAME (its newest version) or 'NAME v2'")
        parser.add_argument("--features", help="id or name of a feature set, instead of extracting")
        parser.add_argument("--seeds", type=int, nargs="+", default=[], help="one training each")
        parser.add_argument(
            "--stages", choices=("first", "both", "joint"), default="first",
            help="stage 1 alone, stage 2 from the weights of stage 1, or both together from "
            "nothing; first by default",
        )  # fmt: skip
        parser.add_argument(
            "--no-proxies", action="store_true",
            help="of stage 2: read the videos themselves instead of small copies",
        )  # fmt: skip
        for stage in ("train", "stage2", "extract", "proxies", "evaluate"):
            parser.add_argument(f"--{stage}-config", help="JSON: a file, or the object itself")
            parser.add_argument(
                f"--{stage}", action="append", default=[], metavar="NAME=VALUE",
                help=f"one field of the {stage} configuration; may be repeated",
            )  # fmt: skip
        parser.add_argument("--name", default="", help="of the training runs")
        parser.add_argument("--tag", action="append", default=[], help="may be repeated")

    def act(self, project: Project, by: User, options: dict[str, Any]) -> list[Run]:
        version = inputs.version(project, options["dataset"])
        features, extract = None, None
        if options["features"]:
            features = inputs.features(project, options["features"], version)
        else:
            extract = inputs.config(ExtractConfig, options["extract_config"], options["extract"])
        joint, both = options["stages"] == "joint", options["stages"] == "both"
        kind: type[UrdmuConfig] = TwoStageConfig if joint else UrdmuConfig
        stage2 = None
        if both:
            stage2 = inputs.config(TwoStageConfig, options["stage2_config"], options["stage2"])
        elif options["stage2"] or options["stage2_config"]:
            raise CommandError("Fields of stage 2 are of use with --stages both only.")
        proxies = None
        if not options["no_proxies"]:
            proxies = inputs.config(ProxiesConfig, options["proxies_config"], options["proxies"])
        made = pipelines.pipeline_create(
            project=project,
            by=by,
            train=inputs.config(kind, options["train_config"], options["train"]),
            stage2=stage2,
            proxies=proxies,
            evaluate=inputs.config(EvaluateConfig, options["evaluate_config"], options["evaluate"]),
            extract=extract,
            version=version,
            feature_set=features,
            seeds=options["seeds"],
            name=options["name"],
            tags=options["tag"],
        )
        return made.runs
