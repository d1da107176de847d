"""What everything that is seeded is made of: data, runs in any state, curves, logs."""

from __future__ import annotations

import copy
import hashlib
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.utils import timezone

from vad.data.manifest import (
    Manifest,
    Track,
    Truth,
    Video,
    save_version,
)
from webapp.accounts.models import Project, User
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.datasets.models import Video as VideoRow
from webapp.evaluations.models import Evaluation
from webapp.fleet.models import Worker
from webapp.runs import chunks
from webapp.runs.models import CLAIMED, Checkpoint, Run, RunEvent, State
from webapp.runs.outcomes import video_rows

CLASSES = ("Fighting", "Running", "Running", "Fire", "Running")  # one of them often
_made: dict[Hashable, Any] = {}


@dataclass(kw_only=True)
class Seeded:
    user: User
    project: Project
    version: DatasetVersion
    feature_set: FeatureSet
    runs: dict[str, Run]
    evaluations: list[Evaluation]
    worker: Worker


def once(key: Hashable, make: Callable[[], Any]) -> Any:
    """What is costly to make and always the same, made once in a process; a copy for each."""
    if key not in _made:
        _made[key] = make()
    return copy.deepcopy(_made[key])


@dataclass(kw_only=True)
class Maker:
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


def manifest_of() -> tuple[Manifest, dict[str, Truth]]:
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


def version_of(
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
    VideoRow.objects.bulk_create(video_rows(version, manifest))
    return version


def worker_of(name: str, **fields: Any) -> Worker:
    now = timezone.now()
    given = {"started_at": now - timedelta(days=1), "seen_at": now} | fields
    return Worker.objects.create(
        name=name, host=f"{name}.lab", version="0.1.0", data_dir="-", **given
    )


def curves_of(run: Run, place: int) -> None:
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
    chunks.append(run, {k: pair for k, pair in points.items() if len(pair[0])})
    for step in range(100, run.done + 1, 100):
        sha = hashlib.sha256(f"{run.pk}{step}".encode()).hexdigest()
        Checkpoint.objects.create(
            run=run, step=step, path=f"checkpoints/step-{step:06d}.safetensors", sha256=sha,
            size_bytes=18_400_512, best=step == 300,
            metrics={"validation/video_auc": float(auc[step // 50 - 1])},
        )  # fmt: skip


def log_of(run: Run, lines: int, last: str = "") -> None:
    text = [
        f"2026-11-22 09:{i // 60:02d}:{i % 60:02d} step {5 * i}: loss {1.4 / (1 + i / 40):.4f}"
        for i in range(lines)
    ]
    text.insert(lines // 2, "2026-11-22 09:02:00 WARNING the GPU is shared with another process")
    if last:
        text.append(f"2026-11-22 09:59:59 {last}")
    (run.folder / "log.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
