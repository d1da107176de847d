"""Maps, bags and films of what is seeded."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from seeding.making import Seeded, once
from vad.bags import Bags
from vad.data.manifest import (
    Truth,
    Video,
    load_manifest,
    load_truth,
)
from vad.evaluation import bootstrap, frame
from vad.evaluation.patch_protocol import PatchProtocol, spatial_content
from vad.evaluation.patch_report import report
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from vad.evaluation.patch_set import PatchSet, PatchVideo
from vad.evaluation.patch_truth import PatchRule, truth_from_tracks
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from webapp.datasets.models import Video as VideoRow
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Run


def add_maps(
    seeded: Seeded, evaluation: Evaluation, *, rows: int = 8, columns: int = 8, tubelets: int = 2
) -> PatchScores:
    """Make it an evaluation of two stages: maps that know the boxes a little, and their metrics."""
    rng = np.random.default_rng(5)
    frame_scores = ScoreSet.load(evaluation.scores_path)
    truth, rule = load_truth(seeded.version.folder, "test"), PatchRule(rows=rows, columns=columns)
    made, measured, unlocated = [], [], []
    content = {}
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
        content[video.key] = spatial_content(video, known)
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
    protocol = PatchProtocol.of(
        Protocol.from_dict(evaluation.protocol), rule=rule, truth=content, tubelets=tubelets
    )
    evaluation.patch = {
        **once(("patch", sha), lambda: report(found, samples=100, seed=0)),
        "scores": evaluation.patches_path.name, "sha256": sha, "grid": [rows, columns],
        "tubelets": tubelets, "unlocated": len(unlocated), "unlocated_videos": unlocated, "why": "",
        "fingerprint": protocol.fingerprint, "protocol": protocol.to_dict(),
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
    found = once(
        ("stage", own_scores.scores.tobytes()),
        lambda: bootstrap.intervals(own_scores, samples=100),
    )
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
    path.write_bytes(
        once(("film", video.width, video.height, video.num_frames), lambda: _film(video))
    )
    return path


def _film(video: Video) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=int(video.fps))
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "32", "g": "12"}
        for n in range(video.num_frames):
            picture = np.full((video.height, video.width, 3), 90, dtype=np.uint8)
            left = n % (video.width - 40)
            picture[90:140, left : left + 40] = (200, 190, 170)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())
    return file.getvalue()
