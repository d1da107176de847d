"""A run as commands that a person can type: what its worker starts, and what queues it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from vad.configs import config_class
from vad.errors import VadError
from webapp.core.configforms import as_text
from webapp.runs import needs, recording
from webapp.runs.models import Run
from webapp.storage import artifacts

SUBCOMMANDS: dict[str, tuple[str, ...]] = {
    "register": ("dataset", "read"),
    "extract": ("extract",),
    "proxies": ("proxies",),
    "train-urdmu": ("train", "urdmu"),
    "train-two-stage": ("train", "two-stage"),
    "evaluate": ("evaluate",),
}
PROGRAM = ("python", "-m", "vad")
NEW_FOLDER = "NEW-FOLDER"  # stands for a folder that the person chooses


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to do a run again.

    Args:
        command: lines for a shell, ready to be copied; empty when it cannot be said.
        problem: why not.
    """

    title: str
    text: str
    command: str = ""
    problem: str = ""


def recipes(run: Run) -> list[Recipe]:
    """How to do the run again: on this server, and by hand where its folders are."""
    if run.is_external:
        problem = "It was trained elsewhere; only its script knows how to do it again."
        return [Recipe(title="On its own machine", text="", problem=problem)]
    found = [
        Recipe(
            title="On this server",
            text="Queues the same run; it takes the same inputs and every setting that is not a "
            "default.",
            command=submit_command(run),
        )
    ]
    title, text = "By hand", "What the worker started, on a machine that sees its folders."
    try:
        command = vad_command(run)
    except VadError as exc:
        return [*found, Recipe(title=title, text=text, problem=exc.message)]
    return [*found, Recipe(title=title, text=text, command=command)]


def vad_command(run: Run) -> str:
    """The command line of the library, with the fields that are not defaults.

    Raises:
        VadError: an input is gone, or the kind is none of this version's.
    """
    words = [*PROGRAM, *subcommand(run)]
    lines = [shlex.join(words)]
    lines += [shlex.join([name, str(path)]) for name, path in inputs(run).items()]
    left_out = {"checkpoint"} if run.kind == "evaluate" else set()  # there it is a file
    lines += [
        shlex.join([f"--{name}", text])
        for name, text in _changed(run).items()
        if name not in left_out and not (name == "pretrained_point" and needs.FROM_RUN in text)
    ]
    lines.append(shlex.join(["--output", NEW_FOLDER]))
    return _lines(lines)


def submit_command(run: Run) -> str:
    """The management command that queues the same run in the same project."""
    options: list[list[str]] = [["--project", run.project.slug]]
    if run.kind in ("extract", "proxies") and run.version_id:
        options.append(["--dataset", str(run.version_id)])
    if run.feature_set_id and run.kind not in ("extract", "proxies", "register"):
        options.append(["--features", str(run.feature_set_id)])
    if run.of_run_id:
        options.append(["--of-run", str(run.of_run_id)])
    options += [["--set", f"{name}={text}"] for name, text in _changed(run).items()]
    first = shlex.join(["python", "manage.py", "run_submit", run.kind])
    return _lines([first, *(shlex.join(option) for option in options)])


def subcommand(run: Run) -> tuple[str, ...]:
    """
    Raises:
        VadError: the kind is none of this version's.
    """
    if run.kind not in SUBCOMMANDS:
        raise VadError(
            "run-inputs-missing",
            f"{run.name} is of the kind {run.kind!r}, which this worker cannot run.",
            "Bring the worker to the same version as the web server.",
        )
    return SUBCOMMANDS[run.kind]


def inputs(run: Run) -> dict[str, Path]:
    """The options that name what the run works on.

    Raises:
        VadError: one of them is gone, or is not ready.
    """
    found: dict[str, Path] = {}
    if run.kind == "register":
        return found
    if run.version is None:
        raise _missing(run, "no data set version")
    found["--manifest"] = run.version.folder
    if run.kind in ("extract", "proxies"):
        return found
    if run.feature_set is None or not run.feature_set.ready:
        raise _missing(run, "no features that are ready")
    found["--features"] = run.feature_set.folder
    if run.kind == "evaluate":
        found["--checkpoint"] = _checkpoint(run)
    start = needs.start_run(str(run.config.get("pretrained_point", "")), run.project)
    if start is not None:
        found["--start"] = _checkpoint_of(run, start, "best")
    proxies = run.parents.filter(kind="proxies").order_by("-created_at").first()
    if proxies is not None:
        found["--proxies"] = proxies.folder / "proxies"
    return found


def _checkpoint(run: Run) -> Path:
    """The file of the checkpoint that an evaluate run asks for."""
    if run.of_run is None:
        raise _missing(run, "no training run to take a checkpoint from")
    return _checkpoint_of(run, run.of_run, run.config.get("checkpoint", "best"))


def _checkpoint_of(run: Run, trained: Run, which: str) -> Path:
    row = recording.checkpoint_for(trained.pk, which)
    if row is None:
        raise _missing(run, f"no checkpoint to take: {trained.name} has written none")
    path = trained.folder / row.path
    if not artifacts.exists(path):
        raise VadError(
            "file-missing",
            f"The checkpoint of step {row.step} of {trained.name} is not at {path}.",
            "Retry the training run, or take another one.",
        )
    return path


def _missing(run: Run, what: str) -> VadError:
    return VadError(
        "run-inputs-missing",
        f"{run.name} has {what}.",
        "Choose its inputs again in a new run.",
    )


def _changed(run: Run) -> dict[str, str]:
    """The fields that are not defaults, as a command line takes them."""
    properties = config_class(run.kind).json_schema()["properties"]
    return {
        name: as_text(value)
        for name, value in run.config.items()
        if name in properties and value != properties[name]["default"]
    }


def _lines(parts: list[str]) -> str:
    return " \\\n  ".join(parts)
