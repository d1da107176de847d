"""The command line: ``python -m vad COMMAND``. What the server runs is what a person can run.

Only what a command needs is imported, and nothing that imports torch before it is needed: `--help`
and the data set commands answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from vad import results
from vad.commands import checkpoints, datasets, runs
from vad.commands.terminal import show_error
from vad.errors import VadError


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
        show_error(exc, as_json=args.json)
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
            show_error(full, as_json=args.json)
            return results.EXIT_ERROR
        return results.EXIT_CRASHED


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vad",
        description="Weakly supervised video anomaly detection: features, training, evaluation.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    fill: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
        "extract": ("extract features from videos", runs.fill_extract),
        "proxies": ("build small copies of videos for stage 2 and for browsers", runs.fill_proxies),
        "train": ("train a model", partial(runs.fill_train, words=words)),
        "evaluate": ("score the test videos with a checkpoint", runs.fill_evaluate),
        "dataset": ("make, read, check or show a data set; pack features", datasets.fill),
        "checkpoint": ("show a checkpoint, or import a published one", checkpoints.fill),
    }
    for name, (text, add) in fill.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name in words[:1]:  # the options of the others are not needed, nor their imports
            add(command)
    return parser


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
