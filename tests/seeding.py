"""A project with something on every page: real files, real scores, every state of a run.

All numbers are computed by the code under test from scores drawn from a seed; none is made up.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import safetensors.numpy
from django.conf import settings
from django.utils import timezone

from vad.bags import Bags
from vad.configs import EvaluateConfig, ExtractConfig, RegisterConfig, UrdmuConfig
from vad.data.manifest import (
    Manifest,
    Track,
    Truth,
    Video,
    load_manifest,
    load_truth,
    save_version,
)
from vad.errors import VadError
from vad.evaluation import bootstrap, frame
from vad.evaluation.patch import patch_metrics
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.patch_truth import PatchRule, truth_from_tracks
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from vad.timeline import SnippetRule
from webapp.accounts import audit, invitations, services, tokens
from webapp.accounts.models import Membership, Project, Role, User
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.datasets.models import Video as VideoRow
from webapp.evaluations.models import Evaluation
from webapp.external import points, uploads
from webapp.external import services as external
from webapp.fleet.models import Worker
from webapp.runs import metrics
from webapp.runs.models import CLAIMED, Checkpoint, Run, RunEvent, State

CLASSES = ("Fighting", "Running", "Running", "Fire", "Running")  # one of them often
PASSWORD = "a-long-one-42"


@dataclass(kw_only=True)
class Seeded:
    user: User
    project: Project
    version: DatasetVersion
    feature_set: FeatureSet
    runs: dict[str, Run]
    evaluations: list[Evaluation]
    worker: Worker


def seed(user: User, project: Project) -> Seeded:
    """Fill a project."""
    manifest, truth = _manifest()
    version = _version(user, project, manifest, truth)
    worker = _worker("atlas-01", cpu_slots=1, gpu_slots=2, devices=["NVIDIA H200"] * 2)
    _worker("atlas-02", cpu_slots=2, seen_at=timezone.now() - timedelta(hours=3))
    make = _Maker(project=project, user=user)
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
        _curves(run, place)
    evaluations = [
        _evaluate(make, run, version, features, manifest, truth, skill=skill, tail=tail)
        for run, skill, tail in ((first, 1.9, "hold"), (second, 1.3, "hold"))
    ]
    _log(running, 240)
    _log(failed, 60, last="ERROR The training loss became NaN at step 212.")
    runs = {
        "register": register, "extract": extract, "first": first, "second": second,
        "running": running, "failed": failed, "held": held, "waiting": waiting,
    }  # fmt: skip
    return Seeded(
        user=user, project=project, version=version, feature_set=features, runs=runs,
        evaluations=evaluations, worker=worker,
    )  # fmt: skip


def add_maps(
    seeded: Seeded, evaluation: Evaluation, *, rows: int = 8, columns: int = 8, tubelets: int = 2
) -> PatchScores:
    """Make it an evaluation of two stages: maps that know the boxes a little, and their metrics."""
    rng = np.random.default_rng(5)
    frame_scores = ScoreSet.load(evaluation.scores_path)
    truth, rule = load_truth(seeded.version.folder, "test"), PatchRule(rows=rows, columns=columns)
    made, measured, unlocated = [], [], []
    for video in load_manifest(seeded.version.folder).split("test"):
        scores, known = frame_scores.video(video.key), truth.get(video.key, Truth())
        places = truth_from_tracks(video, known, rule).fitted(scores.num_frames)
        starts = np.searchsorted(places.bounds, scores.start_frames + 8, side="right") - 1
        inside = places.masks[np.minimum(starts, len(places.masks) - 1)]
        logits = rng.normal(-3, 1, (len(scores.scores), tubelets, rule.patches))
        logits += (3.4 * inside + 2.2 * scores.scores[:, None])[:, None]
        kept = (rng.random(logits.shape) < 0.7) | inside[:, None]
        maps = (kept / (1 + np.exp(-logits))).astype(np.float32)
        highest = maps.max(axis=(1, 2))
        stage1 = np.clip(2 * scores.scores - highest, 0, 1).astype(np.float32)
        made.append(
            VideoPatches(
                key=video.key,
                maps=maps,
                kept=kept,
                stage1=stage1,
                stage2=highest,
                frames=scores.frames.astype(np.int64),
            )
        )
        if video.label and not known.tracks:
            unlocated.append(video.key)
            continue
        measured.append(
            PatchVideo(
                video=replace(video, num_frames=scores.num_frames),
                maps=maps.max(axis=1),
                frame_scores=scores.scores,
                truth=places,
                tracks=known.tracks,
                bounds=np.array([*scores.start_frames, scores.num_frames]),
            )
        )
    patches = PatchScores.build(made, rows=rows, columns=columns)
    sha = patches.save(evaluation.patches_path)
    found = PatchSet(videos=tuple(measured))
    evaluation.patch = {
        "scores": evaluation.patches_path.name, "sha256": sha, "grid": [rows, columns],
        "tubelets": tubelets, "metrics": patch_metrics(found), "videos": len(measured),
        "intervals": {}, "unlocated": len(unlocated), "unlocated_videos": unlocated, "why": "",
        "frames": found.num_frames,
        "fingerprint": "cd" * 32, "protocol": rule.to_dict(),
    }  # fmt: skip
    evaluation.stages = {
        name: _stage(frame_scores, np.concatenate([getattr(v, name) for v in made]))
        for name in ("stage1", "stage2")
    } | {"fused": _stage(frame_scores, frame_scores.scores)}
    evaluation.save()
    return patches


def _stage(scores: ScoreSet, own: np.ndarray) -> dict[str, Any]:
    """What an evaluation says of one stage."""
    own_scores = replace(scores, scores=own.astype(np.float32))
    metrics = frame.evaluate(own_scores)["metrics"]
    found = bootstrap.intervals(own_scores, samples=100)
    return {
        "auc": metrics["auc"], "ap_step": metrics["ap_step"],
        "intervals": {name: found.get(name) for name in ("auc", "ap_step")},
    }  # fmt: skip


def add_bags(seeded: Seeded, run: Run, *, segments: int = 32, slots: int = 60) -> list[Bags]:
    """Bags of a run at four steps: what stands out does so more and more."""
    rng = np.random.default_rng(4)
    train = VideoRow.objects.filter(version=seeded.version, split="train").order_by("key")
    normal, abnormal = (list(train.filter(label=label)[:3]) for label in (0, 1))
    keys = tuple(video.key for video in (*normal, *abnormal))
    labels = (0,) * len(normal) + (1,) * len(abnormal)
    event = np.zeros((len(keys), segments))
    for row in range(len(normal), len(keys)):
        event[row, 5 * row % segments :][:3] = 1
    found = []
    for step in (50, 100, 200, 300):
        noise = rng.standard_normal((len(keys), segments))
        scores = 1 / (1 + np.exp(2 - step / 60 * event - 0.5 * noise))
        size = scores**2
        found.append(
            Bags(
                step=step, keys=keys, labels=labels, top=segments // 16 + 1,
                scores=scores.astype(np.float32), abnormal=scores.astype(np.float32),
                normal=(1 - scores).astype(np.float32),
                carried=(size / size.sum(axis=1, keepdims=True)).astype(np.float32),
                abnormal_slots=rng.integers(0, 256, (len(keys), segments, slots), dtype=np.uint8),
                normal_slots=rng.integers(0, 256, (len(keys), segments, slots), dtype=np.uint8),
            )
        )  # fmt: skip
        found[-1].save(run.folder)
    return found


def add_footage(seeded: Seeded, key: str) -> Path:
    """A real small film of one video, where its version says that it lies: a square that moves."""
    manifest = load_manifest(seeded.version.folder)
    video = next(v for v in manifest.videos if v.key == key)
    path = Path(manifest.media_root) / video.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=int(video.fps))
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "32", "g": "12"}
        for n in range(video.num_frames):
            picture = np.full((video.height, video.width, 3), 90, dtype=np.uint8)
            left = n % (video.width - 40)
            picture[90:140, left : left + 40] = (200, 190, 170)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


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
    metrics.append(run, {f"{metrics.SYSTEM}{k}": (seconds, v) for k, v in values.items()})
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
    return _version(seeded.user, seeded.project, newer, truth, number=2)


def people() -> tuple[User, Project]:
    """A member and the project."""
    project = Project.objects.create(name="Campus safety", slug="campus-safety")
    user = User.objects.create_user("kim", password=PASSWORD)
    Membership.objects.create(project=project, user=user, role=Role.MEMBER)
    return user, project


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


@dataclass(kw_only=True)
class _Maker:
    project: Project
    user: User
    count: int = 0

    def __call__(self, name: str, config: Any, state: str, **fields: Any) -> Run:
        self.count += 1
        queued = timezone.now() - timedelta(minutes=300 - 20 * self.count)
        parents = fields.pop("parents", ())
        if state in CLAIMED:
            fields |= {"claim": uuid.uuid4(), "beat_at": timezone.now()}
        if state not in (State.QUEUED, State.WAITING, State.HELD):
            fields["started_at"] = queued + timedelta(seconds=40)
        if state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
            fields["ended_at"] = queued + timedelta(minutes=7, seconds=11 * self.count)
        fields["environment"] = {"python": "3.11.9", "torch": "2.11.0", "device": "NVIDIA H200"}
        run = Run.objects.create(
            project=self.project, owner=self.user, name=name, kind=config.kind, state=state,
            config=config.to_dict(), queued_at=queued, device=config.device, **fields,
        )  # fmt: skip
        Run.objects.filter(pk=run.pk).update(created_at=queued)
        run.parents.set(parents)
        run.folder.mkdir(parents=True, exist_ok=True)
        RunEvent.objects.create(run=run, kind="created", by=self.user)
        return run


def _manifest() -> tuple[Manifest, dict[str, Truth]]:
    """64 videos: 40 to train, 24 to test, half of them abnormal."""
    rng = np.random.default_rng(3)
    videos, truth = [], {}
    for i in range(64):
        split, label = ("train" if i < 40 else "test"), i % 2
        kind = CLASSES[(i // 2) % len(CLASSES)]
        frames = int(rng.integers(30, 90)) * 16
        key = f"{split}/{kind.lower() if label else 'normal'}_{i:03d}"
        videos.append(
            Video(
                key=key,
                split=split,
                label=label,
                classes=(kind,) if label else (),
                path=f"{key}.mp4",
                num_frames=frames,
                fps=25.0,
                width=320,
                height=240,
            )
        )
        if label:
            start = int(rng.integers(4, 14)) * 16 + 5
            end = start + int(rng.integers(6, 14)) * 16
            boxes = ((start, 60.0, 80.0, 110.0, 150.0), (end - 1, 180.0, 100.0, 240.0, 180.0))
            track = Track(start_frame=start, end_frame=end, keyframes=boxes)
            truth[key] = Truth(intervals=((start, end),), tracks=(track,) if i % 16 != 15 else ())
    manifest = Manifest(
        name="campus", format="synthetic", videos=tuple(videos), rules={"seed": 7},
        media_root=str(settings.DATA_DIR / "footage"),
    )  # fmt: skip
    return manifest, truth


def _version(
    user: User, project: Project, manifest: Manifest, truth: dict[str, Truth], number: int = 1
) -> DatasetVersion:
    dataset, _ = Dataset.objects.get_or_create(
        project=project, name="campus", defaults={"created_by": user}
    )
    version = DatasetVersion(
        dataset=dataset, number=number, format=manifest.format, rules=dict(manifest.rules),
        created_by=user, notes=["normal_012.mp4: its container says 812 frames, 800 were decoded"],
    )  # fmt: skip
    version.folder.mkdir(parents=True)
    version.fingerprint = save_version(version.folder, manifest, truth)
    version.save()
    rows = [
        VideoRow(
            version=version,
            key=v.key,
            split=v.split,
            label=v.label,
            classes=list(v.classes),
            path=v.path,
            num_frames=v.num_frames,
            fps=v.fps,
            width=v.width,
            height=v.height,
        )
        for v in manifest.videos
    ]
    VideoRow.objects.bulk_create(rows)
    return version


def _worker(name: str, **fields: Any) -> Worker:
    now = timezone.now()
    given = {"started_at": now - timedelta(days=1), "seen_at": now} | fields
    return Worker.objects.create(
        name=name, host=f"{name}.lab", version="0.1.0", data_dir="-", **given
    )


def _curves(run: Run, place: int) -> None:
    """Losses at every step, scores every 50; as a training looks, drawn from a seed."""
    rng = np.random.default_rng(place)
    steps = np.arange(1, run.done + 1)
    total = 1.4 * np.exp(-steps / 180) + 0.25 + 0.05 * rng.standard_normal(len(steps))
    terms = {"total": total, "cls": 0.6 * total, "triplet": 0.2 * total, "kl": 0.05 * total}
    points = {f"loss/{name}": (steps, values) for name, values in terms.items()}
    at = steps[49::50]
    auc = 0.92 - 0.02 * place - 0.4 * np.exp(-at / 150) + 0.01 * rng.standard_normal(len(at))
    points["validation/video_auc"] = (at, auc)
    points["test/frame_auc"] = (at, auc - 0.03)
    metrics.append(run, {k: pair for k, pair in points.items() if len(pair[0])})
    for step in range(100, run.done + 1, 100):
        sha = hashlib.sha256(f"{run.pk}{step}".encode()).hexdigest()
        Checkpoint.objects.create(
            run=run, step=step, path=f"checkpoints/step-{step:06d}.safetensors", sha256=sha,
            size_bytes=18_400_512, best=step == 300,
            metrics={"validation/video_auc": float(auc[step // 50 - 1])},
        )  # fmt: skip


def _evaluate(
    make: _Maker,
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
    by_class = bootstrap.class_intervals(scores, samples=200)
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
        intervals=bootstrap.intervals(scores, samples=200), per_class=found["per_class"],
        counts=found["counts"], scores_sha256=sha,
    )  # fmt: skip


def _log(run: Run, lines: int, last: str = "") -> None:
    text = [
        f"2026-11-22 09:{i // 60:02d}:{i % 60:02d} step {5 * i}: loss {1.4 / (1 + i / 40):.4f}"
        for i in range(lines)
    ]
    text.insert(lines // 2, "2026-11-22 09:02:00 WARNING the GPU is shared with another process")
    if last:
        text.append(f"2026-11-22 09:59:59 {last}")
    (run.folder / "log.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
