"""What stands around the runs: use of devices, sweeps, runs of elsewhere, versions, people."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import timedelta

import numpy as np
import safetensors.numpy
from django.utils import timezone

from seeding.making import Maker, Seeded, version_of
from seeding.project import PASSWORD
from vad.configs import UrdmuConfig
from vad.data.manifest import (
    load_manifest,
    load_truth,
)
from webapp.accounts import audit, invitations, services, tokens
from webapp.accounts.models import Membership, Role, User
from webapp.datasets.models import DatasetVersion
from webapp.external import points, uploads
from webapp.external import services as external
from webapp.notify.models import Channel, Delivery, Rule
from webapp.runs import chunks
from webapp.runs.models import Run, State
from webapp.sweeps import space
from webapp.sweeps.models import Sweep, Trial


def add_usage(run: Run) -> None:
    """What a worker would have measured of a run: a sample in 5 s, with a pause of two minutes."""
    rng = np.random.default_rng(9)
    seconds = np.arange(1, 600, 5)
    seconds = np.where(seconds > 300, seconds + 120, seconds)
    n = len(seconds)
    done = np.minimum(np.linspace(0, run.done, n), run.done)
    values = {
        "cpu_percent": 180 + 20 * rng.standard_normal(n),
        "memory_mb": np.linspace(900, 2400, n) + 40 * rng.standard_normal(n),
        "read_mb_s": np.abs(30 * rng.standard_normal(n)),
        "write_mb_s": np.abs(2 * rng.standard_normal(n)),
        "gpu0_util_percent": np.clip(86 + 9 * rng.standard_normal(n), 0, 100),
        "gpu0_memory_mb": 21_400 + 200 * rng.standard_normal(n),
        "gpu0_power_w": 410 + 30 * rng.standard_normal(n),
        "step": np.floor(done),
    }
    chunks.append(run, {f"{chunks.SYSTEM}{k}": (seconds, v) for k, v in values.items()})
    Run.objects.filter(pk=run.pk).update(
        environment={
            "vad": "0.1.0", "commit": hashlib.sha1(b"a").hexdigest(), "dirty": True,
            "code_sha256": hashlib.sha256(b"a").hexdigest(), "python": "3.11.9",
            "torch": "2.13.0", "numpy": "2.4.6", "cuda": "13.0", "cudnn": 91002,
            "device": "NVIDIA H200", "driver": "580.65.06", "host": "atlas-01", "threads": 16,
            "processors": 32, "processor": "AMD EPYC 9654", "system": "Linux-6.8-x86_64",
            "deterministic": False, "pid": 4711,
        }
    )  # fmt: skip


def add_sweep(seeded: Seeded, trials: int = 18) -> Sweep:
    """A random sweep in the middle: trials that ended, were stopped early, failed and go on."""
    rng = np.random.default_rng(6)
    swept = space.from_texts(
        UrdmuConfig.kind,
        {"lr": "1e-5 to 1e-2 log", "dropout": "0.3 0.5 0.7", "memory_slots": "32 to 128"},
    )
    sweep = Sweep.objects.create(
        project=seeded.project, owner=seeded.user, name="Rates and dropout", kind=UrdmuConfig.kind,
        config=UrdmuConfig(num_epochs=600).to_dict(), feature_set=seeded.feature_set,
        space={d.name: d.to_json() for d in swept}, strategy="random", settings=24, seeds=[2022],
        objective="validation/video_auc", stop_rule="median", stop_after=100,
    )  # fmt: skip
    make = Maker(project=seeded.project, user=seeded.user)
    inputs = {"version": seeded.version, "feature_set": seeded.feature_set}
    steps = np.arange(50, 601, 50)
    for number in range(trials):
        params = space.draw(swept, (0, number, 0))
        reached = (
            0.9 - 0.08 * abs(np.log10(params["lr"]) + 3.3) - 0.1 * abs(params["dropout"] - 0.5)
        )
        curve = reached * (1 - np.exp(-steps / 120)) + 0.01 * rng.standard_normal(len(steps))
        state, upto = State.SUCCEEDED, len(steps)
        if number >= trials - 2:
            state, upto = State.RUNNING, 5
        elif number == 3:
            state, upto = State.FAILED, 0
        elif reached < 0.78:
            state, upto = State.CANCELLED, 3
        run = make(
            f"{sweep.name}, trial {number + 1}", sweep.config_of(params, 2022), state, **inputs,
            total=600, done=50 * upto, unit="steps", color=number,
        )  # fmt: skip
        if upto:
            chunks.append(run, {sweep.objective: (steps[:upto], curve[:upto])})
        cut = {}
        if state == State.CANCELLED:
            why = f"At step 150 its best was {curve[:3].max():.4g}, worse than the median."
            cut = {"pruned_step": 150, "pruned_why": why}
        Trial.objects.create(
            sweep=sweep, number=number, setting=number, seed=2022, params=params, run=run, **cut
        )
    return sweep


def add_checkpoint_files(run: Run, steps: list[int]) -> None:
    """Files for some of a run's checkpoints; a training keeps the newest ones and the best."""
    for checkpoint in run.checkpoints.filter(step__in=steps):
        path = run.folder / checkpoint.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"weights of step {checkpoint.step}".encode())


