"""Many plausible runs from a seed: what the pages must stay fast with.

The curves go through the real metric writer, the configurations through the real classes. Nothing
of it is a result: each run says in its environment which seed made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from vad.configs import EvaluateConfig
from vad.errors import VadError
from vad.training_configs import TwoStageConfig, UrdmuConfig
from webapp.accounts.models import Project, User
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.runs import chunks
from webapp.runs.models import Run, RunEvent, State

MARK = "load_seed"  # in the environment of every run that this module made
BATCH = 500
SMALL_CURVE = 40  # points of the runs that do not carry a long curve
SETS = (("ucf-crime", 0.84), ("xd-violence", 0.80), ("msad", 0.86), ("shanghaitech", 0.93))
EXTRACTORS = ("i3d", "videomae", "motion")
TAGS = ("baseline", "paper", "ablation", "lr-sweep", "long", "rerun")
LR = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
STATES = (
    (State.SUCCEEDED, 0.84), (State.FAILED, 0.07), (State.CANCELLED, 0.06), (State.HELD, 0.03),
)  # fmt: skip
NOTES = (
    "Warm-up helps; look at the stabbing videos again.",
    "Same as the run before, after the crop order was corrected.",
    "Diverges late. Try half the rate.",
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much there is to be."""

    runs: int = 10_000
    points: int = 100_000
    curves: int = 10
    seed: int = 7


def load(
    *,
    project: Project,
    by: User,
    size: Load,
    force: bool = False,
    say: Callable[[str], Any] = print,
) -> list[Run]:
    """Fill a project; returns the runs, those with the long curves first.

    Raises:
        VadError: `request-invalid`, the project has real runs and `force` is not given.
    """
    real = Run.objects.filter(project=project).exclude(environment__has_key=MARK).count()
    if real and not force:
        raise VadError(
            "request-invalid",
            f"{project} has {real} runs that this command did not make.",
            "Name another project, or say --force.",
        )
    rng = np.random.default_rng(size.seed)
    inputs = _inputs(project, by, size.seed)
    owners = _owners(project, by)
    with transaction.atomic():
        trained = [
            _training(rng, i, project, owners, inputs, size)
            for i in range(max(1, round(size.runs * 0.7)))
        ]
        tested = list(_evaluations(rng, trained, size.runs - len(trained), size.seed))
        runs = [made.run for made in trained] + [run for run, _ in tested]
        Run.objects.bulk_create(runs, batch_size=BATCH)
        ids = [run.pk for run in runs]
        for at in range(0, len(ids), BATCH):  # the column sets itself when a row is made
            Run.objects.filter(pk__in=ids[at : at + BATCH]).update(created_at=F("queued_at"))
        RunEvent.objects.bulk_create(
            [RunEvent(run=run, kind="created", by=run.owner) for run in runs], batch_size=BATCH
        )
        Evaluation.objects.bulk_create([found for _, found in tested], batch_size=BATCH)
    say(f"{len(runs):,} runs, {len(tested):,} of them evaluations")
    for at in range(0, len(trained), BATCH):
        part = trained[at : at + BATCH]
        chunks.append_first((made.run, _curves(rng, made, size, at + i)) for i, made in
                             enumerate(part))  # fmt: skip
    say(f"metrics of {len(trained):,} trainings, {size.points:,} points in {size.curves} of them")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return runs


@dataclass(frozen=True, kw_only=True)
class _Made:
    run: Run
    skill: float  # the frame AUC that its settings would give


