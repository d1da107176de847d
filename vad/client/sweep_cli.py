"""`vadlab sweep` and `vadlab pipeline`: many runs as one submission."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vad.client import tables
from vad.client.given import config_of, json_of, pairs
from vad.client.progress import Bar
from vad.client.records import Sweep
from vad.configs import (
    TRAININGS,
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    RunConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.errors import VadError
from vad.results import EXIT_ERROR

if TYPE_CHECKING:
    from vad.client.api import Client

EVERY_S = 5.0
# Options whose values are members of the body as they are.
SWEEP_TEXTS = ("strategy", "objective", "direction", "take", "stop_rule")
SWEEP_NUMBERS = ("settings", "parallel", "entropy", "stop_after", "stop_least")
COMMON = ("project", "version", "priority", "gpus", "memory_mb", "time_limit_s")
PARTS: dict[str, type[RunConfig]] = {
    "extract": ExtractConfig, "proxies": ProxiesConfig, "train": UrdmuConfig,
    "stage2": TwoStageConfig, "evaluate": EvaluateConfig,
}  # fmt: skip
STAGES = ("first", "both", "joint")


# --- sweeps ---------------------------------------------------------------------------------


def sweep_create(client: Client, args: argparse.Namespace) -> int:
    """Start a sweep from a JSON file, from options, or from a file that options change."""
    body = json_of(args.config)
    body |= _told(args, (*SWEEP_TEXTS, *SWEEP_NUMBERS, *COMMON, "kind"))
    kind = body.get("kind", UrdmuConfig.kind)
    if kind not in TRAININGS:
        raise VadError("request-invalid", f"{str(kind)[:40]!r} is no kind of training.")
    body["config"] = config_of(TRAININGS[kind], body.get("config") or {}, args.set)
    space = {**(body.pop("space", None) or {}), **pairs(args.over)}
    body |= _lists(args) | ({"evaluate": False} if args.no_evaluate else {})
    if body.get("version") and not body.get("feature_set"):
        body["extract"] = config_of(ExtractConfig, body.get("extract") or {}, args.extract)
    name = args.name or body.pop("name", "")
    body.pop("name", None)
    sweep = client.sweeps.create(name, space, **body)
    print(sweep.id)
    return _follow(client, sweep.id) if args.watch else 0


def sweep_list(client: Client, args: argparse.Namespace) -> int:
    rows = [["id", "name", "state", "objective", "trials", "owner"]]
    for sweep in client.sweeps.list(project=args.project):
        planned = str(sweep.trials_planned)
        rows.append([sweep.id, sweep.name, sweep.state, sweep.objective, planned, sweep.owner])
    sys.stdout.write(tables.FORMATS[args.format](rows))
    return 0


def sweep_watch(client: Client, args: argparse.Namespace) -> int:
    """A progress bar with the best value so far until the sweep has ended."""
    return _follow(client, client.sweeps.find(args.sweep).id)


def sweep_best(client: Client, args: argparse.Namespace) -> int:
    """The best settings, with what chose them."""
    sweep = client.sweeps.find(args.sweep)
    names = list(dict.fromkeys(name for one in sweep.best for name in one["params"]))
    rows = [[*names, sweep.objective, "deviation", "AUC, test", "trials"]]
    for one in sweep.best[: args.most]:
        rows.append([
            *(str(one["params"].get(name, "")) for name in names),
            *("" if one[key] is None else f"{one[key]:.4f}"
              for key in ("objective", "deviation", "auc")),
            " ".join(str(number) for number in one["trials"]),
        ])  # fmt: skip
    sys.stdout.write(tables.FORMATS[args.format](rows))
    if sweep.chosen_on == "test":
        print("Optimistic: chosen on the test split.", file=sys.stderr)
    return 0 if len(rows) > 1 else EXIT_ERROR


def sweep_step(client: Client, args: argparse.Namespace) -> int:
    """hold, release or stop, with all of its trials."""
    sweep = client.sweeps.act(client.sweeps.find(args.sweep).id, args.step)
    print(f"{sweep.name} {sweep.state}.")
    return 0


def _follow(client: Client, sweep_id: str) -> int:
    said = [""]
    with Bar("sweep") as bar:

        def show(sweep: Sweep) -> None:
            value = sweep.best[0]["objective"] if sweep.best else None
            best = "" if value is None else f"best {sweep.objective} {value:.4g}"
            active = f"{sweep.trials['active']} go on"
            note = "  ".join(filter(None, [sweep.state, active, best]))
            bar.show(sweep.trials["ended"], sweep.trials_planned, note)
            if not bar.live and note != said[0]:
                print(f"{sweep.trials['ended']} of {sweep.trials_planned}  {note}")
                said[0] = note

        sweep = client.sweeps.wait(sweep_id, every_s=EVERY_S, on_update=show)
    problem = sweep.problem or {}
    words = f"{sweep.name} {sweep.state}. {problem.get('message', '')} {problem.get('hint', '')}"
    print(words.strip())
    return 0 if sweep.state == "done" else EXIT_ERROR


# --- pipelines ------------------------------------------------------------------------------


def pipeline(client: Client, args: argparse.Namespace) -> int:
    """Queue features, trainings and evaluations; prints their ids, in the order they can go."""
    body = json_of(args.config)
    stages = args.stages or _stages(body)
    joint = stages == "joint"
    left_out = {name for name in ("proxies", "evaluate") if body.get(name, {}) is None}
    left_out |= {name for name in ("proxies", "evaluate") if getattr(args, f"no_{name}")}
    wanted = {
        "extract": not (args.features or body.get("feature_set")), "train": True,
        "proxies": stages != "first" and "proxies" not in left_out,
        "stage2": stages == "both", "evaluate": "evaluate" not in left_out,
    }  # fmt: skip
    for name, config in PARTS.items():
        typed, given = getattr(args, name), body.pop(name, None)
        if wanted[name]:
            kind = TwoStageConfig if joint and name == "train" else config
            body[name] = config_of(kind, given or {}, typed)
        elif typed:
            raise VadError("request-invalid", f"--{name} is of no use in this pipeline.")
    if not wanted["evaluate"]:
        body["evaluate"] = None
    body["kind"] = TwoStageConfig.kind if joint else UrdmuConfig.kind
    body |= _told(args, (*COMMON, "name")) | _lists(args)
    made = client.runs.create_pipeline(**body)
    for run in made:
        print(f"{run.id}  {run.kind}  {run.name}")
    if not args.watch:
        return 0
    ended = [client.runs.wait(run.id, every_s=EVERY_S) for run in made]
    for run in ended:
        print(f"{run.name} {run.state}.")
    return 0 if all(run.state == "succeeded" for run in ended) else EXIT_ERROR


def _stages(body: dict[str, Any]) -> str:
    if body.get("stage2") is not None:
        return "both"
    return "joint" if body.get("kind") == TwoStageConfig.kind else "first"


# --- what can be typed ----------------------------------------------------------------------


def _told(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Options that were given, as members of the body."""
    return {name: value for name in names if (value := getattr(args, name)) not in (None, "")}


