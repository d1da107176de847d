"""The commands that the server runs as well: extract, proxies, train, evaluate, dataset read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vad import options, results
from vad.commands.terminal import summary
from vad.configs import (
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    RegisterConfig,
    RunConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.reporting import JsonReporter, Reporter, TerminalReporter, exit_when_parent_dies

# --- their options ------------------------------------------------------------------------------


def fill_extract(parser: argparse.ArgumentParser) -> None:
    _add_run(parser, ExtractConfig, _extract, features=False)


def fill_proxies(parser: argparse.ArgumentParser) -> None:
    _add_run(parser, ProxiesConfig, _proxies, features=False)


def fill_train(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    if words[1:2] and words[1].startswith("--") and words[1] != "--help":
        from vad.commands import train_published

        train_published.fill(parser)
        parser.set_defaults(handler=lambda args: _follow(args, train_published.start))
        return
    parser.epilog = "Without MODEL, `train --dataset NAME …` takes the published code's options."
    models = parser.add_subparsers(title="models", metavar="MODEL", required=True)
    urdmu = models.add_parser("urdmu", help=UrdmuConfig.title, allow_abbrev=False)
    _add_start(urdmu)
    _add_run(urdmu, UrdmuConfig, _train_urdmu)
    both = models.add_parser("two-stage", help=TwoStageConfig.title, allow_abbrev=False)
    both.add_argument("--proxies", type=Path, metavar="DIR", help="proxies of the videos")
    _add_start(both)
    _add_run(both, TwoStageConfig, _train_two_stage)


def fill_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        dest="checkpoint_file",
        type=Path,
        required=True,
        metavar="FILE",
        help="a checkpoint of a training run, or an imported one",
    )
    parser.add_argument(
        "--proxies", type=Path, metavar="DIR", help="proxies of the videos, for both stages"
    )
    _add_run(parser, EvaluateConfig, _evaluate, leave_out=("checkpoint",))


def fill_read(parser: argparse.ArgumentParser) -> None:
    _add_run(parser, RegisterConfig, _register, manifest=False, features=False)


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="a checkpoint to start from, of stage 1 or of both, in place of pretrained_point",
    )
    parser.add_argument(
        "--keep_all",
        "--keep-all",
        action="store_true",
        help="remove no checkpoint: whoever started the run decides which are kept",
    )


def _add_run(
    parser: argparse.ArgumentParser,
    config_type: type[RunConfig],
    start: Callable[[Any, argparse.Namespace, Reporter], None],
    *,
    manifest: bool = True,
    features: bool = True,
    leave_out: tuple[str, ...] = (),
) -> None:
    """The options of a run: where things are, how to speak, and every field of its config."""
    parser.description = config_type.title
    parser.set_defaults(handler=lambda args: _run(args, config_type, start))
    folder: dict[str, Any] = {"type": Path, "required": True, "metavar": "DIR"}
    if manifest:
        parser.add_argument("--manifest", "--dataset", help="a data set version's folder", **folder)
    if features:
        parser.add_argument("--features", help="a feature store of its videos", **folder)
    parser.add_argument(
        "--output", help="the run's folder; the run goes on from what it finds there", **folder
    )
    parser.add_argument("--json", action="store_true", help="one JSON record a line, for programs")
    parser.add_argument(
        "--watch-parent", action="store_true", help="end when standard input is closed"
    )
    options.add(parser, config_type, leave_out=leave_out)


# --- what they start ----------------------------------------------------------------------------


def _extract(config: Any, args: argparse.Namespace, reporter: Reporter) -> None:
    from vad.features.extract import extract

    extract(config, manifest_dir=args.manifest, output=args.output, reporter=reporter)


def _proxies(config: Any, args: argparse.Namespace, reporter: Reporter) -> None:
    from vad.video.proxy_build import build

    build(config, manifest_dir=args.manifest, output=args.output, reporter=reporter)


def _train_urdmu(config: Any, args: argparse.Namespace, reporter: Reporter) -> None:
    from vad.training.urdmu import train

    train(
        config,
        manifest_dir=args.manifest,
        features_dir=args.features,
        output=args.output,
        reporter=reporter,
        start=args.start,
        keep_all=args.keep_all,
    )


def _train_two_stage(config: Any, args: argparse.Namespace, reporter: Reporter) -> None:
    from vad.training.two_stage import train

    train(
        config,
        manifest_dir=args.manifest,
        features_dir=args.features,
        output=args.output,
        reporter=reporter,
        proxies_dir=args.proxies,
        start=args.start,
        keep_all=args.keep_all,
    )


def _evaluate(config: Any, args: argparse.Namespace, reporter: Reporter) -> None:
    from vad.evaluating import evaluate_run

    evaluate_run(
        config,
        manifest_dir=args.manifest,
        features_dir=args.features,
        checkpoint=args.checkpoint_file,
        output=args.output,
        reporter=reporter,
        proxies_dir=args.proxies,
    )


def _register(config: Any, args: argparse.Namespace, reporter: Reporter) -> None:
    from vad.data.register import register

    register(config, output=args.output, reporter=reporter)


# --- who hears them -----------------------------------------------------------------------------


def _run(
    args: argparse.Namespace,
    config_type: type[RunConfig],
    start: Callable[[Any, argparse.Namespace, Reporter], None],
) -> int:
    if args.watch_parent:
        exit_when_parent_dies()
    return _follow(
        args, lambda args, reporter: start(options.read(args, config_type), args, reporter)
    )


def _follow(args: argparse.Namespace, start: Callable[[argparse.Namespace, Reporter], None]) -> int:
    """Run with somebody who hears it; the exit code says whether it was stopped."""
    reporter: _NotesStop = _Json() if args.json else _Terminal()
    if os.environ.get("RANK", "0") != "0":  # the first of several processes speaks for all
        reporter = _NotesStop()
    reporter.stop_on_signals()
    start(args, reporter)
    return results.EXIT_STOPPED if reporter.stopped else results.EXIT_OK


class _NotesStop(Reporter):
    """Remembers whether the run said that it stopped: that decides the exit code."""

    stopped = False

    def send(self, record: results.Record) -> None:
        self.stopped |= isinstance(record, results.Stopped)
        super().send(record)


class _Json(_NotesStop, JsonReporter):
    pass


class _Terminal(_NotesStop, TerminalReporter):
    def send(self, record: results.Record) -> None:
        super().send(record)
        if isinstance(record, results.Result):
            self._line(summary(record))
