"""Runs that are queued together: features, proxies, trainings and their evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    stage2: TwoStageConfig | None = None,
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
    """Features and proxies if they have to be made, the trainings of each seed, their evaluations.

    Args:
        evaluate: None for no evaluations. The last training of each seed is evaluated.
        train: of either kind of training.
        stage2: both stages, from the weights of `train`, which is of stage 1 alone then.
        proxies: small copies of the videos, to be made first unless there are some or are being
            made; of use to a training of both stages only. Where their `clip_size` is the default,
            it becomes the size of that training's clips.
        version: with `extract`, whose videos to make features of.
        feature_set: features that exist or are being made, instead of `extract`.
        resources: of each training; stage 1 alone takes one GPU, however many stage 2 has.
        seeds: by default the one of `train`; both stages of a seed have it.

    Raises:
        VadError: what `run_create` raises; then nothing is queued.
    """
    if len(set(seeds)) != len(seeds) or len(seeds) > MAX_SEEDS:
        raise ConfigError({"seeds": f"must differ from each other, {MAX_SEEDS} at most"})
    if stage2 is not None and isinstance(train, TwoStageConfig):
        raise ConfigError({"train": "must be of stage 1 alone when stage 2 starts from it"})
    if stage2 is not None and stage2.pretrained_point:
        raise ConfigError({"pretrained_point": "stage 2 starts from this pipeline's stage 1"})
    first = None
    if extract is not None:
        first = run_create(
            project=project, config=extract, by=by, version=version, tags=tags,
            name=f"{name}: features" if name else "", priority=priority,
        )  # fmt: skip
        feature_set = first.features_made
    copies, looks = None, stage2 or train
    wanted = feature_set.version if feature_set and proxies else None
    if proxies and wanted and isinstance(looks, TwoStageConfig) and not needs.proxies_of(wanted):
        if proxies.clip_size == ProxiesConfig().clip_size:
            proxies = replace(proxies, clip_size=looks.resize)
        copies = run_create(
            project=project, config=proxies, by=by, version=wanted, tags=tags,
            name=f"{name}: proxies" if name else "", priority=priority,
        )  # fmt: skip
    common: dict[str, Any] = {
        "project": project, "by": by, "tags": tags, "priority": priority,
        "feature_set": feature_set,
    }  # fmt: skip
    # Stage 1 alone cannot use more than one GPU.
    of_train = replace(resources, gpus=1) if stage2 else resources
    seeds = seeds or (train.seed,)
    several = len(seeds) > 1
    trainings, last = [], []
    for seed in seeds:
        own = f"{name}, seed {seed}" if name and several else name
        training = run_create(
            config=replace(train, seed=seed), cloned_from=cloned_from,
            name=f"{own}: stage 1" if own and stage2 else own, resources=of_train, **common,
        )  # fmt: skip
        trainings.append(training)
        if stage2 is not None:
            start = f"{needs.FROM_RUN}{training.pk}"
            config = replace(stage2, seed=seed, pretrained_point=start)
            stage2_name = f"{own}: stage 2" if own else ""
            training = run_create(config=config, name=stage2_name, resources=resources, **common)
            trainings.append(training)
        last.append(training)
    evaluations = []
    if evaluate is not None:
        evaluations = [
            run_create(
                project=project, config=evaluate, by=by, of_run=run, tags=tags, priority=priority
            )
            for run in last
        ]
    return Pipeline(proxies=copies, extract=first, trainings=trainings, evaluations=evaluations)
