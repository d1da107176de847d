"""Train UR-DMU and STPVAD together, from video-level labels.

A step: stage 1 over the segments of normal and abnormal videos; it ranks them; stage 2 looks at the
frames of the chosen ones; both losses are added. Nothing but video-level labels of training videos
is opened, as in `vad.training.urdmu`, which this extends.

Source: the training step of the published code of STPVAD, with its faults repaired.

Shapes: B videos of one label, S segments, M chosen ones, F frames, N tokens, C = 512 channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vad import devices
from vad.data.clips import Clips
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Video, load_manifest
from vad.errors import ConfigError
from vad.features.weights import named_folder
from vad.losses import ad_loss
from vad.models.pruning import keep_ratio_loss
from vad.models.two_stage import Architecture, TwoStage
from vad.models.urdmu import BagOutput, UrDmu
from vad.patch_scoring import score_patches
from vad.reporting import Reporter
from vad.training import image_start
from vad.training.choice import (
    choose_segments,
    chosen_features,
    rank_segments,
    segment_frames,
)
from vad.training.determinism import derive
from vad.training.engine import Plan, Trainer
from vad.training.parallel import World, joined
from vad.training.sight import Sight
from vad.training.urdmu import UrdmuTask
from vad.training_configs import FUSED_KEY, TwoStageConfig
from vad.video.proxies import ProxyStore


def train(
    config: TwoStageConfig,
    *,
    manifest_dir: Path,
    features_dir: Path,
    output: Path,
    reporter: Reporter,
    proxies_dir: Path | None = None,
    start: Path | None = None,
    keep_all: bool = False,
) -> None:
    """Train, going on from the newest checkpoint in `output/checkpoints` if there is one.

    Args:
        manifest_dir: a data set version's folder; its videos need files.
        features_dir: a feature store of its videos.
        output: the run's folder.
        reporter: hears everything; its stop flag ends the run after the step at hand.
        proxies_dir: small copies of the videos; without them the videos themselves are read.
        start: a checkpoint to start from, in place of `pretrained_point`.
        keep_all: no checkpoint is removed; whoever called decides which are kept.

    Raises:
        VadError: what `vad.training.urdmu.train` raises, and `run-inputs-missing` when no training
            video can be looked at; `config-invalid` for a frozen stage 1 without weights.
    """
    device = devices.resolve(config.device)
    devices.check_precision(config.precision, device)
    manifest = load_manifest(manifest_dir)
    proxies = ProxyStore.open(proxies_dir) if proxies_dir else None
    if proxies and proxies.lacks(config.resize):
        height, width = config.resize
        reporter.log(
            f"The proxies have no copies of {height}x{width}, so clips are brought to this size as "
            f"they are read. Proxies with clip_size {height} {width} would be quicker."
        )
    with (
        Clips(manifest, size=config.resize, proxies=proxies) as clips,
        joined(device) as world,
        devices.fast_products(config.precision, device),
    ):
        task = TwoStageTask(
            config,
            manifest,
            FeatureStore.open(features_dir),
            manifest_dir,
            device,
            reporter,
            clips=clips,
            source=proxies.fingerprint if proxies else "",
            start=start,
            world=world,
        )
        plan = Plan(
            kind=config.kind,
            steps=config.num_epochs,
            eval_every=config.eval_every,
            checkpoint_every=config.checkpoint_every,
            best_key=config.best_key,
            average_decay=config.ema_decay,
        )
        Trainer(task, plan, output, reporter, world, keep_all=keep_all).run(
            selection=config.selection,
            videos=task.counts(),
            features=task.store.fingerprint,
            left_out=task.left_out,
            damaged=clips.damaged,
        )


class TwoStageTask(UrdmuTask):
    """Models, data and losses of one run. See `vad.training.engine.Task`.

    Attributes:
        left_out: training videos that cannot be looked at, each with the reason.
    """

    config: TwoStageConfig

    def __init__(
        self,
        config: TwoStageConfig,
        manifest: Manifest,
        store: FeatureStore,
        manifest_dir: Path,
        device: torch.device,
        reporter: Reporter,
        *,
        clips: Clips,
        source: str,
        start: Path | None,
        world: World,
    ) -> None:
        self._clips, self._source = clips, source
        self.left_out: dict[str, str] = {}
        self._encoder_start = ""  # hash of the file
        self._architecture = Architecture.of(config, store.dim)
        super().__init__(
            config, manifest, store, manifest_dir, device, reporter, start=start, world=world
        )
        self._sight = Sight(self._both, clips, device)
        self._patch_forward = self._compiled(self._both.head.forward_bags)
        if config.compile:
            for block in self._both.encoder.blocks:
                block.compile(dynamic=False)

    @property
    def stage1(self) -> UrDmu:
        return self._both.stage1

    @property
    def _both(self) -> TwoStage:
        return cast(TwoStage, self.model)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        config = self.config
        normal, abnormal = self.bags.batch(step)
        keys = self.bags.keys(step)
        with (
            torch.set_grad_enabled(config.stage1 == "joint"),
            devices.autocast(config.precision, self.device),
        ):
            first = self._forward(
                normal,
                abnormal,
                noise=self._noise(normal, generator, config.latent),
                with_features=config.cross_attention,
            )
            stage1 = ad_loss(first, self._weights)
        chosen = self._choose(first, step)
        asked = [self._ask(keys, picks, step) for picks in chosen.t().tolist()]
        total = stage1["total"]
        if config.stage1 == "joint" and not config.cross_attention:
            # The stages share no gradient, so stage 1's is computed while clips are decoded.
            total.backward()
            total = total.detach()
        passes = [
            self._look(see(), first, chosen[:, at : at + 1], generator, (step, at))
            for at, see in enumerate(asked)
        ]
        stage2 = {name: torch.stack([terms[name] for terms in passes]).mean() for name in passes[0]}
        total = total + config.patch_weight * stage2["total"] + stage2["motion"] + stage2["ratio"]
        return {
            "total": total,
            "stage1": stage1.pop("total").detach(),
            "stage2": stage2.pop("total"),
            **{f"stage1_{name}": value for name, value in stage1.items()},
            **{f"stage2_{name}": value for name, value in stage2.items()},
        }

    def _validate(
        self, scores: Mapping[str, np.ndarray], tops: np.ndarray
    ) -> dict[str, float | None]:
        """What stage 1 reaches, and stage 2 on a few snippets of each validation video."""
        found = super()._validate(scores, tops)
        if self.config.validation_clips:
            videos = self.split.validation
            patches = np.array([self._top_patch(v, scores[v.key]) for v in videos], np.float64)
            found["validation/patch_video_auc"] = self._validation_auc(patches)
            found[FUSED_KEY] = self._validation_auc((patches + tops) / 2)
        return found

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        found["architecture"] = self._architecture.to_dict()
        found["data"]["proxies"] = self._source
        if self._encoder_start:
            found["encoder_start"] = self._encoder_start
        return found

    def _top_patch(self, video: Video, scores: np.ndarray) -> float:
        """The highest patch score in the snippets that stage 1 scores highest."""
        order = np.argsort(-scores, kind="stable")[: self.config.validation_clips]
        found = score_patches(
            self._both,
            self.store,
            self._clips,
            video.key,
            order.tolist(),
            backgrounds=self._sight.backgrounds,
        )
        return float(found.maps.max())

    def _choose(self, first: BagOutput, step: int) -> Tensor:
        """Segments to look at: [2B, M], normal first."""
        how = self.config.snippet_choice
        return choose_segments(
            *rank_segments(first, cast(Any, self.config.ranking)),
            cast(Any, how),
            count=self.config.choice_count,
            generator=torch.Generator().manual_seed(derive(self.seed, "choice", step)),
        )

    def _own(self, *path: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator for what each process draws for its own share."""
        rank = self.world.rank
        return torch.Generator(device).manual_seed(derive(self.seed, *path, rank))

    def _ask(self, keys: Sequence[str], segments: Sequence[int], step: int) -> Callable[[], Tensor]:
        """Have one segment of each video decoded; what is returned gives the views, in time."""
        config = self.config
        windows = [
            segment_frames(
                segment,
                self.store.shape(key)[1],
                self._clips.num_frames(key),
                num_segments=config.num_segments,
                window=config.segment_length,
                rule=self.store.rule,
                generator=self._own("snippet", step, at) if config.random_snippet else None,
            )
            for at, (key, segment) in enumerate(zip(keys, segments, strict=True))
        ]
        return self._sight.ask(list(zip(keys, windows, strict=True)))

    def _look(
        self,
        seen: Tensor,
        first: BagOutput,
        chosen: Tensor,
        generator: torch.Generator,
        place: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Stage 2's loss terms of one pass over one clip of each video.

        Args:
            seen: [2B, C, t, h, w], the clips as the encoder sees them.
            first: what stage 1 gave.
            chosen: [2B, 1], the segments that the clips are of.
            generator: of the step.
            place: the step, and which of its passes this is.
        """
        config = self.config
        context = None
        if config.cross_attention:
            context = chosen_features(cast(Tensor, first.snippet_features), chosen)
        with devices.autocast(config.precision, self.device):
            encoded = self._both.encoder(
                seen,
                generator=self._own("prune", *place, device=self.device),
            )
            normal, abnormal = encoded.tokens.chunk(2)
            out = self._patch_forward(
                normal,
                abnormal,
                snippets=context,
                noise=self._noise(normal, generator, config.patch_latent),
                top=config.patch_top or None,
            )
            terms = ad_loss(out, self._weights)
        ratio = torch.zeros((), device=self.device)
        if config.pruning_kind == "hard" and min(config.token_ratio) < 1:
            ratio = config.ratio_weight * keep_ratio_loss(encoded.decisions, config.token_ratio)
        return {**terms, "motion": encoded.motion_loss, "ratio": ratio}

    def _usable(self, videos: Sequence[Video]) -> Sequence[Video]:
        self.left_out = self._clips.problems([v.key for v in videos])
        for text in self.left_out.values():
            self._reporter.log(f"{text} It is left out.", "warning")
        return [v for v in videos if v.key not in self.left_out]

    def _network(self) -> nn.Module:
        config = self.config
        return TwoStage(
            self._architecture,
            dropout=config.dropout,
            motion=None if config.motion == "none" else config.motion,
            motion_weight=config.motion_loss_weight,
            reference_motion=config.published_motion,
            frozen=config.stage1 == "frozen",
        )

    def _begin(self) -> str:
        config = self.config
        if config.encoder_point:
            self._encoder_start = image_start.start_from(
                self._both.encoder,
                config.encoder_point,
                named_folder(),
                cast(Any, config.encoder_inflation),
            )
            name = Path(config.encoder_point).name
            self._reporter.log(
                f"the tubelet transformer starts from {name}, SHA-256 {self._encoder_start}"
            )
        found = super()._begin()
        if self.config.stage1 == "frozen" and not found:
            text = "'frozen' needs weights: name a checkpoint of stage 1 to start from"
            raise ConfigError({"stage1": text})
        return found

    def _started(self) -> UrDmu | TwoStage:
        return self.stage1 if self.config.encoder_point else self._both
