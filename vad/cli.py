"""The command line: ``python -m vad COMMAND``. What the server runs is what a person can run.

Only what a command needs is imported, and nothing that imports torch before it is needed: `--help`
and the data set commands answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vad import options, results
from vad.configs import (
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    RegisterConfig,
    RunConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.errors import VadError
from vad.reporting import JsonReporter, Reporter, TerminalReporter, exit_when_parent_dies

Handler = Callable[[argparse.Namespace], int]
Parsers = Any  # argparse keeps the class of add_subparsers' result private


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code of `vad.results`."""
    # Waiting threads sleep instead of spinning. On cores that others use as well, spinning made a
    # training step two to three times as slow; on idle ones it makes no difference.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words).parse_args(words)
    try:
        return args.handler(args)
    except VadError as exc:
        _show_error(exc, as_json=args.json)
        return results.EXIT_ERROR
    except BrokenPipeError:
        # Whoever read the output is gone. Nobody is left to tell; keep Python from trying at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return results.EXIT_CRASHED
    except KeyboardInterrupt:
        return results.EXIT_STOPPED
    except Exception as exc:
        traceback.print_exc()
        if (full := out_of_memory(exc)) is not None:
            _show_error(full, as_json=args.json)
            return results.EXIT_ERROR
        return results.EXIT_CRASHED


def out_of_memory(exc: BaseException) -> VadError | None:
    """The error for people when a device, or the host, had no room; None for other exceptions.

    By the name of its class, so that a command without a network need not load torch.
    """
    if isinstance(exc, MemoryError):
        where = "The host's memory"
    elif type(exc).__name__ == "OutOfMemoryError" and type(exc).__module__.startswith("torch"):
        where = "The GPU's memory"
    else:
        return None
    return VadError(
        "memory-exhausted",
        f"{where} has no room for what the run computes.",
        "Lower batch_size, or choose a GPU with more free memory. Nothing else may have to change.",
    )


# --- runs ---------------------------------------------------------------------------------------


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
            self._line(_summary(record))


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


# --- data sets ----------------------------------------------------------------------------------


def _dataset_synthesize(args: argparse.Namespace) -> int:
    from vad.data import synthetic

    synthetic.make(args.folder, seed=args.seed, preset=args.preset, on_progress=_bar(args, "clips"))
    return _say(args, {"folder": str(args.folder)}, f"made in {args.folder}")


def _dataset_show(args: argparse.Namespace) -> int:
    from vad.data import versions
    from vad.data.manifest import load_manifest

    summary = versions.summary(load_manifest(args.folder))
    return _say(args, summary, versions.text(summary))


def _dataset_check(args: argparse.Namespace) -> int:
    from vad.data import versions

    report = versions.check(args.folder, args.features)
    _say(args, report.to_dict(), report.text())
    return results.EXIT_ERROR if report.severity == "problem" else results.EXIT_OK


def _dataset_pack(args: argparse.Namespace) -> int:
    from vad.data.manifest import load_manifest
    from vad.data.packing import pack_npy
    from vad.timeline import SnippetRule

    store = pack_npy(
        args.source,
        load_manifest(args.manifest),
        args.output,
        rule=SnippetRule(args.rule, args.snippet_len, args.slack),
        crop_axis=args.crop_axis,
        allow_missing=args.allow_missing,
        on_progress=_bar(args, "files"),
    )
    found = store.summary()
    return _say(
        args,
        found,
        f"{found['videos']} videos, {found['snippets']} snippets of {found['dim']} numbers, "
        f"{found['size_bytes'] / 1e6:.1f} MB, in {args.output}",
    )


# --- checkpoints --------------------------------------------------------------------------------


def _checkpoint_show(args: argparse.Namespace) -> int:
    from vad.training import published

    found = published.describe(args.file)
    lines = [f"{key}: {json.dumps(value)}" for key, value in found.items()]
    return _say(args, found, "\n".join(lines))


def _checkpoint_import(args: argparse.Namespace) -> int:
    from vad.training import published

    found = published.import_weights(args.source, args.output, expected_sha256=args.sha256)
    return _say(
        args,
        found,
        f"sha256 of {args.source}: {found['source_sha256']}\n"
        f"{found['parameters']:,} parameters for features of "
        f"{found['architecture']['feature_dim']} numbers, written to {args.output}\n"
        f"sha256 of {args.output}: {found['sha256']}",
    )


# --- the parser ---------------------------------------------------------------------------------


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vad",
        description="Weakly supervised video anomaly detection: features, training, evaluation.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    fill: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
        "extract": ("extract features from videos", _fill_extract),
        "proxies": ("build small copies of videos for stage 2 and for browsers", _fill_proxies),
        "train": ("train a model", partial(_fill_train, words=words)),
        "evaluate": ("score the test videos with a checkpoint", _fill_evaluate),
        "dataset": ("make, read, check or show a data set; pack features", _fill_dataset),
        "checkpoint": ("show a checkpoint, or import a published one", _fill_checkpoint),
    }
    for name, (text, add) in fill.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name in words[:1]:  # the options of the others are not needed, nor their imports
            add(command)
    return parser


