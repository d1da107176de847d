"""A whole step of training both stages, beside the same step fed as the published code feeds it.

    python tests/bench/bench_joint.py [--minutes 10] [--steps 8] [--dim 96] [--depth 2] …

A step: stage 1 over all segments, its choice, clips of 16 frames at 128x128, stage 2, gradients,
one update. Three ways in turns, which differ in where clips come from: proxies, as in training;
opening, decoding and resizing each frame with Pillow; and memory, which shows what all but the
data costs. A GPU gets the default network. A CPU would take minutes a step for it, so there a small
one stands in, with larger patches: what the network costs hides what the data costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import decord
import numpy as np
import torch
from bench_clips import FRAMES, RATIO_BUDGET, SIZE, prepare, published, resident

from vad import devices
from vad.configs import TwoStageConfig
from vad.data.clips import Clips, Wanted
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, save_version
from vad.reporting import Reporter
from vad.timeline import SnippetRule
from vad.training.engine import Plan, Trainer
from vad.training.parallel import World
from vad.training.sight import Sight
from vad.training.two_stage import TwoStageTask
from vad.video.proxies import ProxyStore

FEATURES = 1024


class PublishedClips(Clips):
    """Opens every video at every step, and has nothing else done meanwhile."""

    def ask(self, wanted: Wanted) -> Future[np.ndarray]:
        done: Future[np.ndarray] = Future()
        done.set_result(published(self._manifest, wanted))
        return done


class MemoryClips(Clips):
    """No data to wait for."""

    def ask(self, wanted: Wanted) -> Future[np.ndarray]:
        done: Future[np.ndarray] = Future()
        done.set_result(np.zeros((len(wanted), FRAMES, *self.size, 3), np.uint8))
        return done


def main() -> int:
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10, help="length of a video")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--steps", type=int, default=8, help="steps to time")
    parser.add_argument("--long", type=int, default=200, help="steps to watch the memory over")
    parser.add_argument("--segments", type=int, default=200 if gpu else 32)
    parser.add_argument("--dim", type=int, default=768 if gpu else 96)
    parser.add_argument("--depth", type=int, default=12 if gpu else 2)
    parser.add_argument("--heads", type=int, default=12 if gpu else 4)
    parser.add_argument("--patch", type=int, default=16 if gpu else 32, help="side of a patch")
    parser.add_argument("--tubelets", type=int, default=8 if gpu else 2)
    args = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    device = torch.device("cuda" if gpu else "cpu")
    print(
        f"torch {torch.__version__}, {devices.describe(device)}; encoder {args.dim} wide, "
        f"{args.depth} deep, {args.heads} heads; patches of {args.patch} px, {args.tubelets} "
        f"tubelets a clip; stage 1 over {args.segments} segments of {FEATURES} features"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, proxies = prepare(folder, int(args.minutes * 60 * 30), 240)
        videos = tuple(replace(v, label=at % 2) for at, v in enumerate(made.videos))
        manifest = replace(made, videos=videos)
        (folder / "labelled").mkdir()
        save_version(folder / "labelled", manifest, {})
        store = features(folder / "features", manifest)
        for batch in args.batches:
            config = TwoStageConfig(
                batch_size=batch,
                num_segments=args.segments,
                resize=SIZE,
                segment_length=FRAMES,
                patch_size=args.patch,
                num_tubelet=args.tubelets,
                encoder_dim=args.dim,
                encoder_depth=args.depth,
                encoder_heads=args.heads,
                pruning="none",
                validation_share=0.0,
                selection="last",
                device=device.type,
            )
            compare(folder, config, manifest, store, proxies, args.steps, args.long)
    return 0


def features(folder: Path, manifest: Manifest) -> FeatureStore:
    rng = np.random.default_rng(0)
    with StoreWriter(folder, dim=FEATURES, rule=SnippetRule(), extractor="bench") as writer:
        for video in manifest.videos:
            writer.add(video.key, rng.random((1, video.num_frames // 16, FEATURES), np.float32))
        return writer.close()


def compare(
    folder: Path,
    config: TwoStageConfig,
    manifest: Manifest,
    store: FeatureStore,
    proxies: ProxyStore,
    steps: int,
    long: int,
) -> None:
    device, batch = devices.resolve(config.device), config.batch_size
    kinds: list[type[Clips]] = [Clips, PublishedClips, MemoryClips]
    opened = [kind(manifest, size=SIZE, proxies=proxies, held_bytes=0) for kind in kinds]
    try:
        each = trainer(folder, config, manifest, store, device, opened[0])
        sights = [Sight(each.task._both, clips, device) for clips in opened]
        # Readers open, as after the first steps.
        opened[0].get([(v.key, np.arange(FRAMES)) for v in manifest.videos])
        spent: list[list[float]] = [[] for _ in kinds]
        for step in range(1, steps + 2):
            for at, sight in enumerate(sights):  # in turns: a busy moment hits all
                each.task._sight = sight
                begin = time.perf_counter()
                each._train_step(step)  # ends with its losses on the CPU
                if step > 1:  # the first one warms up
                    spent[at].append(time.perf_counter() - begin)
        ours, theirs, free = (statistics.median(times) for times in spent)
        print(
            f"step, {batch}+{batch} clips: {ours * 1e3:.0f} ms over proxies, the published way of "
            f"reading {theirs * 1e3:.0f} ms, without reading {free * 1e3:.0f} ms: "
            f"{theirs / ours:.1f} times as fast (budget {RATIO_BUDGET:.0f}); waiting for data is "
            f"{max(0.0, 1 - free / ours):.0%} of our step, {1 - free / theirs:.0%} of theirs"
        )
        each.task._sight = sights[0]
        marks = [resident()]
        for step in range(long):
            each._train_step(steps + 2 + step)
            if (step + 1) % max(1, long // 4) == 0:
                marks.append(resident())
        found = ", ".join(f"{mark / 1e6:.0f}" for mark in marks)
        print(f"  memory over {long} steps more: {found} MB")
    finally:
        for clips in opened:
            clips.close()


def trainer(
    folder: Path,
    config: TwoStageConfig,
    manifest: Manifest,
    store: FeatureStore,
    device: torch.device,
    clips: Clips,
) -> Trainer:
    task = TwoStageTask(
        config,
        manifest,
        store,
        folder / "labelled",
        device,
        Reporter(),
        clips=clips,
        source="",
        start=None,
        world=World(),
    )
    plan = Plan(kind="bench", steps=1, eval_every=1, checkpoint_every=1, best_key=None)
    return Trainer(task, plan, folder / "run", Reporter())


if __name__ == "__main__":
    sys.exit(main())
