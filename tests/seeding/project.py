"""The project itself: its people, its runs and their evaluations."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from django.utils import timezone

from seeding.making import (
    Maker,
    Seeded,
    curves_of,
    log_of,
    manifest_of,
    once,
    version_of,
    worker_of,
)
from vad.configs import EvaluateConfig, ExtractConfig, RegisterConfig, UrdmuConfig
from vad.data.manifest import (
    Manifest,
    Truth,
)
from vad.errors import VadError
from vad.evaluation import bootstrap, frame
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from vad.timeline import SnippetRule
from webapp.accounts.models import Membership, Project, Role, User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Run, RunEvent, State

PASSWORD = "a-long-one-42"


def people() -> tuple[User, Project]:
    """A member and the project."""
    project = Project.objects.create(name="Campus safety", slug="campus-safety")
    user = User.objects.create_user("kim", password=PASSWORD)
    Membership.objects.create(project=project, user=user, role=Role.MEMBER)
    return user, project


def seed(user: User, project: Project) -> Seeded:
    """Fill a project."""
    manifest, truth = manifest_of()
    version = version_of(user, project, manifest, truth)
    worker = worker_of("atlas-01", cpu_slots=1, gpu_slots=2, devices=["NVIDIA H200"] * 2)
    worker_of("atlas-02", cpu_slots=2, seen_at=timezone.now() - timedelta(hours=3))
    make = Maker(project=project, user=user)
    register = make(
        "Register campus", RegisterConfig(name="campus", root="/data/campus", format="synthetic"),
        State.SUCCEEDED, version=version,
    )  # fmt: skip
    extract = make(
        "motion features of campus v1", ExtractConfig(), State.SUCCEEDED, version=version,
        total=64, done=64, unit="videos",
    )  # fmt: skip
    features = FeatureSet.objects.create(
        version=version, name=extract.name, produced_by=extract, ready=True, extractor="motion",
        dim=64, video_count=len(manifest.videos), size_bytes=4_812_344, fingerprint="ab" * 32,
    )  # fmt: skip
    inputs = {"version": version, "feature_set": features}
    first = make(
        "UR-DMU on campus v1, seed 2022", UrdmuConfig(num_epochs=600), State.SUCCEEDED, **inputs,
        total=600, done=600, unit="steps", color=0, tags=["baseline"], parents=[extract],
    )  # fmt: skip
    second = make(
        "UR-DMU on campus v1, long warm-up, lr 3e-4, seed 7",
        UrdmuConfig(num_epochs=600, lr=3e-4, seed=7, selection="test", dropout=0.3),
        State.SUCCEEDED, **inputs, total=600, done=600, unit="steps", color=1,
        tags=["baseline", "lr"], cloned_from=first,
    )  # fmt: skip
    running = make(
        "UR-DMU on campus v1, seed 3", UrdmuConfig(num_epochs=3000, seed=3), State.RUNNING,
        **inputs, total=3000, done=1140, unit="steps", rate=11.4, color=2, worker=worker,
        slot="gpu:0", progress_note="validation AUC 0.871",
    )  # fmt: skip
    failed = make(
        "UR-DMU on campus v1, lr 1", UrdmuConfig(lr=1.0, seed=4), State.FAILED, **inputs,
        total=3000, done=212, unit="steps", color=3,
        error=VadError(
            "loss-not-finite", "The training loss became NaN at step 212.",
            "Lower the learning rate, which is 1, and queue the run again.",
            problems=["loss/triplet: nan at step 212", "gradient norm: inf at step 211"],
        ).to_dict(),
    )  # fmt: skip
    make("UR-DMU on campus v1, seed 5", UrdmuConfig(seed=5), State.QUEUED, **inputs, color=4)
    held = make("UR-DMU on campus v1, seed 6", UrdmuConfig(seed=6), State.HELD, **inputs, color=5)
    make("UR-DMU on campus v1, seed 8", UrdmuConfig(seed=8), State.CANCELLED, **inputs, color=6)
    waiting = make(
        f"Evaluate {running.name}", EvaluateConfig(), State.WAITING, **inputs, of_run=running,
        color=2, parents=[running],
    )  # fmt: skip
    RunEvent.objects.create(run=held, kind="held", by=user)
    for place, run in enumerate((first, second, running, failed)):
        curves_of(run, place)
    evaluations = [
        evaluate(make, run, version, features, manifest, truth, skill=skill, tail=tail)
        for run, skill, tail in ((first, 1.9, "hold"), (second, 1.3, "hold"))
    ]
    log_of(running, 240)
    log_of(failed, 60, last="ERROR The training loss became NaN at step 212.")
    runs = {
        "register": register, "extract": extract, "first": first, "second": second,
        "running": running, "failed": failed, "held": held, "waiting": waiting,
    }  # fmt: skip
    return Seeded(
        user=user, project=project, version=version, feature_set=features, runs=runs,
        evaluations=evaluations, worker=worker,
    )  # fmt: skip


def evaluate(
    make: Maker,
    of_run: Run,
    version: DatasetVersion,
    features: FeatureSet,
    manifest: Manifest,
    truth: dict[str, Truth],
    *,
    skill: float,
    tail: str,
) -> Evaluation:
    """Scores that know the truth as well as `skill` says, measured by the real code."""
    rng = np.random.default_rng(int(skill * 10))
    rule = SnippetRule()
    test = manifest.split("test")
    given = {}
    for video in test:
        inside = np.zeros(video.num_frames // 16)
        for start, end in truth[video.key].intervals if video.label else ():
            inside[start // 16 : end // 16 + 1] = skill
        given[video.key] = 1 / (1 + np.exp(1.5 - inside - rng.standard_normal(len(inside))))
    scores = ScoreSet.build(given, videos=test, truth=truth, rule=rule, tail=tail)
    run = make(
        f"Evaluate {of_run.name}", EvaluateConfig(tail=tail), State.SUCCEEDED, version=version,
        feature_set=features, of_run=of_run, color=of_run.color, total=24, done=24, unit="videos",
    )  # fmt: skip
    sha = scores.save(run.folder / "scores.safetensors")
    found = frame.evaluate(scores)
    by_class = once(("class", sha), lambda: bootstrap.class_intervals(scores, samples=200))
    for row in found["per_class"]:
        row["intervals"] = by_class[row["class"]]
    protocol = Protocol.of(
        dataset=version.fingerprint, videos=test, truth=truth, rule=rule, tail=tail
    )
    return Evaluation.objects.create(
        run=run, of_run=of_run, checkpoint=of_run.checkpoints.get(step=300), version=version,
        feature_set=features, protocol=protocol.to_dict(), fingerprint=protocol.fingerprint,
        selection=of_run.config["selection"], frame_auc=found["metrics"]["auc"],
        frame_ap=found["metrics"]["ap_step"], metrics=found["metrics"],
        intervals=once(("all", sha), lambda: bootstrap.intervals(scores, samples=200)),
        per_class=found["per_class"], counts=found["counts"], scores_sha256=sha,
    )  # fmt: skip