def _fill_extract(parser: argparse.ArgumentParser) -> None:
    _add_run(parser, ExtractConfig, _extract, features=False)


def _fill_proxies(parser: argparse.ArgumentParser) -> None:
    _add_run(parser, ProxiesConfig, _proxies, features=False)


def _fill_train(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    if words[1:2] and words[1].startswith("--") and words[1] != "--help":
        from vad import train_command

        train_command.fill(parser)
        parser.set_defaults(handler=lambda args: _follow(args, train_command.start))
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


def _fill_evaluate(parser: argparse.ArgumentParser) -> None:
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


def _fill_dataset(parser: argparse.ArgumentParser) -> None:
    from vad.data.synthetic import PRESETS

    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = _command(commands, "synthesize", "make the synthetic data set", _dataset_synthesize)
    command.add_argument("folder", type=Path)
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--preset", choices=sorted(PRESETS), default="demo")

    command = _command(commands, "show", "videos, splits and classes of a version", _dataset_show)
    command.add_argument("folder", type=Path, help="a data set version's folder")

    command = _command(commands, "check", "look for what does not line up", _dataset_check)
    command.add_argument("folder", type=Path, help="a data set version's folder")
    command.add_argument("--features", type=Path, metavar="DIR", help="check these features, too")

    command = _command(commands, "pack", "pack published .npy features", _dataset_pack)
    command.add_argument("source", type=Path, help="folder with NAME.npy files")
    command.add_argument("--manifest", "--dataset", type=Path, required=True, metavar="DIR")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument(
        "--rule",
        choices=("hold", "stretch"),
        default="hold",
        help="hold: a snippet is --snippet_len frames; stretch: snippets spread over the video",
    )
    command.add_argument("--snippet_len", "--snippet-len", type=int, default=16, metavar="FRAMES")
    command.add_argument(
        "--slack",
        type=int,
        default=0,
        metavar="SNIPPETS",
        help="by how many snippets features may be longer or shorter than their video [0]",
    )
    command.add_argument(
        "--crop_axis",
        "--crop-axis",
        choices=("none", "first", "second", "files"),
        default="none",
        help="where the crops are: none [T,D], first [N,T,D], second [T,N,D], files NAME__0.npy",
    )
    command.add_argument("--allow_missing", "--allow-missing", action="store_true")

    read = commands.add_parser(
        "read",
        help="read a data set into OUTPUT/version, and pack its features into OUTPUT/features",
        allow_abbrev=False,
    )
    _add_run(read, RegisterConfig, _register, manifest=False, features=False)


def _fill_checkpoint(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = _command(commands, "show", "what a checkpoint holds", _checkpoint_show)
    command.add_argument("file", type=Path)
    command = _command(
        commands, "import", "bring a published .pkl/.pth in; no code in it runs", _checkpoint_import
    )
    command.add_argument("source", type=Path)
    command.add_argument("output", type=Path, help="the .safetensors file to write")
    command.add_argument("--sha256", metavar="HEX", help="refuse a source of another hash")


def _command(commands: Parsers, name: str, text: str, handler: Handler) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=options.plain(text), description=options.plain(text), allow_abbrev=False
    )
    command.add_argument("--json", action="store_true", help="one JSON object for programs")
    command.set_defaults(handler=handler)
    return command


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


# --- output -------------------------------------------------------------------------------------


def _say(args: argparse.Namespace, data: dict[str, Any], text: str) -> int:
    print(json.dumps(data) if args.json else text)
    return results.EXIT_OK


def _bar(args: argparse.Namespace, unit: str) -> Callable[[int, int], None]:
    reporter = Reporter() if args.json else TerminalReporter()
    return lambda done, total: reporter.progress(done, total, unit)


def _show_error(exc: VadError, *, as_json: bool) -> None:
    if as_json:
        print(results.to_line(results.Failed(error=exc.to_dict())), flush=True)
        return
    lines = [f"error: {exc.message}"]
    lines += [f"  {problem}" for problem in exc.problems[:50]]
    if len(exc.problems) > 50:
        lines.append(f"  … and {len(exc.problems) - 50} more")
    lines += [exc.hint] if exc.hint else []
    print("\n".join(lines), file=sys.stderr)


def _summary(record: results.Result) -> str:
    """The numbers of a result that a person looks for first."""
    data = record.data
    lines = []
    if "best" in data:
        best = data["best"]
        lines.append(f"best checkpoint by {data['selection']}: {best['path']}")
    limits = data.get("intervals", {})
    for name, value in data.get("metrics", {}).items():
        if value is not None:
            low_high = limits.get(name)
            between = f"  ({low_high[0]:.4f} to {low_high[1]:.4f})" if low_high else ""
            lines.append(f"  {name:<28} {value:.4f}{between}")
    return "\n".join(lines) or f"{record.kind}: done"
