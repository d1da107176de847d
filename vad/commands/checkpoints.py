"""`checkpoint`: show one, or bring a published one in."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vad.commands.terminal import add_command, say


def fill(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = add_command(commands, "show", "what a checkpoint holds", _show)
    command.add_argument("file", type=Path)
    command = add_command(
        commands, "import", "bring a published .pkl/.pth in; no code in it runs", _import
    )
    command.add_argument("source", type=Path)
    command.add_argument("output", type=Path, help="the .safetensors file to write")
    command.add_argument("--sha256", metavar="HEX", help="refuse a source of another hash")


def _show(args: argparse.Namespace) -> int:
    from vad.training import published

    found = published.describe(args.file)
    lines = [f"{key}: {json.dumps(value)}" for key, value in found.items()]
    return say(args, found, "\n".join(lines))


def _import(args: argparse.Namespace) -> int:
    from vad.training import published

    found = published.import_weights(args.source, args.output, expected_sha256=args.sha256)
    return say(
        args,
        found,
        f"sha256 of {args.source}: {found['source_sha256']}\n"
        f"{found['parameters']:,} parameters for features of "
        f"{found['architecture']['feature_dim']} numbers, written to {args.output}\n"
        f"sha256 of {args.output}: {found['sha256']}",
    )
