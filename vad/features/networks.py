"""The published networks as extractors: frames in, one vector per snippet and crop out.

`open_network` fails at once, by name, when weights are missing. `extract_videos` fills batches with
crops of several videos, so that many short videos keep a GPU busy; what it holds in memory is one
batch (two when reading ahead), one snippet, and the rows of the videos that are under way.

Shapes: N crops, T snippets, D features, F frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from vad import devices
from vad.configs import ExtractConfig
from vad.errors import VadError
from vad.features import i3d, preprocess, videomae, weights
from vad.features.weights import Weights
from vad.video.reader import VideoReader

NETWORKS = ("i3d", "videomae")
Key = TypeVar("Key")
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network with its weights on its device, and how clips are made for it."""

    name: str
    weights: Weights
    dim: int  # D
    crops: int  # N
    snippet_len: int
    complete_tail: bool  # a last, partial snippet counts
    settings: dict[str, Any]  # what the features depend on, kept with them
    module: nn.Module
    prepare: Callable[[np.ndarray], list[Tensor]]  # frames of a snippet to N inputs, on the CPU
    finish: Callable[[Tensor], Tensor]  # a stack of inputs, on the device, to the network's form
    device: torch.device
    precision: str

    def snippets(self, num_frames: int) -> int:
        """T of a video."""
        return preprocess.snippet_count(
            num_frames, self.snippet_len, complete_tail=self.complete_tail
        )

    @torch.inference_mode()
    def __call__(self, inputs: list[Tensor]) -> np.ndarray:
        """Features of what `prepare` gave: [len(inputs), D] float32."""
        precision, device = self.precision, self.device
        with (
            devices.fast_products(precision, device),
            devices.autocast(precision, device),
            _room_or_hint(),
        ):
            batch = self.finish(torch.stack(inputs).to(device))
            return self.module(batch).float().cpu().numpy()


def open_network(
    config: ExtractConfig, *, weights_dir: Path | None, device: torch.device
) -> Network:
    """Find, check and load the weights that a configuration asks for.

    Raises:
        VadError: `weights-missing`, `checkpoint-invalid`; `config-invalid` when the device cannot
            compute in the precision asked for.
    """
    devices.check_precision(config.precision, device)
    return (_open_i3d if config.extractor == "i3d" else _open_videomae)(config, weights_dir, device)


def check_weights(config: ExtractConfig, weights_dir: Path | None) -> None:
    """Say that the weights are missing before anything is loaded or decoded."""
    if config.extractor in NETWORKS:
        weights.locate(weights_dir, config.weights or _published(config).file)


def _published(config: ExtractConfig) -> weights.Published:
    if config.extractor == "i3d":
        return weights.I3D_PIERGIAJ
    return videomae.VARIANTS[config.videomae_variant][1]


def _open_i3d(config: ExtractConfig, weights_dir: Path | None, device: torch.device) -> Network:
    found = weights.find(weights_dir, config.weights or _published(config).file)
    places = preprocess.crop_places(config.crops, config.crop_order)

    def prepare(frames: np.ndarray) -> list[Tensor]:
        frames = preprocess.resize_pillow(frames, preprocess.I3D_FRAME)
        frames = preprocess.complete(frames, config.segment_length)
        cuts = (preprocess.crop(frames, *place) for place in places)
        return [torch.from_numpy(np.ascontiguousarray(cut)) for cut in cuts]

    return Network(
        name="i3d",
        weights=found,
        dim=i3d.FEATURE_DIM,
        crops=len(places),
        snippet_len=config.segment_length,
        complete_tail=True,
        settings={
            **_settings(config, found),
            "crops": [list(place) for place in places],
            "frame": list(preprocess.I3D_FRAME),
            "batch_norm_eps": config.batch_norm_eps,
        },
        module=_placed(i3d.load(found, eps=config.batch_norm_eps), device, config.precision),
        prepare=prepare,
        finish=preprocess.i3d_input,
        device=device,
        precision=config.precision,
    )


