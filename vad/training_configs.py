"""The configurations of the training runs, one frozen dataclass each. See `vad.fields`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vad.errors import ConfigError
from vad.fields import PRECISIONS, RunConfig, option, redefault
from vad.models.grid import ClipGrid
from vad.models.views import VIEWS, seen_grid
from vad.schedule import Schedule

SELECTIONS = ("validation", "last", "test")
PRUNINGS = ("auto", "hard", "soft", "none")
MOTIONS = ("none", "time-reversal", "variance")
CONTEXTS = ("clip", "patch")
CHOICES = ("top", "second", "random", "several")
LATENTS = ("sampled", "mean")
RANKINGS = ("memory", "score")
INFLATIONS = ("averaging", "central")
BEST_KEYS = {"validation": "validation/video_auc", "test": "test/frame_auc", "last": None}
FUSED_KEY = "validation/fused_video_auc"


@dataclass(frozen=True, kw_only=True)
class UrdmuConfig(RunConfig):
    """UR-DMU from video-level labels (stage 1)."""

    kind: ClassVar[str] = "train-urdmu"
    title: ClassVar[str] = "Train UR-DMU"

    num_epochs: int = option(
        3000,
        help="Training steps. The field calls a step an epoch here: one batch pair each.",
        group="Training",
        unit="steps",
        min=1,
        max=1_000_000,
    )
    batch_size: int = option(
        64,
        help="Normal videos per step; as many abnormal ones come on top.",
        group="Training",
        unit="videos",
        min=1,
        max=4096,
    )
    lr: float = option(
        1e-4, help="Learning rate of Adam.", group="Training", above=0, max=1, unit="1/step"
    )
    lr_schedule: str = option(
        "",
        help="Factors of the learning rate, as STEP:FACTOR points with straight lines between "
        "them: '0:0 100:1 2000:1 3000:0.1' warms up and decays. Empty is constant, as published.",
        group="Training",
        advanced=True,
    )
    weight_decay: float = option(
        5e-5, help="L2 penalty inside Adam.", group="Training", min=0, max=1
    )
    ema_decay: float = option(
        0.0,
        help="Evaluate and keep an exponential average of the weights instead of those of the last "
        "step; 0.99 looks back over about 100 steps. 0 is off, as published.",
        group="Training",
        min=0,
        max=0.9999,
        advanced=True,
    )
    pretrained_point: str = option(
        "",
        help="Start from these weights instead of random ones: the name of a file in the weights "
        "folder, a published checkpoint or one of ours. Empty starts from nothing.",
        group="Training",
        advanced=True,
    )
    num_segments: int = option(
        200,
        help="Each training video is resampled to this many segments.",
        group="Data",
        unit="segments",
        min=2,
        max=4096,
    )
    seed: int = option(
        2022, help="All randomness derives from it.", group="Training", min=0, max=2**31 - 1
    )
    dropout: float = option(0.5, help="Dropout in the transformer.", group="Model", min=0, max=0.95)
    latent: str = option(
        "sampled",
        help="The latent of normal videos: drawn at random, as published, or its mean. Nothing is "
        "drawn for abnormal ones, so from the noise alone a network can learn which is which.",
        group="Model",
        choices=LATENTS,
        advanced=True,
    )
    precision: str = option(
        "float32",
        help="Of the matrix products. 'tf32' and 'bfloat16' are faster on a GPU and round more; "
        "the CPU computes in float32 only.",
        group="Device",
        choices=PRECISIONS,
        advanced=True,
    )
    compile: bool = option(
        False,
        help="Compile the network first (torch.compile): slower to start, then faster "
        "steps. It rounds differently, so runs with and without it differ in the last digits.",
        group="Device",
        advanced=True,
    )
    memory_slots: int = option(
        60, help="Slots of each of the two memory units.", group="Model", min=16, max=1024
    )
    triplet_weight: float = option(
        0.1, help="Weight of the triplet loss.", group="Loss", min=0, max=100, advanced=True
    )
    kl_weight: float = option(
        0.001, help="Weight of the KL loss.", group="Loss", min=0, max=100, advanced=True
    )
    distance_weight: float = option(
        1e-4, help="Weight of the distance loss.", group="Loss", min=0, max=100, advanced=True
    )
    memory_weight: float = option(
        0.1,
        help="Weight of the four memory losses (A, N, A on N, N on A).",
        group="Loss",
        min=0,
        max=100,
        advanced=True,
    )
    validation_share: float = option(
        0.15,
        help="Share of the training videos, of each label, kept out to choose the checkpoint.",
        group="Evaluation",
        min=0,
        max=0.5,
    )
    selection: str = option(
        "validation",
        help="What 'best' means: highest video-level AUC on the validation videos; the last step; "
        "or highest frame AUC on the test split (optimistic, and labelled so everywhere).",
        group="Evaluation",
        choices=SELECTIONS,
    )
    eval_every: int = option(
        50,
        help="Steps between evaluations.",
        group="Evaluation",
        unit="steps",
        min=1,
        max=1_000_000,
    )
    watched_bags: int = option(
        8,
        help="Training videos of each label whose bags are kept at every evaluation, to look at: "
        "which segments the loss chose, what the memories say of them. 0: none.",
        group="Evaluation",
        unit="videos",
        min=0,
        max=64,
        advanced=True,
    )
    checkpoint_every: int = option(
        100,
        help="Steps between checkpoints; a killed run resumes from the last one.",
        group="Checkpoints",
        unit="steps",
        min=1,
        max=1_000_000,
    )

    def cross_check(self) -> dict[str, str]:
        problems = {}
        if self.selection == "validation" and self.validation_share == 0:
            problems["validation_share"] = (
                "must be above 0 when the checkpoint is chosen on validation"
            )
        try:
            Schedule.parse(self.lr_schedule)
        except ValueError as exc:
            problems["lr_schedule"] = str(exc)
        return problems

    @property
    def best_key(self) -> str | None:
        """The metric whose highest value is the best checkpoint; None: the last one is."""
        return BEST_KEYS[self.selection]


@dataclass(frozen=True, kw_only=True)
class TwoStageConfig(UrdmuConfig):
    """UR-DMU and STPVAD together, from video-level labels (both stages)."""

    kind: ClassVar[str] = "train-two-stage"
    title: ClassVar[str] = "Train STPVAD (both stages)"

    num_epochs: int = redefault(UrdmuConfig, "num_epochs", 4000)
    batch_size: int = redefault(UrdmuConfig, "batch_size", 16)
    stage1: str = option(
        "joint",
        help="'joint' trains both stages with one optimiser, as published; 'frozen' keeps stage 1 "
        "as it starts, so it needs weights to start from.",
        group="Training",
        choices=("joint", "frozen"),
    )
    segment_length: int = option(
        16, help="Frames of a clip.", group="Clips", unit="frames", min=1, max=256
    )
    resize: tuple[int, int] = option(
        (128, 128),
        help="Height and width that clips are brought to.",
        group="Clips",
        unit="px",
        min=8,
        max=1024,
    )
    patch_size: int = option(
        16, help="Side of a patch; it divides both sizes.", group="Clips", unit="px", min=2, max=256
    )
    num_tubelet: int = option(
        8,
        help="A clip is cut into this many tubelets along time; 0: as tubelet_size says. (The "
        "published code takes an option of this name for the frames of a tubelet.)",
        group="Clips",
        unit="tubelets",
        min=0,
        max=256,
    )
    tubelet_size: int = option(
        0,
        help="Frames of a tubelet, instead of num_tubelet; 0: as num_tubelet says.",
        group="Clips",
        unit="frames",
        min=0,
        max=256,
    )
    clip_view: str = option(
        "rgb",
        help="What the network sees of a clip. 'rgb': its colours, as published. 'energy': how "
        "much each tubelet moves, as the mean square of the differences between its frames. "
        "'speed': how fast each patch moves, by optical flow. "
        "'motion': what the motion descriptor says of each patch against the video's background; "
        "it needs tubelets of 4 frames or more. "
        "With few videos the network then cannot learn what a place looks like, only how it moves.",
        group="Clips",
        choices=VIEWS,
    )
    view_cell: int = option(
        1,
        help="'energy' is averaged over cells of this many pixels; it divides patch_size.",
        group="Clips",
        unit="px",
        min=1,
        max=256,
        advanced=True,
    )
    snippet_choice: str = option(
        "top",
        help="Which of the segments that stage 1 ranks highest stage 2 looks at: the first; the "
        "second; one of them at random; or the first few (choice_count), one pass each.",
        group="Choice of snippets",
        choices=CHOICES,
    )
    choice_count: int = option(
        3,
        help="Segments of a video a step, with 'several'.",
        group="Choice of snippets",
        unit="segments",
        min=1,
        max=64,
    )
    ranking: str = option(
        "memory",
        help="What stage 1 ranks by. 'memory', as published: normal videos by their normal memory, "
        "which prefers the least telling segments; 'score': the anomaly score.",
        group="Choice of snippets",
        choices=RANKINGS,
    )
    random_snippet: bool = option(
        False,
        help="A random snippet of the chosen segment instead of its middle one.",
        group="Choice of snippets",
        advanced=True,
    )
    encoder_dim: int = option(
        768, help="Width of the tubelet transformer.", group="Stage 2", min=6, max=4096
    )
    encoder_depth: int = option(
        12, help="Blocks of the tubelet transformer.", group="Stage 2", min=1, max=48
    )
    encoder_heads: int = option(
        12, help="Attention heads of the tubelet transformer.", group="Stage 2", min=1, max=64
    )
    encoder_point: str = option(
        "",
        help="Start the tubelet transformer from a published image transformer (ViT, DeiT) of the "
        "same width, depth and patch size: the name of a file in the weights folder. "
        "pretrained_point then gives stage 1 alone its weights. Empty starts it from nothing.",
        group="Stage 2",
        advanced=True,
    )
    encoder_inflation: str = option(
        "averaging",
        help="How encoder_point's patch embedding is spread over a tubelet: equally over its "
        "frames, or all of it at the middle one.",
        group="Stage 2",
        choices=INFLATIONS,
        advanced=True,
    )
    patch_context: str = option(
        "clip",
        help="What a patch's score may depend on. 'clip': on all patches, as published; a label "
        "of the whole video then does not tell which of them it was. 'patch': on this patch "
        "over time and on nothing else, not even on where it is.",
        group="Stage 2",
        choices=CONTEXTS,
    )
    cross_attention: bool = option(
        False,
        help="Patches attend to what stage 1 has for their snippet.",
        group="Stage 2",
    )
    token_ratio: tuple[float, float, float] = option(
        (1.0, 1.0, 1.0),
        help="Share of all patches that is left after each of the three pruning places.",
        group="Pruning",
        above=0,
        max=1,
    )
    pruning: str = option(
        "auto",
        help="'hard' removes patches, 'soft' weighs them, 'none' looks at all. 'auto' is 'hard' "
        "where a token_ratio is below 1, else 'none'.",
        group="Pruning",
        choices=PRUNINGS,
    )
    pruning_places: tuple[int, int, int] = option(
        (3, 6, 9),
        help="Blocks in front of which patches are pruned, from 0.",
        group="Pruning",
        min=0,
        max=47,
        advanced=True,
    )
    ratio_weight: float = option(
        2.0,
        help="Weight of the loss that keeps the share of kept patches at token_ratio while "
        "training; it plays no part where all ratios are 1. 0, as published, limits nothing.",
        group="Pruning",
        min=0,
        max=100,
        advanced=True,
    )
    motion: str = option(
        "none",
        help="A score of how much each patch moves, rewarded where it is kept: against the tubelet "
        "played backwards, or against the tubelet before.",
        group="Pruning",
        choices=MOTIONS,
    )
    motion_loss_weight: float = option(
        0.01, help="Weight of the motion loss.", group="Pruning", min=0, max=100, advanced=True
    )
    published_motion: bool = option(
        False,
        help="The motion score and loss of the published code, with its faults.",
        group="Pruning",
        advanced=True,
    )
    patch_weight: float = option(
        1.0, help="Weight of stage 2's loss.", group="Loss", min=0, max=100, advanced=True
    )
    patch_latent: str = option(
        "sampled",
        help="As 'latent', in stage 2's head. With few clips it learns from the noise first.",
        group="Stage 2",
        choices=LATENTS,
        advanced=True,
    )
    patch_top: int = option(
        0,
        help="How many of a clip's patches stand for it in the loss, those with the highest "
        "scores; 0 is a sixteenth of them and one more, as published.",
        group="Loss",
        unit="patches",
        min=0,
        advanced=True,
    )
    validation_clips: int = option(
        4,
        help="Stage 2 looks at this many snippets of each validation video, those that stage 1 "
        "scores highest; 0: the checkpoint is chosen by stage 1 alone.",
        group="Evaluation",
        unit="clips",
        min=0,
        max=64,
        advanced=True,
    )

    @property
    def grid(self) -> ClipGrid:
        """How clips are cut."""
        return ClipGrid(
            height=self.resize[0],
            width=self.resize[1],
            frames=self.segment_length,
            patch=self.patch_size,
            tubelet_size=self.tubelet_size or None,
            num_tubelet=None if self.tubelet_size else self.num_tubelet or None,
        )

    @property
    def encoder_grid(self) -> ClipGrid:
        """How what the network sees is cut, see `seen_grid`.

        Raises:
            ConfigError: of `view_cell` or of the clip's sizes.
        """
        return seen_grid(self.grid, self.clip_view, self.view_cell)

    @property
    def pruning_kind(self) -> str:
        """`hard`, `soft` or `none`."""
        if self.pruning != "auto":
            return self.pruning
        return "hard" if min(self.token_ratio) < 1 else "none"

    def cross_check(self) -> dict[str, str]:
        problems = super().cross_check()
        both = self.num_tubelet * self.tubelet_size
        if both and both != self.segment_length:
            problems["tubelet_size"] = (
                f"{self.num_tubelet} tubelets of {self.tubelet_size} frames are {both} frames, and "
                f"a clip has {self.segment_length}: set num_tubelet or tubelet_size to 0"
            )
        else:
            try:
                grid = self.encoder_grid
            except ConfigError as exc:
                names = {"height": "resize", "width": "resize", "patch": "patch_size"}
                problems |= {names.get(name, name): text for name, text in exc.fields.items()}
            else:
                problems |= self._network_problems(grid)
        if self.view_cell > 1 and self.clip_view != "energy":
            problems["view_cell"] = f"averages an energy, and clip_view is {self.clip_view!r}"
        if self.clip_view in ("energy", "speed") and self.segment_length < 2:
            problems["segment_length"] = f"a clip of one frame has no {self.clip_view}"
        if self.encoder_point and self.clip_view != "rgb":
            problems["encoder_point"] = (
                f"was trained on colours, and clip_view is {self.clip_view!r}"
            )
        ranked = self.num_segments // 16 + 1
        needed = {"second": 2, "several": self.choice_count}.get(self.snippet_choice, 1)
        if needed > ranked:
            problems["choice_count" if self.snippet_choice == "several" else "snippet_choice"] = (
                f"takes {needed} segments, and stage 1 ranks {ranked} of {self.num_segments}"
            )
        return problems

    @property
    def best_key(self) -> str | None:
        """On validation both stages together choose, where clips are measured there."""
        fused = self.selection == "validation" and self.validation_clips
        return FUSED_KEY if fused else super().best_key

    def _network_problems(self, grid: ClipGrid) -> dict[str, str]:
        """As `TubeletVit` would find them, by the fields here."""
        problems = {}
        if self.encoder_dim % self.encoder_heads:
            problems["encoder_heads"] = (
                f"{self.encoder_dim} channels cannot be shared by {self.encoder_heads} heads"
            )
        if self.patch_top > grid.tokens:
            problems["patch_top"] = f"takes {self.patch_top} of the {grid.tokens} patches of a clip"
        if self.motion == "variance" and grid.tubelets == 1:
            problems["motion"] = "variance compares tubelets, and a clip has only one"
        if self.motion == "time-reversal" and grid.tubelet_frames == 1:
            problems["motion"] = "time-reversal compares frames of a tubelet, which has only one"
        if self.patch_context == "patch" and self.pruning_kind != "none":
            problems["patch_context"] = "each patch by itself cannot be weighed against others"
        if self.pruning_kind == "none":
            if self.motion != "none":
                problems["motion"] = "rewards keeping patches, and no patch is pruned"
            if min(self.token_ratio) < 1:
                problems["token_ratio"] = "prunes patches, but pruning is 'none'"
            return problems
        if self.encoder_dim % 3:
            problems["encoder_dim"] = (
                f"{self.encoder_dim} cannot be cut in three, as pruning needs it"
            )
        places = self.pruning_places
        if not places[0] < places[1] < places[2] < self.encoder_depth:
            problems["pruning_places"] = (
                f"{' '.join(map(str, places))} are not three rising blocks from 0 to "
                f"{self.encoder_depth - 1}"
            )
        if self.pruning_kind == "hard":
            if list(self.token_ratio) != sorted(self.token_ratio, reverse=True):
                problems["token_ratio"] = "must not rise: what is pruned does not return"
            elif int(grid.patches * self.token_ratio[-1] + 1e-6) < 1:
                problems["token_ratio"] = f"leaves none of {grid.patches} patches"
        return problems
