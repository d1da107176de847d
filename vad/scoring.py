"""Scores of a checkpoint: every snippet of every test video, and what they are worth.

Videos are scored at their full length, never resampled. Videos of equal length go through the
network together, on a GPU of similar length as well, padded; a batch is bounded by its snippets, so
the longest video sets the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vad import devices, results
from vad.configs import EvaluateConfig
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Truth, Video, fingerprint, load_manifest, load_truth
from vad.errors import VadError
from vad.evaluation import bootstrap, frame
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from vad.models.urdmu import UrDmu
from vad.reporting import Reporter
from vad.training import checkpoints

SCORES = "scores.safetensors"
BATCH_SNIPPETS = {"cpu": 8192, "cuda": 131_072}
# Longest video of a batch over its shortest. On a GPU padding costs less than one more batch does.
STRETCH = {"cpu": 1.0, "cuda": 2.0}


def load_model(path: Path, device: torch.device) -> tuple[UrDmu, dict[str, Any]]:
    """The network of a checkpoint, in evaluation mode, and the checkpoint's metadata.

    Raises:
        VadError: `file-missing`, or `checkpoint-invalid`.
    """
    found = checkpoints.read(path)
    model = build_model(found.metadata.get("architecture"), path)
    checkpoints.load_weights(model, found.part(checkpoints.MODEL), path)
    return model.to(device).eval(), dict(found.metadata)


def build_model(architecture: Any, source: object) -> UrDmu:
    """An untrained network from a checkpoint's `architecture` entry.

    Raises:
        VadError: `checkpoint-invalid`, another architecture or a damaged entry.
    """
    try:
        if architecture["name"] != "urdmu":
            raise ValueError(f"its architecture is {architecture['name']!r}, expected 'urdmu'")
        return UrDmu(
            int(architecture["feature_dim"]), memory_slots=int(architecture["memory_slots"])
        )
    except (TypeError, KeyError, ValueError) as exc:
        raise VadError(
            "checkpoint-invalid",
            f"The checkpoint {source} cannot be used: {exc}.",
            "Use a checkpoint of a UR-DMU training run, or import a published one.",
        ) from exc


def score_videos(
    model: UrDmu, store: FeatureStore, keys: Iterable[str], device: torch.device
) -> Iterator[tuple[str, np.ndarray]]:
    """Score videos, averaged over crops.

    Args:
        model: is put into evaluation mode for the time of this call.
        keys: videos that have features.

    Yields:
        (key, [T] float32), shorter videos first.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    limit = BATCH_SNIPPETS[kind]
    training = model.training
    model.eval()
    try:
        for chosen in _batches(keys, store, limit, STRETCH[kind]):
            found = _score(model, [store.get(key) for key in chosen], device, limit)
            yield from zip(chosen, found, strict=True)
    finally:
        model.train(training)


def _batches(
    keys: Iterable[str], store: FeatureStore, limit: int, stretch: float
) -> Iterator[list[str]]:
    """Videos with as many crops each, shorter ones first, `limit` snippets with padding at most."""
    batch: list[str] = []
    shape = (0, 0)  # crops, snippets of the shortest
    for key in sorted(keys, key=lambda key: store.shape(key)[:2][::-1]):
        crops, length, _ = store.shape(key)
        fits = crops == shape[0] and length <= shape[1] * stretch
        if batch and not (fits and (len(batch) + 1) * crops * length <= limit):
            yield batch
            batch = []
        if not batch:
            shape = (crops, length)
        batch.append(key)
    if batch:
        yield batch