def _open_videomae(
    config: ExtractConfig, weights_dir: Path | None, device: torch.device
) -> Network:
    variant, _ = videomae.VARIANTS[config.videomae_variant]
    found = weights.find(weights_dir, config.weights or _published(config).file)
    size = (variant.image_size, variant.image_size)

    def prepare(frames: np.ndarray) -> list[Tensor]:
        frames = preprocess.complete(frames, variant.frames)
        return [preprocess.resize_torch(frames, size)]

    return Network(
        name="videomae",
        weights=found,
        dim=variant.width,
        crops=1,
        snippet_len=variant.frames,
        complete_tail=False,
        settings={
            **_settings(config, found),
            "variant": config.videomae_variant,
            "frame": list(size),
            "normalise": config.normalise,
        },
        module=_placed(videomae.load(found, variant), device, config.precision),
        prepare=prepare,
        finish=preprocess.normalise if config.normalise else _as_it_is,
        device=device,
        precision=config.precision,
    )


def _as_it_is(clips: Tensor) -> Tensor:
    return clips


def _settings(config: ExtractConfig, found: Weights) -> dict[str, Any]:
    return {
        "weights": found.path.name,
        "weights_sha256": found.sha256,
        "segment_length": config.segment_length,
        "precision": config.precision,
    }


@dataclass
class _Video(Generic[Key]):
    """A video under way: rows come in any number of batches."""

    key: Key
    rows: np.ndarray  # [N, T, D]
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = self.rows.shape[0] * self.rows.shape[1]


Videos = Iterable[tuple[Key, int, Callable[[], VideoReader]]]


def extract_videos(
    network: Network,
    videos: Videos[Key],
    *,
    batch_size: int,
    read_ahead: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[tuple[Key, np.ndarray]]:
    """The features of videos, in their order.

    Args:
        network: from `open_network`.
        videos: key, number of frames (at least 1), and what opens the video; opened when its turn
            comes, and closed as soon as it is decoded.
        batch_size: crops per pass through the network.
        read_ahead: decode the next batch in a thread while the network computes; for GPUs.
        on_batch: called with the number of crops after each pass; may raise to stop.

    Yields:
        key and features [N, T, D] float32.
    """
    snippets = _snippets(network, videos)
    if read_ahead:
        snippets = _ahead(snippets, depth=max(1, batch_size // network.crops))
    waiting: list[tuple[_Video[Key], int, int, Tensor]] = []
    under_way: deque[_Video[Key]] = deque()

    def run() -> Iterator[tuple[Key, np.ndarray]]:
        features = network([item for *_, item in waiting])
        for (video, n, t, _), row in zip(waiting, features, strict=True):
            video.rows[n, t] = row
            video.missing -= 1
        done = len(waiting)
        waiting.clear()
        if on_batch:
            on_batch(done)
        while under_way and not under_way[0].missing:
            finished = under_way.popleft()
            yield finished.key, finished.rows

    try:
        for video, t, items in snippets:
            if t == 0:
                under_way.append(video)
            for n, item in enumerate(items):
                waiting.append((video, n, t, item))
                if len(waiting) == batch_size:
                    yield from run()
        if waiting:
            yield from run()
    finally:
        snippets.close()


def _snippets(
    network: Network, videos: Videos[Key]
) -> Generator[tuple[_Video[Key], int, list[Tensor]], None, None]:
    """Every snippet's video, number and inputs, one for each crop."""
    for key, num_frames, open_video in videos:
        shape = (network.crops, network.snippets(num_frames), network.dim)
        video = _Video(key, np.empty(shape, dtype=np.float32))
        with open_video() as reader:
            for t in range(shape[1]):
                start = t * network.snippet_len
                frames = reader.frames(start, min(start + network.snippet_len, num_frames))
                yield video, t, network.prepare(frames)


def _ahead(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """The same items, made in one thread, up to `depth` of them before they are asked for."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        pending = deque(thread.submit(next, items, end) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(thread.submit(next, items, end))
                yield cast(Item, item)
        finally:
            for future in pending:
                future.cancel()
            thread.submit(items.close).result()


def _placed(module: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """On its device; under bfloat16 the products' weights are rounded once, the norms' are not."""
    if precision == "bfloat16":
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Conv3d):
                part.to(torch.bfloat16)
    with _room_or_hint():
        return module.to(device)


@contextmanager
def _room_or_hint() -> Iterator[None]:
    """Turn a device that is full into an error for people."""
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise VadError(
            "memory-exhausted",
            "The GPU has no room for the network and its batch.",
            "Lower batch_size, choose bfloat16 or a smaller variant, or queue the run where more "
            "memory is free.",
        ) from exc
