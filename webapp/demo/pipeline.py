"""What `make demo` queues: one data set, its features, and models worth comparing.

Everything goes through the services that the pages use, and is found again by its name, so that a
second start queues only what the first one did not.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from vad.configs import (
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    RegisterConfig,
    RunConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.errors import VadError
from vad.results import Failed, Progress, parse_line
from webapp.accounts.models import Project, User
from webapp.datasets import services as dataset_services
from webapp.datasets.models import DatasetVersion
from webapp.datasets.paths import FOOTAGE
from webapp.runs import services as run_services
from webapp.runs.lifecycle import commands
from webapp.runs.models import Run, State
from webapp.runs.needs import FROM_RUN

DATASET = "Synthetic street"
TAG = "demo"

# Small enough for two cores in a few minutes. Sixty training clips leave too few for a validation
# split that could choose a checkpoint, so the last one counts.
_SMALL = UrdmuConfig(
    num_epochs=60,
    batch_size=30,
    num_segments=32,
    selection="last",
    validation_share=0,
    eval_every=10,
    checkpoint_every=20,
    seed=1,
)
MODELS: dict[str, UrdmuConfig] = {
    "UR-DMU, seed 1": _SMALL,
    "UR-DMU, seed 2": replace(_SMALL, seed=2),
    "without memory losses": replace(
        _SMALL, memory_weight=0, triplet_weight=0, kl_weight=0, distance_weight=0
    ),
    # Each patch by itself, and by how it moves: what so few clips can teach. Stage 1 starts from
    # the first of the models above; untrained, it would choose the clips by chance.
    "STPVAD": TwoStageConfig(
        num_epochs=60,
        lr=3e-4,
        batch_size=15,
        num_segments=32,
        selection="last",
        validation_share=0,
        eval_every=10,
        checkpoint_every=30,
        seed=1,
        num_tubelet=1,
        clip_view="motion",
        snippet_choice="random",
        patch_context="patch",
        patch_top=3,
        patch_latent="mean",
        ranking="score",
        encoder_dim=48,
        encoder_depth=1,
        encoder_heads=4,
    ),
}


def footage() -> Path:
    """Where the demo's clips lie: below a folder that data sets may always be read from."""
    return settings.DATA_DIR / FOOTAGE / "synthetic"


def make_footage(on_progress: Callable[[int, int], None]) -> None:
    """Render the clips in a child process, so that no video library is loaded here.

    Raises:
        VadError: what the child says is wrong.
    """
    folder = footage()
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "vad", "dataset", "synthesize", str(folder)]
    with subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, text=True, cwd=settings.BASE_DIR
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            record = parse_line(line)
            if isinstance(record, Progress):
                on_progress(record.done, record.total)
            if isinstance(record, Failed):
                raise VadError.from_dict(record.error)
    if child.returncode:
        raise VadError(
            "unexpected",
            f"Making the demo's clips ended with exit code {child.returncode}.",
            f"Run it by hand to see why: {' '.join(command)}",
        )


def registration(*, project: Project, by: User) -> Run:
    """The run that registers the clips, queued now unless it was before."""
    runs = Run.objects.filter(project=project, kind=RegisterConfig.kind, tags__0=TAG)
    existing = runs.exclude(state__in=(State.FAILED, State.CANCELLED)).first()
    if existing is not None:
        return existing
    config = RegisterConfig(name=DATASET, format="synthetic", root=str(footage()))
    return dataset_services.dataset_register(project=project, config=config, by=by, tags=[TAG])


def models(*, project: Project, version: DatasetVersion, by: User) -> list[Run]:
    """Features, proxies, and for each of `MODELS` a training and its evaluation, in that order.

    What an earlier start queued is taken as it is; what failed or was cancelled is queued anew, and
    so is what waits for it, which would wait for ever.
    """
    queued = Run.objects.filter(project=project, version=version, tags__0=TAG)
    alive = queued.exclude(state__in=(State.FAILED, State.CANCELLED))
    create = partial(run_services.run_create, project=project, by=by, tags=[TAG])

    def once(config: RunConfig, name: str, **inputs: Any) -> Run:
        found = alive.filter(name=name).first()
        if found and found.parents.filter(state__in=(State.FAILED, State.CANCELLED)).exists():
            if found.state == State.WAITING:
                commands.cancel(found, by=by)
            found = None
        return found or create(config=config, name=name, **inputs)

    extract = once(ExtractConfig(), "motion features", version=version)
    features = extract.features_made
    proxies = once(ProxiesConfig(), "small copies of the clips", version=version)
    trained: list[Run] = []
    for name, config in MODELS.items():
        if isinstance(config, TwoStageConfig):
            config = replace(config, pretrained_point=f"{FROM_RUN}{trained[0].pk}")
        trained.append(once(config, name, feature_set=features))
    evaluated = [
        once(EvaluateConfig(), f"{run.name}: test split", feature_set=features, of_run=run)
        for run in trained
    ]
    return [extract, proxies, *trained, *evaluated]
