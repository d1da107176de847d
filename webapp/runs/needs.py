"""What a run of each kind works on, checked, and the runs that have to be done before it."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass

from vad.configs import (
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    RegisterConfig,
    RunConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.errors import ConfigError, VadError
from vad.fields import is_bare_name
from webapp.accounts.models import Project
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs.models import ENDED, Run, State

FROM_RUN = "run:"  # of pretrained_point: the best checkpoint of this run


@dataclass(kw_only=True)
class Inputs:
    """What a run works on, and the runs that have to be done before."""

    version: DatasetVersion | None = None
    feature_set: FeatureSet | None = None
    of_run: Run | None = None
    parents: list[Run]


def inputs_of(
    project: Project,
    config: RunConfig,
    version: DatasetVersion | None,
    feature_set: FeatureSet | None,
    of_run: Run | None,
) -> Inputs:
    """What this kind of run needs, checked; what it does not need is left out."""
    if isinstance(config, RegisterConfig):
        return Inputs(parents=[])
    if isinstance(config, ExtractConfig | ProxiesConfig):
        if version is None:
            raise _needs(f"'{config.title}' needs a data set version.", "version")
        _same_project(project, version.dataset.project_id, "data set", "version")
        return Inputs(version=version, parents=[])
    if isinstance(config, EvaluateConfig):
        return _evaluate_inputs(project, feature_set, of_run)
    if feature_set is None:
        raise _needs(
            "Training needs features.", "feature_set",
            hint="Choose a feature set, or queue an extract run first.",
        )  # fmt: skip
    found = Inputs(
        version=feature_set.version,
        feature_set=feature_set,
        parents=_until_ready(project, feature_set),
    )
    if isinstance(config, UrdmuConfig):
        found.parents += _starts_from(project, config.pretrained_point)
    if isinstance(config, TwoStageConfig):
        if not feature_set.version.videos.exclude(path="").exists():
            raise _needs(
                f"{feature_set.version} has no video files, and stage 2 looks at frames.",
                "feature_set",
                hint="Register the data set with its videos, or train stage 1 alone.",
            )
        if not is_bare_name(config.encoder_point):
            raise ConfigError(
                {"encoder_point": "must be the bare name of a file in the server's weights folder"}
            )
        found.parents += proxies_of(feature_set.version)
    return found


def proxies_of(version: DatasetVersion) -> list[Run]:
    """The newest run that made proxies of a version, or is making them; empty without one."""
    runs = Run.objects.filter(version=version, kind=ProxiesConfig.kind)
    runs = runs.exclude(state__in=(State.FAILED, State.CANCELLED))
    return list(runs.order_by("-created_at")[:1])


def start_run(text: str, project: Project) -> Run | None:
    """The training run that a `pretrained_point` names, as `run:ID`; None when it names none.

    Raises:
        ConfigError: the project has no such training run.
    """
    if not text.startswith(FROM_RUN):
        return None
    found = None
    with contextlib.suppress(ValueError):
        pk = uuid.UUID(text.removeprefix(FROM_RUN))
        found = Run.objects.filter(project=project, kind__startswith="train", pk=pk).first()
    if found is None:
        raise ConfigError({"pretrained_point": f"{text} is no training run of this project"})
    return found


def _starts_from(project: Project, text: str) -> list[Run]:
    """The run whose weights a training starts from: it must have some, or be about to."""
    run = start_run(text, project)
    if run is None:
        if not is_bare_name(text):
            text = "must be the bare name of a file in the server's weights folder, or run:ID"
            raise ConfigError({"pretrained_point": text})
        return []
    if run.state in ENDED and not run.checkpoints.exists():
        text = f"{run.name} has {run.state} without a checkpoint"
        raise ConfigError({"pretrained_point": text})
    return [] if run.state in ENDED else [run]


def _evaluate_inputs(
    project: Project, feature_set: FeatureSet | None, of_run: Run | None
) -> Inputs:
    if of_run is None or not of_run.kind.startswith("train"):
        raise _needs("An evaluation needs a training run.", "of_run")
    _same_project(project, of_run.project_id, "training run", "of_run")
    parents = [] if of_run.has_ended else [of_run]
    if of_run.has_ended and not of_run.checkpoints.exists():
        raise _needs(
            f"{of_run.name} has {of_run.state} without a checkpoint.", "of_run",
            hint="Retry that run, or choose another one.",
        )  # fmt: skip
    features = feature_set or of_run.feature_set
    if features is None:
        raise _needs(f"The features of {of_run.name} are gone.", "feature_set")
    trained_on = of_run.feature_set
    if trained_on and trained_on.dim and features.dim and features.dim != trained_on.dim:
        raise _needs(
            f"{features.name} has {features.dim} numbers a snippet, but {of_run.name} was trained "
            f"on {trained_on.dim}.",
            "feature_set",
            hint="Choose features of the same extractor.",
        )
    found = Inputs(
        version=features.version,
        feature_set=features,
        of_run=of_run,
        parents=[*parents, *_until_ready(project, features)],
    )
    if of_run.kind == TwoStageConfig.kind:
        found.parents += proxies_of(features.version)
    return found


def _until_ready(project: Project, feature_set: FeatureSet) -> list[Run]:
    """The run to wait for before these features can be read."""
    _same_project(project, feature_set.version.dataset.project_id, "feature set", "feature_set")
    if feature_set.ready:
        return []
    if feature_set.produced_by is None:
        raise _needs(
            f"The features {feature_set.name} were never finished.", "feature_set",
            hint="Choose others, or extract them again.",
        )  # fmt: skip
    return [feature_set.produced_by]


def _same_project(project: Project, of: int, what: str, field: str) -> None:
    if of != project.pk:
        raise _needs(f"The {what} belongs to another project.", field)


def _needs(message: str, field: str, hint: str = "Choose one and try again.") -> VadError:
    return VadError("run-inputs-missing", message, hint, fields={field: message})
