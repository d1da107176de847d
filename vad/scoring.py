"""Scores of stage 1: every snippet of whole videos.

Videos are scored at their full length, never resampled. Videos of equal length go through the
network together, on a GPU of similar length as well, padded; a batch is bounded by its snippets, so
the longest video sets the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from vad.data.features import FeatureStore
from vad.data.manifest import Video
from vad.models.urdmu import UrDmu

BATCH_SNIPPETS = {"cpu": 8192, "cuda": 131_072}
# Longest video of a batch over its shortest. On a GPU padding costs less than one more batch does.
STRETCH = {"cpu": 1.0, "cuda": 2.0}


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
