"""`dataset`: make, read, check or show a data set; pack features."""

from __future__ import annotations

import argparse
from pathlib import Path

from vad import results
from vad.commands import runs
from vad.commands.terminal import add_command, bar, say


def fill(parser: argparse.ArgumentParser) -> None:
    from vad.data.synthetic import PRESETS

    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = add_command(commands, "synthesize", "make the synthetic data set", _synthesize)
    command.add_argument("folder", type=Path)
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--preset", choices=sorted(PRESETS), default="demo")

    command = add_command(commands, "show", "videos, splits and classes of a version", _show)
    command.add_argument("folder", type=Path, help="a data set version's folder")

    command = add_command(commands, "check", "look for what does not line up", _check)
    command.add_argument("folder", type=Path, help="a data set version's folder")
    command.add_argument("--features", type=Path, metavar="DIR", help="check these features, too")

    command = add_command(commands, "pack", "pack published .npy features", _pack)
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
    runs.fill_read(read)


def _synthesize(args: argparse.Namespace) -> int:
    from vad.data import synthetic

    synthetic.make(args.folder, seed=args.seed, preset=args.preset, on_progress=bar(args, "clips"))
    return say(args, {"folder": str(args.folder)}, f"made in {args.folder}")


def _show(args: argparse.Namespace) -> int:
    from vad.data import versions
    from vad.data.manifest import load_manifest

    summary = versions.summary(load_manifest(args.folder))
    return say(args, summary, versions.text(summary))


def _check(args: argparse.Namespace) -> int:
    from vad.data import versions

    report = versions.check(args.folder, args.features)
    say(args, report.to_dict(), report.text())
    return results.EXIT_ERROR if report.severity == "problem" else results.EXIT_OK


def _pack(args: argparse.Namespace) -> int:
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
        on_progress=bar(args, "files"),
    )
    found = store.summary()
    return say(
        args,
        found,
        f"{found['videos']} videos, {found['snippets']} snippets of {found['dim']} numbers, "
        f"{found['size_bytes'] / 1e6:.1f} MB, in {args.output}",
    )
