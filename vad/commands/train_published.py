"""`python -m vad train --dataset ucf …`: from folders to a trained model of both stages.

It takes the options of the published code by their names: it reads the data set, packs or extracts
features, copies the videos small, and trains. Every part writes below the output folder and is
taken up where it was left when the command is given again. An option of the published code that
does nothing there, or cannot work, is refused with the reason.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

from vad import options
from vad.configs import ExtractConfig, ProxiesConfig, RegisterConfig, TwoStageConfig
from vad.errors import ConfigError, VadError
from vad.reporting import Reporter

DATASETS = {
    "ucf": "ucf_crime",
    "xd": "xd_violence",
    "msad": "msad",
    "shanghaitech": "shanghaitech",
    "ped2": "ucsd_ped",
    "synthetic": "synthetic",
    "generic": "generic",
}
# Options of the published code, by name: what they become here.
FLAGS: dict[str, dict[str, str]] = {
    "random_top": {"snippet_choice": "random"},
    "second_topk": {"snippet_choice": "second"},
    "disable_pruning": {"pruning": "none"},
    "soft_pruning": {"pruning": "soft"},
}
REFUSED = {
    "clip_features": "the published code reads it nowhere; features are named by --feature_root",
    "debug": "the published code reads it nowhere",
    "exp_num": "the published code reads it nowhere; the output folder tells runs apart",
    "log_path": "the published code reads it nowhere; --json prints every record",
    "modal": "features say which modality they are of: name their folder with --feature_root",
    "model_file": "the published code reads it nowhere; --pretrained_point names weights",
    "motion_keep_ratio": "the published code computes a choice from it and drops that",
    "num_workers": "the published code loads in its main process whatever it says; clips are "
    "decoded by threads here",
    "rgb_thermal_fusion": "the published code has it in no training step",
    "root_dir": "paths are not put together here: name --video_root and --feature_root",
    "subset": "the published code reads it nowhere; list files choose videos",
}
PUBLISHED = {  # what the published code does where the specification repairs it
    "num_tubelet": "0",
    "tubelet_size": "8",
    "pruning": "hard",
    "ratio_weight": "0",
    "published_motion": "yes",
    "selection": "test",
    "validation_share": "0",
}


def fill(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    where = parser.add_argument_group("Files")
    where.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help=f"{', '.join(DATASETS)}; or the folder of a data set version",
    )
    path: dict[str, Any] = {"type": Path, "metavar": "PATH"}
    for name, text in {
        "video_root": "the folder of the videos",
        "test_file": "annotations of the test videos, or a list of them",
        "train_file": "a list of the training videos",
        "annotations": "annotations, where test_file is a list",
        "boxes": "the box file (JSON) of formats that have one",
        "feature_root": "published .npy features; without it motion features are extracted",
        "model_path": "where the chosen checkpoint is copied to: a file, or a folder",
    }.items():
        where.add_argument(*options.spellings(name), help=text, **path)
    where.add_argument(
        *options.spellings("output_path"), required=True, help="the run's folder", **path
    )
    where.add_argument(
        *options.spellings("crop_axis"),
        default="none",
        help="of the features: none [T,D], first [N,T,D], second [T,N,D], files",
    )
    where.add_argument(
        *options.spellings("snippet_rule"), default="hold", help="of the features: hold or stretch"
    )
    where.add_argument(
        *options.spellings("no_proxies"), action="store_true", help="read the videos themselves"
    )
    where.add_argument("--json", action="store_true", help="one JSON record a line, for programs")
    where.add_argument(
        "--preset",
        choices=("published",),
        help="published: as the published code, with tubelets of 8 frames, its motion loss, and "
        "the checkpoint chosen on the test split",
    )
    theirs = parser.add_argument_group("Other names of the published code")
    theirs.add_argument(
        "--multi_k", nargs="?", const="3", metavar="K", help="snippet_choice several, of K"
    )
    theirs.add_argument("--motion_aware_type", metavar="TYPE", help="motion")
    for name, meant in FLAGS.items():
        text = ", ".join(f"{field} {value}" for field, value in meant.items())
        theirs.add_argument(f"--{name}", action="store_true", help=text)
    for name in REFUSED:
        parser.add_argument(f"--{name}", nargs="*", help=argparse.SUPPRESS)
    options.add(parser, TwoStageConfig, leave_out=())


def start(args: argparse.Namespace, reporter: Reporter) -> None:
    """Do all that the options ask for, or what is left of it.

    Raises:
        ConfigError: options that cannot work, each with the reason.
        VadError: what reading, extracting and training raise.
    """
    config = _config(args)
    version, features = _data(args, reporter)
    if reporter.stop_requested:
        return
    if features is None:
        features = _motion_features(args, config, version, reporter)
        if reporter.stop_requested:
            return
    proxies = None if args.no_proxies else _proxies(args, config, version, reporter)
    if reporter.stop_requested:
        return
    from vad.training.two_stage import train

    train(
        config,
        manifest_dir=version,
        features_dir=features,
        output=args.output_path,
        reporter=reporter,
        proxies_dir=proxies,
    )
    if args.model_path and not reporter.stop_requested:
        _copy_model(args, config, reporter)


def _config(args: argparse.Namespace) -> TwoStageConfig:
    """The configuration of the training, from both kinds of names."""
    problems = {name: why for name, why in REFUSED.items() if getattr(args, name) is not None}
    texts: dict[str, str] = dict(PUBLISHED) if args.preset else {}
    for name, meant in FLAGS.items():
        if getattr(args, name):
            texts |= meant
    if args.multi_k:
        texts |= {"snippet_choice": "several", "choice_count": args.multi_k}
    if args.motion_aware_type:
        spelt = {"varience": "variance"}.get(args.motion_aware_type, args.motion_aware_type)
        texts["motion"] = spelt
    given = options.given(args, TwoStageConfig)
    if "lr" in given:
        given["lr"] = _learning_rate(given["lr"])
    if problems:
        raise ConfigError(problems, what="The command line")
    return TwoStageConfig.from_dict(options.from_file(args), texts={**texts, **given})


def _learning_rate(text: str) -> str:
    """The published code evaluates a text such as '[0.0001]*4000'; only that form is read."""
    match = re.fullmatch(r"\[\s*([0-9.eE+-]+)\s*\]\s*\*\s*\d+", text.strip())
    return match[1] if match else text


def _data(args: argparse.Namespace, reporter: Reporter) -> tuple[Path, Path | None]:
    """The data set version, and its features if published ones were named."""
    if (Path(args.dataset) / "manifest.json").is_file():
        return Path(args.dataset), args.feature_root
    if args.dataset not in DATASETS:
        raise ConfigError(
            {"dataset": f"{args.dataset!r} is no version's folder and not {', '.join(DATASETS)}"},
            what="The command line",
        )
    if args.video_root is None:
        text = "needed: stage 2 looks at frames. `vad train urdmu` trains stage 1 alone"
        raise ConfigError({"video_root": text}, what="The command line")
    from vad.data.register import register

    is_list = args.test_file is not None and _is_list(args.test_file)
    config = RegisterConfig(
        name=args.dataset,
        format=DATASETS[args.dataset],
        root=str(args.video_root),
        annotations=_text(args.annotations or (None if is_list else args.test_file)),
        test_list=_text(args.test_file if is_list else None),
        train_list=_text(args.train_file),
        boxes=_text(args.boxes),
        features=_text(args.feature_root),
        crop_axis=args.crop_axis,
        snippet_rule=args.snippet_rule,
    )
    folder = args.output_path / "dataset"
    register(config, output=folder, reporter=reporter)
    return folder / "version", folder / "features" if args.feature_root else None


def _is_list(path: Path) -> bool:
    """A list has one path a line; annotations have numbers or a class behind the name."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as exc:
        raise VadError("file-missing", f"{path} cannot be read.", "Check --test_file.") from exc
    return all(len(line.split()) <= 1 for line in lines)


def _motion_features(
    args: argparse.Namespace, config: TwoStageConfig, version: Path, reporter: Reporter
) -> Path:
    from vad.features.extract import extract

    reporter.log("No --feature_root: motion features are extracted from the videos.")
    folder = args.output_path / "features"
    extract(
        ExtractConfig(device=config.device), manifest_dir=version, output=folder, reporter=reporter
    )
    return folder / "features"


def _proxies(
    args: argparse.Namespace, config: TwoStageConfig, version: Path, reporter: Reporter
) -> Path:
    from vad.video.proxy_build import build

    folder = args.output_path / "proxies"
    copies = ProxiesConfig(clip_size=config.resize)
    build(copies, manifest_dir=version, output=folder, reporter=reporter)
    return folder / "proxies"


def _copy_model(args: argparse.Namespace, config: TwoStageConfig, reporter: Reporter) -> None:
    from vad.training import checkpoints

    found = checkpoints.chosen(args.output_path)
    target: Path = args.model_path
    if target.suffix != ".safetensors":
        target = target / f"stpvad_{Path(args.dataset).name}_{config.seed}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target)
    reporter.log(f"{found.name} is copied to {target}")


def _text(path: Path | None) -> str:
    return "" if path is None else str(path)
