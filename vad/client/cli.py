"""`vadlab`, or `python -m vad.client`: runs from a terminal. Sweeps are in sweep_cli.py."""

from __future__ import annotations

import argparse
import csv
import getpass
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vad.client import settings, sweep_cli, tables
from vad.client.api import Client
from vad.client.given import config_of, json_of
from vad.client.progress import Bar
from vad.client.records import Run
from vad.client.transport import Transport
from vad.configs import QUEUED_KINDS, config_class
from vad.errors import VadError
from vad.results import EXIT_ERROR, EXIT_STOPPED

Handler = Callable[[Client, argparse.Namespace], int]
EVERY_S = 2.0
SHOWN = 6  # metrics beside the bar


def main(argv: Sequence[str] | None = None) -> int:
    """Do one command; returns 0, or an exit code of `vad.results`."""
    args = _parser().parse_args(argv)
    try:
        if args.handler is login:
            return login(args)
        return args.handler(Client(args.url, args.token), args)
    except VadError as exc:
        print(f"{exc.message} {exc.hint}".strip(), file=sys.stderr)
        for problem in exc.problems:
            print(f"  {problem}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:  # who read the output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_STOPPED


# --- commands -------------------------------------------------------------------------------


def login(args: argparse.Namespace) -> int:
    """Ask for the address and the token, try them, and keep them for next time."""
    url = args.url or input("Address of the server: ").strip()
    token = args.token or getpass.getpass("Token (made under Settings): ").strip()
    found = settings.Found(url=url, token=token)
    me = Transport(found.url, found.token).get("/api/v1/me/")
    place = settings.save(found)
    print(f"{me['username']} at {found.url}; kept in {place}, for you alone.")
    return 0


def submit(client: Client, args: argparse.Namespace) -> int:
    """Queue a run; with --watch stay with it."""
    given = config_of(config_class(args.kind), json_of(args.config), args.set)
    run = client.runs.create(
        args.kind, given, name=args.name, project=args.project or None, tags=args.tag,
        priority=args.priority, version=args.version, feature_set=args.features, gpus=args.gpus,
        of_run=client.runs.find(args.of_run).id if args.of_run else None,
        time_limit_s=args.time_limit_s, memory_mb=args.memory_mb,
    )  # fmt: skip
    print(run.id)
    return _follow(client, run) if args.watch else 0


def watch(client: Client, args: argparse.Namespace) -> int:
    """A progress bar and the newest metrics until the run has ended."""
    return _follow(client, client.runs.find(args.run))


def logs(client: Client, args: argparse.Namespace) -> int:
    for text in client.runs.logs(client.runs.find(args.run).id, follow=args.follow):
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def compare(client: Client, args: argparse.Namespace) -> int:
    """Numbers of the evaluations, last values of metrics that are named, settings that differ."""
    runs = [client.runs.find(text) for text in args.run]
    answer = client.runs.compare([run.id for run in runs])
    last = {run.id: client.runs.last_values(run.id) for run in runs} if args.metric else {}
    columns = tables.compared(answer, last, args.metric)
    sys.stdout.write(tables.FORMATS[args.format](columns))
    for note in answer["not_comparable"]:
        print(f"Not comparable: {note.get('message') or note}", file=sys.stderr)
    return 0


def download(client: Client, args: argparse.Namespace) -> int:
    """A checkpoint, or files of an external run; checked, and gone on with after a cut."""
    run = client.runs.find(args.run)
    to = Path(args.output)
    if not args.file:
        with Bar(f"checkpoint {args.checkpoint}") as bar:
            place = client.runs.download_checkpoint(run.id, args.checkpoint, to, progress=bar.bytes)
        print(place)
        return 0
    files = [f for f in client.runs.files(run.id) if f.kind == "artifact"]
    wanted = [f for f in files if args.file in ("all", f.path)]
    if not wanted:
        known = ", ".join(f.path for f in files[:10]) or "none"
        raise VadError(
            "file-missing", f"{run.name} has no file {args.file!r}.", f"It has: {known}."
        )
    for file in wanted:
        with Bar(file.path) as bar:
            print(client.runs.download_file(file, to, progress=bar.bytes))
    return 0


def export(client: Client, args: argparse.Namespace) -> int:
    """A run into a folder: run.json, metrics.csv with every point, log.txt, its files."""
    for text in args.run:
        run = client.runs.find(text)
        folder = Path(args.output) / run.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(run.raw, indent=2), "utf-8")
        keys = client.runs.metric_keys(run.id)
        with (
            (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as out,
            Bar(run.name) as bar,
        ):
            rows = csv.writer(out)
            rows.writerow(["key", "step", "value"])
            for n, key in enumerate(keys):
                bar.show(n, len(keys), key)
                rows.writerows(
                    (key, step, repr(value)) for step, value in client.runs.points(run.id, key)
                )
            bar.show(len(keys), len(keys), "")
        with (folder / "log.txt").open("w", encoding="utf-8") as out:
            out.writelines(client.runs.logs(run.id))
        if args.files and run.kind == "external":
            for file in client.runs.files(run.id):
                with Bar(file.path) as bar:
                    client.runs.download_file(file, folder / "files", progress=bar.bytes)
        print(folder)
    return 0


def _follow(client: Client, run: Run) -> int:
    said = ""
    with Bar(run.name) as bar:
        while True:
            run = client.runs.get(run.id)
            values = list(client.runs.last_values(run.id).items()) if run.done else []
            own = [(key, v) for key, v in values if not key.startswith("sys/") and v is not None]
            text = "  ".join(f"{key} {value:.4g}" for key, value in own[:SHOWN])
            note = f"{run.state}  {text or run.why or run.note}"
            bar.show(run.done, run.total, note)
            if not bar.live and note != said:
                print(f"{run.percent} %  {note}")
                said = note
            if run.has_ended:
                break
            time.sleep(EVERY_S)
    error = run.error or {}
    print(f"{run.name} {run.state}. {error.get('message', '')} {error.get('hint', '')}".strip())
    return 0 if run.state == "succeeded" else EXIT_ERROR


# --- what can be typed ----------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vadlab", description="A VADLab server from a terminal.", allow_abbrev=False
    )
    parser.add_argument("--url", default="", help=f"the server; else {settings.URL}, or login's")
    parser.add_argument("--token", default="", help=argparse.SUPPRESS)  # seen by others in `ps`
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("login", help="keep the address and a token for next time")
    command.set_defaults(handler=login)

    command = commands.add_parser("submit", help="queue a run")
    command.add_argument("kind", choices=QUEUED_KINDS)
    command.add_argument("--config", help="a JSON file")
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    command.add_argument("--version", help="id of the data set version")
    command.add_argument("--features", help="id of the feature set")
    command.add_argument("--of-run", help="evaluate: the training run")
    command.add_argument("--name", default="")
    command.add_argument("--project", default="", help="its slug; else your first")
    command.add_argument("--tag", action="append", default=[])
    command.add_argument("--priority", type=int, default=0)
    command.add_argument("--gpus", type=int)
    command.add_argument("--memory-mb", type=int)
    command.add_argument("--time-limit-s", type=int)
    command.add_argument("--watch", action="store_true", help="stay until it has ended")
    command.set_defaults(handler=submit)

    command = commands.add_parser("watch", help="progress and newest metrics until the end")
    command.add_argument("run", help="id, page address or name")
    command.set_defaults(handler=watch)

    command = commands.add_parser("logs", help="print the log")
    command.add_argument("run")
    command.add_argument("-f", "--follow", action="store_true", help="until the run has ended")
    command.set_defaults(handler=logs)

    command = commands.add_parser("compare", help="runs side by side")
    command.add_argument("run", nargs="+")
    command.add_argument("--format", choices=tuple(tables.FORMATS), default="table")
    command.add_argument("--metric", action="append", default=[], help="its last value, too")
    command.set_defaults(handler=compare)

    command = commands.add_parser("download", help="a checkpoint, or files of an external run")
    command.add_argument("run")
    command.add_argument("--checkpoint", default="best", help="best, last or a step")
    command.add_argument("--file", help="a file's path, or 'all', instead of a checkpoint")
    command.add_argument("-o", "--output", default=".", help="folder, or the checkpoint's name")
    command.set_defaults(handler=download)

    command = commands.add_parser("export", help="runs as files: JSON, CSV with every point, log")
    command.add_argument("run", nargs="+")
    command.add_argument("-o", "--output", default=".", help="a folder; one is made for each run")
    command.add_argument("--files", action="store_true", help="with the files of external runs")
    command.set_defaults(handler=export)

    sweep_cli.add_commands(commands)
    return parser
