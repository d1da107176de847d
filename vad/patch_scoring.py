"""Stage 2 over whole videos: a map of scores for every snippet.

Shapes: T snippets of a video, n of them, B clips of a batch, t tubelets, P patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vad.data.backgrounds import Backgrounds
from vad.data.clips import Clips
from vad.data.features import FeatureStore
from vad.models.two_stage import TwoStage
from vad.training.choice import snippet_window

BATCH_CLIPS = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class VideoMaps:
    """What stage 2 says of some snippets of one video."""

    maps: np.ndarray  # [n, t, P] float32, 0 to 1; pruned patches have the score 0
    kept: np.ndarray  # [n, t, P] bool, patches that were not pruned


@torch.no_grad()
def score_patches(
    model: TwoStage,
    store: FeatureStore,
    clips: Clips,
    key: str,
    snippets: Sequence[int] | None = None,
    *,
    backgrounds: Backgrounds | None = None,
) -> VideoMaps:
    """Score the patches of one video; the next clips are decoded while these are looked at.

    Args:
        model: on its device; is put into evaluation mode for the time of this call.
        store: the features of stage 1; they say how many snippets there are and where.
        clips: at the size of the model's grid.
        key: the video.
        snippets: which, from 0; all by default.
        backgrounds: of videos that were looked at before.

    Raises:
        VadError: `video-unreadable` and its kin, when no frame can be had.
    """
    wanted = range(store.shape(key)[1]) if snippets is None else snippets
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        context = _snippet_features(model, store, key, device)
        background = None
        if model.needs_backgrounds:
            background = to_device((backgrounds or Backgrounds(clips)).of([key]), device)
        maps, kept = [], []
        for batch, frames in _batches(wanted, store, clips, key, model, device):
            own = None if context is None else context[batch][:, None]
            still = None if background is None else background.expand(len(batch), -1, -1, -1)
            scores, left = model.patch_maps(frames, own, still)
            maps.append(scores.cpu().numpy())
            kept.append(left.cpu().numpy())
    finally:
        model.train(training)
    return VideoMaps(np.concatenate(maps), np.concatenate(kept))


def window_of(
    key: str, snippet: int, store: FeatureStore, clips: Clips, window: int
) -> tuple[str, np.ndarray]:
    """The clip of a snippet, as `Clips` takes it."""
    frames = snippet_window(
        snippet, store.shape(key)[1], clips.num_frames(key), window=window, rule=store.rule
    )
    return key, frames


def to_device(frames: np.ndarray, device: torch.device) -> Tensor:
    """Pictures of any shape, uint8; the copy to a GPU does not hold the program up."""
    clips = torch.from_numpy(frames)
    if device.type == "cuda":
        return clips.pin_memory().to(device, non_blocking=True)
    return clips


def _batches(
    wanted: Sequence[int],
    store: FeatureStore,
    clips: Clips,
    key: str,
    model: TwoStage,
    device: torch.device,
) -> Iterator[tuple[list[int], Tensor]]:
    """Snippets and their clips on the device."""
    size = BATCH_CLIPS["cuda" if device.type == "cuda" else "cpu"]
    window = model.architecture.grid.frames
    batches = [list(wanted[i : i + size]) for i in range(0, len(wanted), size)]

    def ask(at: int) -> Future[np.ndarray]:
        return clips.ask([window_of(key, s, store, clips, window) for s in batches[at]])

    following = ask(0)
    for at, batch in enumerate(batches):
        asked = following
        if at + 1 < len(batches):
            following = ask(at + 1)
        yield batch, to_device(asked.result(), device)


def _snippet_features(
    model: TwoStage, store: FeatureStore, key: str, device: torch.device
) -> Tensor | None:
    """[T, 2C], what stage 1 has for each snippet, crops averaged; None where nobody asks for it."""
    if not model.architecture.cross_attention:
        return None
    x = torch.from_numpy(np.array(store.get(key))).to(device).float()
    fused = model.stage1(x[None], with_features=True).snippet_features
    assert fused is not None
    return fused.mean(dim=0)