def add_external(seeded: Seeded) -> Run:
    """A run that is trained elsewhere, as its script logs it."""
    by, rng = seeded.user, np.random.default_rng(5)
    run = external.run_start(
        project=seeded.project, by=by, name="Ours on a cluster", tags=["cluster"],
        params={"lr": 3e-4, "model": {"depth": 6, "heads": 8}, "loss": "focal"},
        labels={"site": "hpc"}, client="vad.client", environment={"host": "node-17"},
        started_at=timezone.now() - timedelta(hours=3),
    )  # fmt: skip
    steps, at_ms = range(0, 4000, 20), int(run.started_at.timestamp() * 1000)
    rows = [
        ("loss/total", float(np.exp(-step / 1500) + 0.02 * rng.standard_normal()), step,
         at_ms + 2500 * step)
        for step in steps
    ]  # fmt: skip
    batch = points.from_rows(rows)
    external.metrics_log(run_id=run.pk, batch=batch, by=by, done=4000, total=5000)
    lines = ["INFO training on 2 nodes", "WARNING loader of rank 1 is slow", "INFO epoch 4 done"]
    external.log_append(run_id=run.pk, lines=lines, by=by)
    content = io.BytesIO(b"video,auc\nfight_01,0.91\n")
    uploads.artifact_store(run_id=run.pk, path="tables/per_video.csv", data=content, by=by)
    weights = safetensors.numpy.save({"w": np.ones(64, np.float32)})
    kept = uploads.upload_create(
        run_id=run.pk, kind="checkpoint", path="model", step=4000, best=True, by=by,
        size_bytes=len(weights), sha256=hashlib.sha256(weights).hexdigest(),
        metrics={"val/auc": 0.84},
    )  # fmt: skip
    uploads.upload_append(upload_id=kept.pk, offset=0, data=io.BytesIO(weights), by=by)
    uploads.upload_finish(upload_id=kept.pk, by=by)
    run.refresh_from_db()
    seeded.runs["external"] = run
    return run


def add_version(seeded: Seeded) -> DatasetVersion:
    """A second version: a video came, one went, and three have another split, length, interval."""
    manifest = load_manifest(seeded.version.folder)
    folder = seeded.version.folder
    truth = {**load_truth(folder, "train"), **load_truth(folder, "test")}
    changed = {
        "train/normal_002": {"split": "test"},
        "train/normal_004": {"num_frames": 400},
    }
    videos = [
        replace(video, **changed.get(video.key, {}))  # type: ignore[arg-type]
        for video in manifest.videos
        if video.key != "train/normal_000"
    ]
    videos.append(replace(videos[0], key="test/new_064", split="test", path="test/new_064.mp4"))
    truth["test/running_043"] = replace(truth["test/running_043"], intervals=((10, 100),))
    newer = replace(manifest, videos=tuple(videos))
    return version_of(seeded.user, seeded.project, newer, truth, number=2)