def _lists(args: argparse.Namespace) -> dict[str, Any]:
    told = {"seeds": args.seeds, "tags": args.tag, "feature_set": args.features}
    return {name: value for name, value in told.items() if value}


def add_commands(commands: Any) -> None:
    """Add `sweep …` and `pipeline` to the parser's commands."""
    sweep = commands.add_parser("sweep", help="sweeps: create, list, watch, best, hold, stop")
    below = sweep.add_subparsers(required=True, metavar="COMMAND")
    _add_create(below)

    command = below.add_parser("list", help="the newest first")
    command.add_argument("--project", default="", help="of this project, by its slug")
    command.add_argument("--format", choices=tuple(tables.FORMATS), default="table")
    command.set_defaults(handler=sweep_list)

    command = _named(below, "watch", "progress and best value until the end", sweep_watch)
    command = _named(below, "best", "the best settings", sweep_best)
    command.add_argument("--most", type=int, default=10, help="settings; the server tells ten")
    command.add_argument("--format", choices=tuple(tables.FORMATS), default="table")
    for step, words in (
        ("hold", "make no more trials, hold those that go on"),
        ("release", "go on"),
        ("stop", "stop it for good, with its trials"),
    ):
        _named(below, step, words, sweep_step).set_defaults(step=step)

    command = commands.add_parser("pipeline", help="features, trainings, evaluations in one")
    command.add_argument("--stages", choices=STAGES,
                         help="stage 1 alone, stage 2 after it, or both together; else the file's, "
                              "or first")  # fmt: skip
    for name in PARTS:
        command.add_argument(f"--{name}", action="append", default=[], metavar="NAME=VALUE",
                             help=f"a field of the {name} configuration")  # fmt: skip
    command.add_argument("--no-evaluate", action="store_true", help="no evaluations")
    command.add_argument("--no-proxies", action="store_true",
                         help="stage 2 reads the videos themselves, not small copies")  # fmt: skip
    command.add_argument("--name", default="")
    _add_common(command)
    command.set_defaults(handler=pipeline)


def _add_create(below: Any) -> None:
    command = below.add_parser("create", help="start a sweep")
    command.add_argument("name", nargs="?", default="", help="else the file's")
    command.add_argument("--kind", choices=tuple(TRAININGS))
    command.add_argument("--over", action="append", default=[], metavar="NAME=VALUES",
                         help="swept: 'dropout=0.3 0.5', 'lr=1e-5 to 1e-2 log in 4'")  # fmt: skip
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                         help="a setting that is not swept")  # fmt: skip
    command.add_argument("--extract", action="append", default=[], metavar="NAME=VALUE",
                         help="a field of the features that --version makes first")  # fmt: skip
    command.add_argument("--strategy", help="grid, random, tpe or seeds")
    command.add_argument("--settings", type=int, help="how many; not of a grid")
    command.add_argument("--parallel", type=int, help="trials at once")
    command.add_argument("--entropy", type=int, help="seed of the draws")
    command.add_argument("--objective", help="a metric; validation/video_auc")
    command.add_argument("--direction", choices=("max", "min"), help="of a metric of your own")
    command.add_argument("--take", choices=("best", "last"), help="which value of a trial counts")
    command.add_argument("--stop-rule", choices=("median", "halving"))
    command.add_argument("--stop-after", type=int, help="steps before which none is stopped")
    command.add_argument("--stop-least", type=int, help="trials to compare with, at least")
    command.add_argument("--no-evaluate", action="store_true", help="no evaluations")
    _add_common(command)
    command.set_defaults(handler=sweep_create)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", help="a JSON file with the members that docs/api.md lists")
    command.add_argument("--features", help="id of the feature set")
    command.add_argument("--version", help="id of the version to make features of, instead")
    command.add_argument("--seeds", type=int, nargs="+", default=[])
    command.add_argument("--project", default="", help="its slug; else your first")
    command.add_argument("--tag", action="append", default=[])
    command.add_argument("--priority", type=int)
    command.add_argument("--gpus", type=int)
    command.add_argument("--memory-mb", type=int)
    command.add_argument("--time-limit-s", type=int)
    command.add_argument("--watch", action="store_true", help="stay until it has ended")


def _named(
    below: Any, word: str, words: str, handler: Callable[..., int]
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = below.add_parser(word, help=words)
    command.add_argument("sweep", help="id, page address or name")
    command.set_defaults(handler=handler)
    return command
