"""Train UR-DMU from video-level labels.

What is opened of a data set version: its manifest (videos, splits, video-level labels) and, for the
live curve on the test split, the truth of the test videos. Temporal truth of training videos is
never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vad import devices
from vad.configs import UrdmuConfig
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Truth, Video, load_manifest, load_truth
from vad.data.segments import Segments
from vad.errors import VadError
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep
from vad.features.weights import named_folder
from vad.losses import AdWeights, ad_loss
from vad.models.two_stage import TwoStage
from vad.models.urdmu import WIDTH, BagOutput, UrDmu
from vad.reporting import Reporter
from vad.schedule import Schedule
from vad.scoring import missing_text, score_videos, with_features
from vad.training import published
from vad.training.adam import Adam
from vad.training.bag_watch import look, watched
from vad.training.determinism import BatchOrder, derive, seeded
from vad.training.engine import Plan, Trainer
from vad.training.parallel import World, joined

HELD_IN_MEMORY_BYTES = 2**30  # on the CPU; larger sets stay in the memory map
GPU_SHARE = 0.5  # of the free GPU memory that training data may take


@dataclass(frozen=True)
class Split:
    """Keys of the training videos by label, and those kept out to choose the checkpoint."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    validation: tuple[Video, ...]


def train(
    config: UrdmuConfig,
    *,
    manifest_dir: Path,
    features_dir: Path,
    output: Path,
    reporter: Reporter,
    start: Path | None = None,
    keep_all: bool = False,
) -> None:
    """Train, going on from the newest checkpoint in `output/checkpoints` if there is one.

    Args:
        manifest_dir: a data set version's folder.
        features_dir: a feature store of its videos.
        output: the run's folder.
        reporter: hears everything; its stop flag ends the run after the step at hand.
        start: a checkpoint to start from, in place of `pretrained_point`.
        keep_all: no checkpoint is removed; whoever called decides which are kept.

    Raises:
        VadError: `too-few-videos`, `features-missing`, `device-missing`, `checkpoint-invalid`,
            `weights-missing`, `loss-not-finite`, `disk-full`; `config-invalid` when the device
            cannot compute in the precision asked for.
    """
    device = devices.resolve(config.device)
    devices.check_precision(config.precision, device)
    manifest = load_manifest(manifest_dir)
    store = FeatureStore.open(features_dir)
    plan = Plan(
        kind=config.kind,
        steps=config.num_epochs,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
        best_key=config.best_key,
        average_decay=config.ema_decay,
    )
    with joined(device) as world, devices.fast_products(config.precision, device):
        task = UrdmuTask(
            config, manifest, store, manifest_dir, device, reporter, start=start, world=world
        )
        Trainer(task, plan, output, reporter, world, keep_all=keep_all).run(
            selection=config.selection, videos=task.counts(), features=store.fingerprint
        )


