"""Runs that are queued together: features, proxies, trainings and their evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from vad.configs import EvaluateConfig, ExtractConfig, ProxiesConfig, TwoStageConfig, UrdmuConfig
from vad.errors import ConfigError
from webapp.accounts.models import Project, User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs import needs
from webapp.runs.models import Run
from webapp.runs.resources import Resources
from webapp.runs.services import run_create

MAX_SEEDS = 20


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Runs that were made together, in the order in which they can go."""

    proxies: Run | None
    extract: Run | None
    trainings: list[Run]
    evaluations: list[Run]

    @property
    def runs(self) -> list[Run]:
        first = [run for run in (self.proxies, self.extract) if run]
        return [*first, *self.trainings, *self.evaluations]


@transaction.atomic
def pipeline_create(
    *,
    project: Project,
    by: User,
    train: UrdmuConfig,
    evaluate: EvaluateConfig | None = EvaluateConfig(),  # noqa: B008, it is frozen
    extract: ExtractConfig | None = None,
    proxies: ProxiesConfig | None = None,
    version: DatasetVersion | None = None,
    feature_set: FeatureSet | None = None,
    seeds: Sequence[int] = (),
    name: str = "",
    tags: Sequence[str] = (),
    priority: int = 0,
    resources: Resources = Resources(),  # noqa: B008, it is frozen
    cloned_from: Run | None = None,
) -> Pipeline:
    """Features and proxies if they have to be made, one training a seed, one evaluation a training.

    Args:
        evaluate: None for no evaluations.
        train: of either kind of training.
        proxies: small copies of the videos, to be made first unless there are some or are being
            made; of use to a training of both stages only.
        version: with `extract`, whose videos to make features of.
        feature_set: features that exist or are being made, instead of `extract`.
        resources: of each training.
        seeds: by default the one of `train`.

    Raises:
        VadError: what `run_create` raises; then nothing is queued.
    """
    if len(set(seeds)) != len(seeds) or len(seeds) > MAX_SEEDS:
        raise ConfigError({"seeds": f"must differ from each other, {MAX_SEEDS} at most"})
    first = None
    if extract is not None:
        first = run_create(
            project=project, config=extract, by=by, version=version, tags=tags,
            name=f"{name}: features" if name else "", priority=priority,
        )  # fmt: skip
        feature_set = first.features_made
    copies = None
    wanted = feature_set.version if feature_set and isinstance(train, TwoStageConfig) else None
    if proxies is not None and wanted is not None and not needs.proxies_of(wanted):
        copies = run_create(
            project=project, config=proxies, by=by, version=wanted, tags=tags,
            name=f"{name}: proxies" if name else "", priority=priority,
        )  # fmt: skip
    trainings = []
    for seed in seeds or (train.seed,):
        own = f"{name}, seed {seed}" if name and len(seeds) > 1 else name
        config = replace(train, seed=seed)
        trainings.append(
            run_create(
                project=project,
                config=config,
                by=by,
                name=own,
                tags=tags,
                priority=priority,
                resources=resources,
                feature_set=feature_set,
                cloned_from=cloned_from,
            )
        )
    evaluations = []
    if evaluate is not None:
        evaluations = [
            run_create(
                project=project, config=evaluate, by=by, of_run=run, tags=tags, priority=priority
            )
            for run in trainings
        ]
    return Pipeline(proxies=copies, extract=first, trainings=trainings, evaluations=evaluations)