@torch.no_grad()
def _score(
    model: UrDmu, features: Sequence[np.ndarray], device: torch.device, limit: int
) -> list[np.ndarray]:
    """Scores [T] of videos [N, T, D] that differ in T alone; many crops are taken in turns."""
    crops, _, dim = features[0].shape
    lengths = [video.shape[1] for video in features]
    longest = max(lengths)
    padded = torch.tensor(lengths, device=device) if min(lengths) < longest else None
    step = max(1, limit // (longest * len(features)))
    total = np.zeros((len(features), longest), dtype=np.float64)
    for first in range(0, crops, step):
        count = min(step, crops - first)
        part = np.zeros((len(features), count, longest, dim), features[0].dtype)
        for place, video in zip(part, features, strict=True):
            place[:, : video.shape[1]] = video[first : first + count]
        x = torch.from_numpy(part).to(device).float()
        scores = (model(x) if padded is None else model.score_padded(x, padded)).scores
        total += scores.double().cpu().numpy() * count
    mean = (total / crops).astype(np.float32)
    return [row[:length] for row, length in zip(mean, lengths, strict=True)]


def with_features(videos: Sequence[Video], store: FeatureStore) -> tuple[list[Video], list[str]]:
    """The videos that have features, and the keys of those that have none."""
    missing = store.missing([v.key for v in videos])
    gone = set(missing)
    return [v for v in videos if v.key not in gone], missing


def missing_text(missing: Sequence[str], of: int, what: str) -> str:
    """One sentence about videos that are left out."""
    named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    return f"{len(missing)} of {of} {what} videos have no features and are left out: {named}."


def evaluate_run(
    config: EvaluateConfig,
    *,
    manifest_dir: Path,
    features_dir: Path,
    checkpoint: Path,
    output: Path,
    reporter: Reporter,
) -> None:
    """Score the test split with a checkpoint, write `output/scores.safetensors`, report metrics.

    Raises:
        VadError: `features-missing`, `checkpoint-invalid`, `evaluation-impossible`, …
    """
    device = devices.resolve(config.device)
    manifest = load_manifest(manifest_dir)
    truth = load_truth(manifest_dir, "test")
    store = FeatureStore.open(features_dir)
    model, metadata = load_model(checkpoint, device)
    videos = _videos(manifest, store, model, reporter)
    reporter.send(
        results.Started(
            pid=os.getpid(),
            device=devices.describe(device),
            total=len(videos),
            unit="videos",
            environment=devices.environment(device),
        )
    )
    scores: dict[str, np.ndarray] = {}
    for key, values in score_videos(model, store, [v.key for v in videos], device):
        scores[key] = values
        reporter.progress(len(scores), len(videos), "videos")
        if reporter.stop_requested:
            reporter.send(results.Stopped(step=len(scores)))
            return
    found = ScoreSet.build(
        scores,
        videos=videos,
        truth=truth,
        rule=store.rule,
        tail=config.tail,
        smoothing=config.smoothing,
    )
    protocol = Protocol.of(
        dataset=_dataset_fingerprint(manifest, manifest_dir, truth),
        videos=videos,
        truth=truth,
        rule=store.rule,
        tail=config.tail,
        smoothing=config.smoothing,
    )
    head = {
        "protocol": protocol.to_dict(),
        "fingerprint": protocol.fingerprint,
        "selection": selection_of(metadata),
        "checkpoint_step": metadata["step"],
        "features": store.fingerprint,
    }
    sha256 = _save(found, output, head)
    samples, seed = config.bootstrap_samples, config.seed
    measured = frame.evaluate(found)
    by_class = bootstrap.class_intervals(found, samples=samples, seed=seed)
    for row in measured["per_class"]:
        row["intervals"] = by_class[row["class"]]
    reporter.send(
        results.Result(
            kind=config.kind,
            data={
                "scores": SCORES,
                "sha256": sha256,
                **head,
                **measured,
                "intervals": bootstrap.intervals(found, samples=samples, seed=seed),
            },
        )
    )


def selection_of(metadata: Mapping[str, Any]) -> str:
    """How a checkpoint was chosen: `validation`, `test`, `last`, or `imported`.

    A checkpoint that is not its run's best by the rule is `last`, whatever the rule was.
    """
    rule = str(metadata.get("config", {}).get("selection", "imported"))
    best = metadata.get("best", {}).get("step")
    return rule if rule in ("imported", "last") or best == metadata["step"] else "last"


def _videos(
    manifest: Manifest, store: FeatureStore, model: UrDmu, reporter: Reporter
) -> list[Video]:
    """The test videos with features.

    Raises:
        VadError: `too-few-videos`, `features-missing`, or `checkpoint-invalid` (another width).
    """
    if store.dim != model.feature_dim:
        raise VadError(
            "checkpoint-invalid",
            f"The checkpoint takes features of {model.feature_dim} numbers, "
            f"{store.folder} holds {store.dim}.",
            "Evaluate it on the features that it was trained on.",
        )
    test = manifest.split("test")
    if not test:
        raise VadError(
            "too-few-videos",
            f"Data set {manifest.name} has no test videos.",
            "Register a data set version with a test split.",
        )
    videos, missing = with_features(test, store)
    if not videos:
        raise VadError(
            "features-missing",
            f"None of the {len(test)} test videos of {manifest.name} has features in "
            f"{store.folder}.",
            "Choose the features of this data set.",
        )
    if missing:
        reporter.log(missing_text(missing, len(test), "test"), "warning")
    return videos


def _dataset_fingerprint(
    manifest: Manifest, manifest_dir: Path, test_truth: Mapping[str, Truth]
) -> str:
    """Of the whole version; the truth of training videos counts, but plays no part in scores."""
    return fingerprint(manifest, {**load_truth(manifest_dir, "train"), **test_truth})


def _save(scores: ScoreSet, output: Path, metadata: Mapping[str, Any]) -> str:
    try:
        output.mkdir(parents=True, exist_ok=True)
        return scores.save(output / SCORES, metadata)
    except OSError as exc:
        if checkpoints.is_full(exc):
            raise checkpoints.disk_full(output / SCORES) from exc
        raise