class UrdmuTask:
    """Model, data and losses of one run. See `vad.training.engine.Task`."""

    def __init__(
        self,
        config: UrdmuConfig,
        manifest: Manifest,
        store: FeatureStore,
        manifest_dir: Path,
        device: torch.device,
        reporter: Reporter,
        *,
        start: Path | None = None,
        world: World | None = None,
    ) -> None:
        self.config, self.store, self.device, self.seed = config, store, device, config.seed
        self._reporter, self._start_file, self.world = reporter, start, world or World()
        self.world.check_batch(config.batch_size)
        videos, missing = with_features(self._usable(manifest.split("train")), store)
        if missing:
            reporter.log(missing_text(missing, len(videos) + len(missing), "training"), "warning")
        self.split = split_videos(
            videos, share=config.validation_share, seed=config.seed, name=manifest.name
        )
        self.bags = Bags(
            store.segments(config.num_segments), self.split, config, device, self.world
        )
        with seeded(device, config.seed, "weights"):
            self.model = self._network()
        self._start = self._begin()
        self.model.to(device)
        self._forward = self._compiled(self.stage1.forward_bags)
        self._schedule = Schedule.parse(config.lr_schedule)
        self.optimizer = Adam(
            ((name, p) for name, p in self.model.named_parameters() if p.requires_grad),
            weight_decay=config.weight_decay,
        )
        self._weights = AdWeights(
            memory=config.memory_weight,
            triplet=config.triplet_weight,
            kl=config.kl_weight,
            distance=config.distance_weight,
        )
        self._test, self._truth = self._open_test(manifest, manifest_dir)
        count = min(config.watched_bags, len(self.split.normal), len(self.split.abnormal))
        self._watched = [
            watched(keys, count, seed=config.seed, name=name)
            for keys, name in ((self.split.normal, "normal"), (self.split.abnormal, "abnormal"))
        ]
        self._unwatched = False  # once the disk refused them

    @property
    def stage1(self) -> UrDmu:
        """The network that scores snippets."""
        return cast(UrDmu, self.model)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        normal, abnormal = self.bags.batch(step)
        noise = self._noise(normal, generator, self.config.latent)
        with devices.autocast(self.config.precision, self.device):
            out = self._forward(normal, abnormal, noise=noise)
        return ad_loss(out, self._weights)

    def learning_rate(self, step: int) -> float:
        return self.config.lr * self._schedule.factor(step)

    def evaluate(self) -> dict[str, float]:
        """Video-level AUC on the validation videos; frame AUC and AP on the test split."""
        found: dict[str, float | None] = {}
        if self.split.validation:
            scores = self._scores(self.split.validation)
            tops = np.array([scores[v.key].max() for v in self.split.validation])
            found |= self._validate(scores, tops)
        if self._test:
            sweep = Sweep.of(
                ScoreSet.build(
                    self._scores(self._test),
                    videos=self._test,
                    truth=self._truth,
                    rule=self.store.rule,
                )
            )
            found["test/frame_auc"] = sweep.auc()
            found["test/frame_ap"] = sweep.ap_step()
        return {key: value for key, value in found.items() if value is not None}

    def observe(self, step: int, output: Path) -> None:
        """Keep the watched bags. What cannot be written is said once and harms nothing."""
        normal, abnormal = self._watched
        if not normal or self._unwatched:
            return
        segments = self.store.segments(self.config.num_segments)
        found = look(
            self.stage1, segments, normal, abnormal, self._weights, step=step, device=self.device
        )
        try:
            found.save(output)
        except OSError as exc:
            self._unwatched = True
            self._reporter.log(f"No bags are kept from step {step} on: {exc}", "warning")

    def _validate(
        self, scores: Mapping[str, np.ndarray], tops: np.ndarray
    ) -> dict[str, float | None]:
        """Metrics on the validation videos: their snippets' scores, and the highest of each."""
        return {"validation/video_auc": self._validation_auc(tops)}

    def _validation_auc(self, values: np.ndarray) -> float | None:
        labels = np.array([v.label for v in self.split.validation])
        return Sweep.over(values, labels, 1 - labels).auc()

    def identity(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "architecture": {
                "name": "urdmu",
                "feature_dim": self.store.dim,
                "memory_slots": self.config.memory_slots,
            },
            "data": {
                "features": self.store.fingerprint,
                "videos": derive(0, *self.split.normal, "|", *self.split.abnormal),
            },
            "start": self._start,
        }

    def counts(self) -> dict[str, int]:
        """Videos by what the run used them for."""
        labels = [v.label for v in self.split.validation]
        return {
            "train_normal": len(self.split.normal),
            "train_abnormal": len(self.split.abnormal),
            "validation_normal": labels.count(0),
            "validation_abnormal": labels.count(1),
            "test": len(self._test),
        }

    def _noise(self, like: Tensor, generator: torch.Generator, latent: str) -> Tensor:
        """What the latent of [B, T, ..] is drawn with, of width C.

        Standard normal numbers, the same whoever holds the share, or zeros for the mean.
        """
        if latent == "mean":
            return torch.zeros((*like.shape[:-1], WIDTH), device=self.device)
        size = self.config.batch_size
        drawn = torch.randn(
            (size, *like.shape[1:-1], WIDTH), generator=generator, device=self.device
        )
        return drawn[self.world.share(size)]

    def _usable(self, videos: Sequence[Video]) -> Sequence[Video]:
        """The videos that can be trained on, as far as features do not decide it."""
        return videos

    def _network(self) -> nn.Module:
        """The untrained network."""
        config = self.config
        return UrDmu(self.store.dim, memory_slots=config.memory_slots, dropout=config.dropout)

    def _begin(self) -> str:
        """Load the weights to start from; their file's hash, empty without any."""
        name = str(self._start_file or self.config.pretrained_point)
        if not name:
            return ""
        sha256 = published.start_from(self._started(), name, named_folder())
        self._reporter.log(f"starts from {Path(name).name}, SHA-256 {sha256}")
        return sha256

    def _started(self) -> UrDmu | TwoStage:
        """The network that weights to start from are loaded into."""
        return self.stage1

    def _compiled(self, forward: Callable[..., BagOutput]) -> Callable[..., BagOutput]:
        if not self.config.compile:
            return forward
        # A step is many small kernels; recorded as one graph, a GPU need not wait for each to be
        # started.
        mode = "reduce-overhead" if self.device.type == "cuda" else None
        return torch.compile(forward, dynamic=False, mode=mode)

    def _scores(self, videos: Sequence[Video]) -> dict[str, np.ndarray]:
        keys = [v.key for v in videos]
        return dict(score_videos(self.stage1, self.store, keys, self.device))

    def _open_test(
        self, manifest: Manifest, manifest_dir: Path
    ) -> tuple[list[Video], dict[str, Truth]]:
        """Test videos and their truth for the live curve; none when they do not allow one.

        The curve is for looking at, so what is wrong with the test split does not end a run that
        does not choose its checkpoint by it.
        """
        try:
            videos, missing = with_features(manifest.split("test"), self.store)
            if missing:
                total = len(videos) + len(missing)
                self._reporter.log(missing_text(missing, total, "test"), "warning")
            truth = load_truth(manifest_dir, "test") if videos else {}
            shapes = {v.key: np.zeros(self.store.shape(v.key)[1], np.float32) for v in videos}
            built = ScoreSet.build(shapes, videos=videos, truth=truth, rule=self.store.rule)
            if not Sweep.of(built).defined:
                raise VadError(
                    "evaluation-impossible",
                    f"The test split of {manifest.name} has no positive or no negative frames.",
                    "Choose the checkpoint by validation instead.",
                )
            return videos, truth
        except VadError as exc:
            if self.config.selection == "test":
                raise
            self._reporter.log(f"No live curve on the test split: {exc.message}", "warning")
            return [], {}


