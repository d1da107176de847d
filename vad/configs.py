"""The configuration of every kind of run: one frozen dataclass each. See `vad.fields`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Self

from vad.errors import ConfigError
from vad.fields import PRECISIONS, RunConfig, is_bare_name, option
from vad.training_configs import TwoStageConfig, UrdmuConfig

FORMATS = (  # readers in vad/data/formats
    "synthetic",
    "ucf_crime",
    "xd_violence",
    "msad",
    "shanghaitech",
    "ucsd_ped",
    "generic",
)
INTERVAL_ENDS = ("published", "inclusive", "exclusive")


@dataclass(frozen=True, kw_only=True)
class RegisterConfig(RunConfig):
    """A data set version, and features packed with it, from folders that exist."""

    kind: ClassVar[str] = "register"
    title: ClassVar[str] = "Register a data set"

    device: str = option(
        "cpu", help="Registering needs no GPU.", group="Device", choices=("cpu",), advanced=True
    )
    name: str = option(
        "", help="A new data set's name, or that of one to add a version to.", group="Data set"
    )
    format: str = option(
        "generic", help="The layout of the files.", group="Data set", choices=FORMATS
    )
    root: str = option(
        "",
        help="The folder of the videos, or of the features when there are no videos.",
        group="Data set",
    )
    annotations: str = option(
        "",
        help="The annotation file, for formats that keep it elsewhere than in the folder.",
        group="Data set",
    )
    boxes: str = option(
        "",
        help="The box file (JSON): required for MSAD, optional for UCF-Crime.",
        group="Data set",
        advanced=True,
    )
    train_list: str = option(
        "",
        help="The list file of the training videos, where the format has one.",
        group="Data set",
        advanced=True,
    )
    test_list: str = option(
        "",
        help="The list file of the test videos; required for ShanghaiTech.",
        group="Data set",
        advanced=True,
    )
    masks: str = option(
        "",
        help="ShanghaiTech: the folder of frame masks, when it is not below the folder.",
        group="Data set",
        advanced=True,
    )
    split: str = option(
        "auto",
        help="UCSD Ped: the weakly supervised split of the literature, the official one-class "
        "split, or weak where there is a split file.",
        group="Data set",
        choices=("auto", "weak", "official"),
        advanced=True,
    )
    split_file: str = option(
        "",
        help="UCSD Ped: the split file (JSON), when it is not split_weak.json in the folder.",
        group="Data set",
        advanced=True,
    )
    all_events: bool = option(
        False,
        help="MSAD: keep the events of three videos that the official truth leaves out.",
        group="Data set",
        advanced=True,
    )
    interval_end: str = option(
        "published",
        help="UCF-Crime, XD-Violence, own footage: whether the last frame of an interval belongs "
        "to it. 'published' is what is usual for the format (docs/datasets.md).",
        group="Data set",
        choices=INTERVAL_ENDS,
        advanced=True,
    )
    features: str = option(
        "",
        help="A folder of published .npy features to pack with the data set; may be left empty.",
        group="Features",
    )
    crop_axis: str = option(
        "none",
        help="Where the crops are: 'none' for [T, D], 'first' for [N, T, D], 'second' for "
        "[T, N, D], 'files' for one file a crop (NAME__0.npy, NAME__1.npy, …).",
        group="Features",
        choices=("none", "first", "second", "files"),
    )
    snippet_rule: str = option(
        "hold",
        help="'hold': a snippet is a fixed number of frames. 'stretch': the snippets are spread "
        "evenly over the video, whatever its length.",
        group="Features",
        choices=("hold", "stretch"),
    )
    segment_length: int = option(
        16, help="Frames per snippet under 'hold'.", group="Features", unit="frames", min=1, max=256
    )
    snippet_slack: int = option(
        0,
        help="Under 'hold', by how many snippets features may be longer or shorter than the video: "
        "the last score is repeated, or what is too much cut off. Part of the protocol.",
        group="Features",
        unit="snippets",
        min=0,
        max=64,
        advanced=True,
    )

    def cross_check(self) -> dict[str, str]:
        needed = {"name": self.name, "root": self.root}
        return {field: "must not be empty" for field, text in needed.items() if not text.strip()}


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(RunConfig):
    """Features from raw video, one vector per snippet."""

    kind: ClassVar[str] = "extract"
    title: ClassVar[str] = "Extract features"

    extractor: str = option(
        "motion",
        help="'motion' is the built-in motion descriptor and needs no weights. 'i3d' (1024 numbers "
        "a snippet) and 'videomae' (384 to 1408) are published networks: slow without a GPU.",
        group="Features",
        choices=("motion", "i3d", "videomae"),
    )
    segment_length: int = option(
        16,
        help="Frames per snippet. VideoMAE takes 16 and no other number.",
        group="Features",
        unit="frames",
        min=2,
        max=256,
    )
    resize: tuple[int, int] = option(
        (120, 160),
        help="motion: height and width that frames are brought to. I3D and VideoMAE have sizes of "
        "their own.",
        group="Features",
        unit="px",
        min=32,
        max=1024,
    )
    crops: int = option(
        10,
        help="i3d: 10 crops, as the published features have, or 5 without the mirrored ones, or "
        "the centre alone (1), at a tenth of the cost.",
        group="Published networks",
        choices=(1, 5, 10),
    )
    videomae_variant: str = option(
        "base",
        help="videomae: 'giant' makes the published 1408 numbers; 'base' (768) and 'small' (384) "
        "were distilled from it and are 10 and 40 times cheaper.",
        group="Published networks",
        choices=("small", "base", "giant"),
    )
    batch_size: int = option(
        8,
        help="i3d, videomae: crops that go through the network at once, of several videos if need "
        "be. More is faster on a GPU, and takes more memory.",
        group="Published networks",
        unit="crops",
        min=1,
        max=1024,
    )
    precision: str = option(
        "float32",
        help="i3d, videomae: 'tf32' and 'bfloat16' are faster on a GPU and round more; the CPU "
        "computes in float32 only.",
        group="Published networks",
        choices=PRECISIONS,
    )
    weights: str = option(
        "",
        help="i3d, videomae: a file in the weights folder; empty is the file's published name "
        "(i3d: rgb_imagenet.pt; model_rgb.pth is read too).",
        group="Published networks",
        advanced=True,
    )
    normalise: bool = option(
        False,
        help="videomae: bring colours to ImageNet's mean and deviation, as in its training. The "
        "authors' feature script does not, nor do the features that others publish.",
        group="Published networks",
        advanced=True,
    )
    batch_norm_eps: float = option(
        1e-3,
        help="i3d: 0.001 as in the original; 0.00001 repeats the extractor shipped with UR-DMU.",
        group="Published networks",
        choices=(1e-3, 1e-5),
        advanced=True,
    )
    crop_order: str = option(
        "urdmu",
        help="i3d: how the crops are numbered. 'urdmu': corners around the centre, as its "
        "extractor stores them; 'published': the centre first, as UCF-Crime's and XD-Violence's "
        "files are. Scores are averaged over crops, so they are the same.",
        group="Published networks",
        choices=("urdmu", "published"),
        advanced=True,
    )

    def cross_check(self) -> dict[str, str]:
        problems = {}
        if self.extractor == "videomae" and self.segment_length != 16:
            problems["segment_length"] = f"VideoMAE takes 16 frames, not {self.segment_length}"
        if self.extractor == "i3d" and self.segment_length < 9:
            problems["segment_length"] = f"I3D needs 9 frames or more, not {self.segment_length}"
        if not is_bare_name(self.weights):
            problems["weights"] = "must be the bare name of a file in the weights folder"
        return problems


@dataclass(frozen=True, kw_only=True)
class ProxiesConfig(RunConfig):
    """Small copies of the videos, in which every frame is found at once."""

    kind: ClassVar[str] = "proxies"
    title: ClassVar[str] = "Build proxies"

    device: str = option(
        "cpu", help="Copying needs no GPU.", group="Device", choices=("cpu",), advanced=True
    )
    short_side: int = option(
        240,
        help="The shorter side of a proxy; smaller videos keep their size. Large enough to look "
        "at in a browser, and for clips of other sizes than clip_size.",
        group="Proxies",
        unit="px",
        min=32,
        max=2160,
    )
    clip_size: tuple[int, int] = option(
        (128, 128),
        help="Height and width of a second copy, from which stage 2 reads clips of this very size "
        "(its resize) more quickly; 0 0 makes none.",
        group="Proxies",
        unit="px",
        min=0,
        max=1024,
    )
    crf: int = option(
        18,
        help="Quality of H.264 (constant rate factor): lower is closer to the source, and larger.",
        group="Proxies",
        min=1,
        max=40,
    )
    gop: int = option(
        16,
        help="A key frame every so many frames: fewer is quicker to find, and larger.",
        group="Proxies",
        unit="frames",
        min=1,
        max=250,
        advanced=True,
    )
    threads: int = option(
        0,
        help="Videos that are copied at the same time; 0 is one for each core.",
        group="Proxies",
        min=0,
        max=256,
        advanced=True,
    )

    def cross_check(self) -> dict[str, str]:
        if self.clip_size != (0, 0) and min(self.clip_size) == 0:
            return {"clip_size": "a height and a width, or 0 0 for no such copy"}
        return {}


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(RunConfig):
    """Scores and metrics of a checkpoint on the test split."""

    kind: ClassVar[str] = "evaluate"
    title: ClassVar[str] = "Evaluate"

    checkpoint: str = option(
        "best",
        help="Which checkpoint of the training run: 'best' by the run's selection rule, or 'last'.",
        group="Checkpoint",
        choices=("best", "last"),
    )
    score: str = option(
        "auto",
        help="What is evaluated per frame: 'stage1' is the score of the snippet, 'stage2' its "
        "highest patch, 'fused' both; 'auto' is fused where the checkpoint has both stages. Each "
        "is reported beside it.",
        group="Both stages",
        choices=("auto", "stage1", "stage2", "fused"),
    )
    fusion: str = option(
        "mean",
        help="How 'fused' puts the scores of both stages together.",
        group="Both stages",
        choices=("mean", "max", "product"),
    )
    tubelet_maps: str = option(
        "merged",
        help="Patch level: 'merged' takes of each patch the highest score of the snippet's "
        "tubelets, for all its frames; 'each' gives every tubelet's map its own frames.",
        group="Both stages",
        choices=("merged", "each"),
        advanced=True,
    )
    map_blur: float = option(
        0.0,
        help="Stage 2's maps are blurred by a Gaussian of this standard deviation over "
        "neighbouring patches; 0 is off.",
        group="Both stages",
        unit="patches",
        min=0,
        max=8,
    )
    map_smoothing: float = option(
        0.0,
        help="And over time; 0 is off.",
        group="Both stages",
        unit="snippets",
        min=0,
        max=32,
    )
    smoothing: int = option(
        1,
        help="Moving average over this many snippets; 1 is off.",
        group="Protocol",
        unit="snippets",
        min=1,
        max=99,
    )
    tail: str = option(
        "hold",
        help="Frames after the last whole snippet: 'hold' counts them with its score; 'cut' counts "
        "16 frames a snippet and no more, as published truth arrays do.",
        group="Protocol",
        choices=("hold", "cut"),
    )
    patch_overlap: float = option(
        0.25,
        help="Both stages: a patch is abnormal when at least this share of it lies in a true box "
        "or mask.",
        group="Protocol",
        choices=(0.25, 0.5, 0.75, 1.0),
        advanced=True,
    )
    bootstrap_samples: int = option(
        1000,
        help="Resamples of the test videos for the 95 % intervals; 0 is off.",
        group="Intervals",
        min=0,
        max=20_000,
    )
    seed: int = option(0, help="Seed of the bootstrap.", group="Intervals", min=0, max=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class ExternalConfig(RunConfig):
    """A run that is trained elsewhere and only logged here.

    Its settings have the names that the training script gave them, so there is no schema to check
    them by, and nothing that a worker could run.
    """

    kind: ClassVar[str] = "external"
    title: ClassVar[str] = "External"

    @classmethod
    def _build(cls, data: Mapping[str, Any], read: Callable[[Field, Any], Any]) -> Self:
        problem = "external runs are logged by the script that trains them, and never queued"
        raise ConfigError({"kind": problem})

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Any settings."""
        return {**super().json_schema(), "properties": {}, "additionalProperties": True}


CONFIGS: dict[str, type[RunConfig]] = {
    c.kind: c
    for c in (
        RegisterConfig,
        ExtractConfig,
        ProxiesConfig,
        UrdmuConfig,
        TwoStageConfig,
        EvaluateConfig,
        ExternalConfig,
    )
}
TRAININGS: dict[str, type[UrdmuConfig]] = {c.kind: c for c in (UrdmuConfig, TwoStageConfig)}
QUEUED_KINDS = tuple(kind for kind in CONFIGS if kind != ExternalConfig.kind)


def config_class(kind: str) -> type[RunConfig]:
    """The configuration class of a kind of run."""
    try:
        return CONFIGS[kind]
    except KeyError:
        raise ConfigError({"kind": f"{kind!r} is not one of {', '.join(CONFIGS)}"}) from None