def add_notifications(seeded: Seeded) -> None:
    """Channels in every state, rules of every kind, messages in every status."""
    now = timezone.now()
    chat = Channel.objects.create(
        user=seeded.user, kind="webhook", name="Lab chat, channel for nights", confirmed_at=now,
        target="https://chat.lab.example.org/hooks/q8c1",
    )  # fmt: skip
    mail = Channel.objects.create(
        user=seeded.user, kind="mail", name="me", target="kim.with.a.long.name@lab.example.org",
        confirmed_at=now, paused=True,
    )  # fmt: skip
    Channel.objects.create(
        user=seeded.user, kind="mail", name="phone", target="kim@phone.example.org"
    )
    Rule.objects.create(channel=chat, event="run-failed", project=seeded.project)
    Rule.objects.create(channel=mail, event="run-ended", paused=True)
    Rule.objects.create(
        channel=chat, event="metric-crossed", metric_key="val/auc (frame level)", value=0.85
    )
    Rule.objects.create(channel=chat, event="queue-waits", minutes=90, alarmed_at=now)
    failed = seeded.runs["failed"]
    for n, (status, attempts, code, error) in enumerate(
        (
            ("sent", 1, 200, ""),
            ("failed", 1, 404, "It answered 404."),
            ("pending", 3, None, "It did not answer within 10 s."),
        )
    ):
        Delivery.objects.create(
            channel=chat, once=f"seeded:{n}", event="run-failed", subject=f"{failed.name} failed",
            text="", run=failed, status=status, attempts=attempts, code=code, error=error,
            took_ms=84 + n, created_at=now - timedelta(minutes=7 * n),
            next_at=now + timedelta(minutes=9),
        )  # fmt: skip


def add_people(seeded: Seeded) -> User:
    """An admin of the project, others in every role, links and tokens alive and dead, a history."""
    project, kim = seeded.project, seeded.user
    admin = User.objects.create_user("ada.lindqvist", password=PASSWORD)
    Membership.objects.create(project=project, user=admin, role=Role.ADMIN)
    second = services.project_create(name="Night shift at the harbour, thermal cameras", by=admin)
    for name, role in (("jo", Role.VIEWER), ("mei-lin.zhou@lab", Role.MEMBER)):
        made, _ = invitations.invitation_create(project=project, by=admin, role=role, note=name)
        invitations.invitation_sign_up(invitation=made, username=name, password="long-and-odd-19")
    invitations.invitation_create(
        project=project, by=admin, role=Role.VIEWER, note="Students of the spring course",
        days=14, max_uses=30,
    )  # fmt: skip
    taken_back, _ = invitations.invitation_create(project=project, by=admin, note="sam")
    invitations.invitation_revoke(invitation=taken_back, by=admin)
    for person in (admin, kim):
        _, secret = tokens.token_create(
            by=person, name="Nightly sweep on atlas-01", scope="write", project=project
        )
        tokens.find(secret)
        tokens.token_create(by=person, name="Notebook", days=30)
        dead, _ = tokens.token_create(by=person, name="Old laptop")
        tokens.token_revoke(token=dead, by=person)
    services.member_set_role(project=project, user=kim, role=Role.VIEWER, by=admin)
    services.member_set_role(project=project, user=kim, role=Role.MEMBER, by=admin)
    services.project_rename(project=second, name="Night shift", by=admin)
    with audit.origin("2001:db8:85a3::8a2e:370:7334"):
        for number in range(60):
            audit.record("sign-in", by=(admin, kim)[number % 2], subject="Firefox on Linux")
        audit.record("sign-in-failed", by=kim, subject=kim.username)
        audit.record("sign-in-locked", by=kim, subject=kim.username)
    return admin