class Bags:
    """Training bags: segments of normal and of abnormal videos, by video-level label alone.

    As in the published lists, every crop of a video is an item of its own. Where memory allows, the
    items are held on the device; else each step reads its rows from the memory map.
    """

    def __init__(
        self,
        segments: Segments,
        split: Split,
        config: UrdmuConfig,
        device: torch.device,
        world: World,
    ) -> None:
        self._share = world.share(config.batch_size)
        self._device = device
        self._data = segments.data
        normal, abnormal = segments.items_of(split.normal), segments.items_of(split.abnormal)
        used = np.sort(np.concatenate([normal, abnormal]))
        self._keys = segments.keys
        self._held: Tensor | None = None
        if used.size * self._data[0].nbytes <= _room_bytes(device):
            # Positions among the items that are used; validation and test rows are not held.
            normal, abnormal = np.searchsorted(used, normal), np.searchsorted(used, abnormal)
            self._keys = tuple(segments.keys[i] for i in used)
            self._held = torch.from_numpy(self._data[used]).to(device)
        size, seed = config.batch_size, config.seed
        self._normal = BatchOrder(normal, size, seed=seed, name="normal")
        self._abnormal = BatchOrder(abnormal, size, seed=seed, name="abnormal")

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Normal and abnormal bags of step k: [B, S, D] float32 each, on the device.

        B is the share of this process.
        """
        items = self._items(step)
        if self._held is not None:
            rows = self._held[torch.from_numpy(items).to(self._device)]
        else:
            rows = torch.from_numpy(self._data[items])
            if self._device.type == "cuda":
                rows = rows.pin_memory().to(self._device, non_blocking=True)
        normal, abnormal = rows.float().chunk(2)
        return normal, abnormal

    def keys(self, step: int) -> list[str]:
        """The videos of step k: 2B keys, normal first."""
        return [self._keys[i] for i in self._items(step)]

    def _items(self, step: int) -> np.ndarray:
        both = (self._normal.batch(step), self._abnormal.batch(step))
        return np.concatenate([items[self._share] for items in both])


def split_videos(videos: Sequence[Video], *, share: float, seed: int, name: str) -> Split:
    """Keep a share of the training videos of each label out, chosen by the seed alone.

    Args:
        videos: training videos that have features.
        share: of each label, at least one video when above 0.
        name: of the data set, for messages.

    Raises:
        VadError: `too-few-videos`, a label has none, or none left for training.
    """
    parts: list[tuple[str, ...]] = []
    validation: list[Video] = []
    for label, word in enumerate(("normal", "abnormal")):
        own = sorted((v for v in videos if v.label == label), key=lambda v: v.key)
        count = max(1, round(share * len(own))) if share > 0 else 0
        if len(own) <= count:
            needed = "validation takes one of them" if count else "none has features"
            raise VadError(
                "too-few-videos",
                f"Data set {name} has {len(own)} {word} training videos with features, too few to "
                f"train on ({needed}).",
                f"Add {word} training videos, or extract the features of those that have none.",
            )
        order = np.random.default_rng(derive(seed, "validation", word)).permutation(len(own))
        chosen = set(order[:count].tolist())
        validation += [own[i] for i in sorted(chosen)]
        parts.append(tuple(v.key for i, v in enumerate(own) if i not in chosen))
    return Split(parts[0], parts[1], tuple(validation))


def _room_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return HELD_IN_MEMORY_BYTES
    return torch.cuda.mem_get_info(device)[0] * GPU_SHARE
