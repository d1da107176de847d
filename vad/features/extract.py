"""Extraction as a run: features of every video of a data set version, resumed video by video.

What is finished of a run lies in `output/partial-<settings>/`, one small file a video. A run that
is started again after a stop or a kill goes on behind them; when all are there, they become the
store in `output/features` and the folder goes away.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vad import devices, results
from vad.configs import ExtractConfig
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Video, load_manifest
from vad.data.tensorfile import file_stem, replacing
from vad.errors import VadError
from vad.features import networks, weights
from vad.features.motion import MotionDescriptor
from vad.reporting import Reporter
from vad.timeline import SnippetRule
from vad.video.reader import VideoReader, probe
from vad.video.seeking import block_frames, open_source

Extracted = Iterator[tuple[Video, np.ndarray]]  # features [N, T, D] float32, in the videos' order


class _StopAsked(Exception):
    """Raised inside the loops when somebody asked the run to stop."""


def extract(
    config: ExtractConfig,
    *,
    manifest_dir: Path,
    output: Path,
    reporter: Reporter,
    weights_dir: Path | None = None,
) -> None:
    """Write a feature store into `output/features`.

    Sends Started, Progress (in videos), and Result with the store's summary, or Stopped.

    Args:
        manifest_dir: a data set version's folder; every video needs a path.
        output: the run's folder.
        weights_dir: where published weights lie, for extractors that need some; by default the
            folder that the variable VADLAB_WEIGHTS_DIR names, which the server sets for its runs.

    Raises:
        VadError: `run-inputs-missing` when videos have no files, `video-unreadable` and its kin
            with the video's name, `weights-missing`, `device-missing`.
    """
    manifest = load_manifest(manifest_dir)
    _check(manifest)
    device = devices.resolve(config.device)
    folder = output / "features"
    if (folder / "features.json").exists():  # a kill came after the rename
        reporter.send(_started(device, len(manifest.videos), len(manifest.videos)))
        _finish(folder, reporter)
        return
    open_extractor = _motion if config.extractor == "motion" else _network
    run, description = open_extractor(config, manifest, device, reporter, weights_dir)
    work = output / f"partial-{_digest(config, description)}"
    work.mkdir(parents=True, exist_ok=True)
    left = [v for v in manifest.videos if not _partial(work, v).exists()]
    done = len(manifest.videos) - len(left)
    reporter.send(_started(device, len(manifest.videos), done))
    try:
        for video, features in run(left):
            _write(_partial(work, video), features)
            done += 1
            reporter.progress(done, len(manifest.videos), "videos", note=video.key)
            _stop_if_asked(reporter)
    except _StopAsked:
        reporter.send(results.Stopped(step=done))
        return
    _assemble(manifest, work, folder, description)
    _finish(folder, reporter)


@dataclasses.dataclass(frozen=True)
class _Description:
    """What a store says about its rows."""

    extractor: str
    settings: dict
    dim: int
    rule: SnippetRule


def _motion(
    config: ExtractConfig,
    manifest: Manifest,
    device: torch.device,
    reporter: Reporter,
    weights_dir: Path | None,
) -> tuple[Callable[[list[Video]], Extracted], _Description]:
    descriptor = MotionDescriptor(config.segment_length, config.resize, device)
    settings = {
        "version": descriptor.version,
        "segment_length": config.segment_length,
        "resize": list(config.resize),
        "tail": "completed with its last frame",
    }
    rule = SnippetRule("hold", config.segment_length)

    def run(videos: list[Video]) -> Extracted:
        for video in videos:
            with open_source(manifest.media_path(video.path)) as reader:
                frames = video.num_frames or _count(manifest, video)
                blocks = _blocks_ahead(reader, frames, partial(_stop_if_asked, reporter))
                with closing(blocks):
                    yield video, descriptor(blocks).numpy()[None]

    return run, _Description(descriptor.name, settings, descriptor.dim, rule)


def _network(
    config: ExtractConfig,
    manifest: Manifest,
    device: torch.device,
    reporter: Reporter,
    weights_dir: Path | None,
) -> tuple[Callable[[list[Video]], Extracted], _Description]:
    weights_dir = weights_dir or weights.named_folder()
    network = networks.open_network(config, weights_dir=weights_dir, device=device)
    reporter.log(f"weights: {network.weights}")

    def run(videos: list[Video]) -> Extracted:
        entries = (
            (
                video,
                video.num_frames or _count(manifest, video),
                partial(open_source, manifest.media_path(video.path)),
            )
            for video in videos
        )
        return networks.extract_videos(
            network,
            entries,
            batch_size=config.batch_size,
            read_ahead=device.type == "cuda",
            on_batch=lambda _: _stop_if_asked(reporter),
        )

    rule = SnippetRule("hold", network.snippet_len)
    return run, _Description(network.name, network.settings, network.dim, rule)


def _digest(config: ExtractConfig, description: _Description) -> str:
    """Of all that the features depend on: the weights' hash too, which the configuration lacks."""
    text = json.dumps([config.digest(), description.settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check(manifest: Manifest) -> None:
    pathless = [v.key for v in manifest.videos if not v.path]
    if pathless or not manifest.videos:
        raise VadError(
            "run-inputs-missing",
            f"{len(pathless)} of the {len(manifest.videos)} videos of {manifest.name} have no "
            "video file, so features cannot be extracted.",
            "Pack the published features of this data set instead, or register it with its videos.",
            problems=[f"{key}: no video file" for key in pathless[:1000]],
        )


def _count(manifest: Manifest, video: Video) -> int:
    return probe(manifest.media_path(video.path)).num_frames


def _blocks_ahead(
    reader: VideoReader, num_frames: int, check: Callable[[], None]
) -> Generator[Tensor, None, None]:
    """Blocks of frames; the next one is decoded while the caller works on this one."""
    blocks = reader.blocks(num_frames, block_frames(reader))
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as thread:
        pending = thread.submit(next, blocks, None)
        while (block := pending.result()) is not None:
            pending = thread.submit(next, blocks, None)
            check()
            yield torch.from_numpy(block)


def _stop_if_asked(reporter: Reporter) -> None:
    if reporter.stop_requested:
        raise _StopAsked


def _partial(work: Path, video: Video) -> Path:
    """A video's finished features."""
    return work / f"{file_stem(video.key)}.npy"


def _write(path: Path, features: np.ndarray) -> None:
    with replacing(path) as file:
        np.save(file, features, allow_pickle=False)


def _assemble(
    manifest: Manifest, work: Path, folder: Path, description: _Description
) -> FeatureStore:
    writer = StoreWriter(
        folder,
        dim=description.dim,
        rule=description.rule,
        extractor=description.extractor,
        settings=description.settings,
    )
    with writer:
        for video in manifest.videos:
            writer.add(video.key, np.load(_partial(work, video), allow_pickle=False))
        return writer.close()


def _started(device: torch.device, total: int, done: int) -> results.Started:
    return results.Started(
        pid=os.getpid(),
        device=devices.describe(device),
        total=total,
        unit="videos",
        resumed_step=done,
        environment=devices.environment(device),
    )


def _finish(folder: Path, reporter: Reporter) -> None:
    summary = FeatureStore.open(folder).summary()
    for work in folder.parent.glob("partial-*"):
        shutil.rmtree(work, ignore_errors=True)
    reporter.progress(summary["videos"], summary["videos"], "videos")
    reporter.send(results.Result(kind="extract", data=summary))
