"""What a command says: to a person, or with --json to a program."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from vad import options, results
from vad.errors import VadError
from vad.reporting import Reporter, TerminalReporter

Handler = Callable[[argparse.Namespace], int]
Parsers = Any  # argparse keeps the class of add_subparsers' result private


def add_command(
    commands: Parsers, name: str, text: str, handler: Handler
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=options.plain(text), description=options.plain(text), allow_abbrev=False
    )
    command.add_argument("--json", action="store_true", help="one JSON object for programs")
    command.set_defaults(handler=handler)
    return command


def say(args: argparse.Namespace, data: dict[str, Any], text: str) -> int:
    print(json.dumps(data) if args.json else text)
    return results.EXIT_OK


def bar(args: argparse.Namespace, unit: str) -> Callable[[int, int], None]:
    reporter = Reporter() if args.json else TerminalReporter()
    return lambda done, total: reporter.progress(done, total, unit)


def show_error(exc: VadError, *, as_json: bool) -> None:
    if as_json:
        print(results.to_line(results.Failed(error=exc.to_dict())), flush=True)
        return
    lines = [f"error: {exc.message}"]
    lines += [f"  {problem}" for problem in exc.problems[:50]]
    if len(exc.problems) > 50:
        lines.append(f"  … and {len(exc.problems) - 50} more")
    lines += [exc.hint] if exc.hint else []
    print("\n".join(lines), file=sys.stderr)


def summary(record: results.Result) -> str:
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