def _training(
    rng: np.random.Generator, number: int, project: Project, owners: Sequence[User],
    inputs: Sequence[tuple[FeatureSet, float]], size: Load,
) -> _Made:  # fmt: skip
    """Sweeps of five seeds: number // 5 names the settings, number % 5 the seed."""
    settings = np.random.default_rng([size.seed, number // 5])
    features, base = inputs[int(settings.integers(len(inputs)))]
    two_stage = bool(settings.random() < 0.2)
    lr = float(settings.choice(LR))
    dropout = float(settings.choice([0.1, 0.3, 0.5]))
    slots = int(settings.choice([30, 60, 120]))
    seed = 2022 + number % 5
    config = _config(two_stage, lr, dropout, slots) | {"seed": seed}
    penalty = 0.035 * abs(np.log10(lr) + 4) + 0.02 * abs(dropout - 0.5)
    skill = base - penalty + 0.01 * two_stage + 0.012 * rng.standard_normal()
    state = State.SUCCEEDED if number < size.curves else _state(rng)
    steps = config["num_epochs"]
    done = steps if state == State.SUCCEEDED else int(steps * rng.uniform(0.05, 0.9))
    begun = _moment(rng)
    took = timedelta(seconds=float(steps * rng.uniform(0.2, 2.0)))
    title = "STPVAD" if two_stage else "UR-DMU"
    chosen = settings.choice(TAGS, int(settings.integers(0, 3)), replace=False)
    run = Run(
        project=project, owner=owners[number % 7 % 3],
        name=f"{title} on {features.version}, lr {lr:g}, seed {seed}",
        kind="train-two-stage" if two_stage else "train-urdmu", config=config, state=state,
        version=features.version, feature_set=features, tags=[str(tag) for tag in chosen],
        notes=str(rng.choice(NOTES)) if rng.random() < 0.04 else "", color=number % 10_000,
        queued_at=begun, changed_at=begun + took, device="auto", total=steps, unit="steps",
        done=0 if state == State.HELD else done, environment={MARK: size.seed},
    )  # fmt: skip
    if state != State.HELD:
        run.started_at, run.ended_at = begun + timedelta(seconds=30), begun + took
    if state == State.FAILED:
        run.error = VadError(
            "loss-not-finite", f"The training loss became NaN at step {done}.",
            f"Lower the learning rate, which is {lr:g}, and queue the run again.",
        ).to_dict()  # fmt: skip
    return _Made(run=run, skill=float(np.clip(skill, 0.5, 0.995)))


def _evaluations(
    rng: np.random.Generator, trained: Sequence[_Made], count: int, seed: int
) -> Iterator[tuple[Run, Evaluation]]:
    """Evaluate runs of trainings that succeeded, each once; as many as there are at most."""
    config = EvaluateConfig().to_dict()
    done = [made for made in trained if made.run.state == State.SUCCEEDED]
    chosen = rng.permutation(len(done))[:count]
    for number in chosen:
        made = done[int(number)]
        of, auc = made.run, float(np.clip(made.skill, 0.5, 0.999))
        ap = float(np.clip(auc - 0.55 + 0.02 * rng.standard_normal(), 0.02, 0.98))
        begun = (of.ended_at or timezone.now()) + timedelta(minutes=1)
        run = Run(
            project=of.project, owner=of.owner, kind="evaluate",
            name=f"Evaluate {of.name}"[:120], config=config, state=State.SUCCEEDED, of_run=of,
            version=of.version, feature_set=of.feature_set, color=of.color, queued_at=begun,
            started_at=begun, changed_at=begun, ended_at=begun + timedelta(seconds=25),
            total=290, done=290, unit="videos", device="auto", environment={MARK: seed},
        )  # fmt: skip
        evaluation = Evaluation(
            run=run, of_run=of, version=of.version, feature_set=of.feature_set, fingerprint=MARK,
            protocol={}, selection="validation", frame_auc=auc, frame_ap=ap,
            metrics={"auc": auc, "ap_step": ap, "video_auc": min(0.999, auc + 0.03)},
            scores_sha256="", patch=_patch(rng, auc) if of.kind == "train-two-stage" else {},
        )  # fmt: skip
        yield run, evaluation


def _patch(rng: np.random.Generator, auc: float) -> dict[str, Any]:
    noise = 0.02 * rng.standard_normal(3)
    found = {"patch_auc": auc - 0.06, "patch_ap_step": auc - 0.7, "tiou": auc - 0.6}
    clipped = {k: float(np.clip(v + n, 0.01, 0.999)) for (k, v), n in zip(
        found.items(), noise, strict=True)}  # fmt: skip
    return {"grid": [8, 8], "tubelets": 1, "metrics": clipped, "videos": 0, "intervals": {}}


def _curves(
    rng: np.random.Generator, made: _Made, size: Load, number: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Losses that fall, scores that rise; long ones have one spike of a single step."""
    last = size.points if number < size.curves else made.run.done
    count = last if number < size.curves else min(last, SMALL_CURVE)
    if count < 2:
        return {}
    steps = np.unique(np.linspace(1, last, count).astype(np.int64))
    shape = np.exp(-6 * steps / last)
    total = 1.4 * shape + 0.9 - made.skill * 0.8 + 0.03 * rng.standard_normal(len(steps))
    if number < size.curves:
        total[len(total) // 3] = 9.0
    at = steps[:: max(1, len(steps) // 20)]
    auc = made.skill - 0.35 * np.exp(-8 * at / last) + 0.006 * rng.standard_normal(len(at))
    return {
        "loss/total": (steps, total), "loss/cls": (steps, 0.6 * total),
        "loss/triplet": (steps, 0.2 * total), "loss/kl": (steps, 0.05 * total),
        "validation/video_auc": (at, np.clip(auc + 0.02, 0, 1)),
        "test/frame_auc": (at, np.clip(auc, 0, 1)),
    }  # fmt: skip


@lru_cache(maxsize=256)
def _config(two_stage: bool, lr: float, dropout: float, slots: int) -> dict[str, Any]:
    if two_stage:
        return TwoStageConfig(lr=lr, dropout=dropout, memory_slots=slots).to_dict()
    return UrdmuConfig(lr=lr, dropout=dropout, memory_slots=slots).to_dict()


def _state(rng: np.random.Generator) -> str:
    weights = [share for _, share in STATES]
    return STATES[int(rng.choice(len(STATES), p=weights))][0]


def _moment(rng: np.random.Generator) -> datetime:
    """Within the last ninety days, more of them lately."""
    return timezone.now() - timedelta(days=90 * float(rng.random()) ** 1.5, seconds=7200)


def _owners(project: Project, by: User) -> list[User]:
    """The person and two more members, who cannot sign in."""
    found = [by]
    for name in ("load-amina", "load-jonas"):
        user, made = User.objects.get_or_create(username=name)
        if made:
            user.set_unusable_password()
            user.save()
        project.members.add(user)
        found.append(user)
    return found


def _inputs(project: Project, by: User, seed: int) -> list[tuple[FeatureSet, float]]:
    """Rows of data sets and features, without files, and the AUC that one reaches on them."""
    found = []
    for name, auc in SETS:
        dataset, _ = Dataset.objects.get_or_create(
            project=project, name=f"load-{name}", defaults={"created_by": by}
        )
        version, _ = DatasetVersion.objects.get_or_create(
            dataset=dataset, number=1,
            defaults={"format": "generic", "created_by": by, "fingerprint": f"{MARK}-{seed}"},
        )  # fmt: skip
        for extractor in EXTRACTORS:
            features, _ = FeatureSet.objects.get_or_create(
                version=version, name=f"{extractor} of {version}",
                defaults={"extractor": extractor, "dim": 1024},
            )  # fmt: skip
            found.append((features, auc - 0.05 * (extractor == "motion")))
    return found
