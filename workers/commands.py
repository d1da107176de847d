"""The command line of a run: what a person would type to do the same by hand."""

from __future__ import annotations

import errno
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Max

from vad import results
from vad.data.tensorfile import write_text
from vad.errors import VadError
from webapp.runs import needs, recording
from webapp.runs.models import Run

SUBCOMMANDS: dict[str, tuple[str, ...]] = {
    "register": ("dataset", "read"),
    "extract": ("extract",),
    "proxies": ("proxies",),
    "train-urdmu": ("train", "urdmu"),
    "train-two-stage": ("train", "two-stage"),
    "evaluate": ("evaluate",),
}

CHECKPOINT_NAME = re.compile(r"step-(\d+)\.safetensors")  # as vad/training/checkpoints.py writes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """What to start, and the folder that it writes to."""

    argv: list[str]
    output: Path


def prepare(run: Run, *, processes: int = 1) -> Command:
    """Make the run's folder and its config.json, and say what to start.

    Args:
        processes: that train together, one a GPU; see vad/training/parallel.py.

    Raises:
        VadError: an input is missing, the configuration is not valid any more, the disk is full.
    """
    if run.kind not in SUBCOMMANDS:
        raise VadError(
            "run-inputs-missing",
            f"{run.name} is of the kind {run.kind!r}, which this worker cannot run.",
            "Bring the worker to the same version as the web server.",
        )
    inputs = _inputs(run)
    config = run.typed_config.to_dict()
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_text(run.folder / "config.json", json.dumps(config, indent=2) + "\n")
        _drop_checkpoints_beyond_a_hole(run)
    except OSError as exc:
        code = "disk-full" if exc.errno == errno.ENOSPC else "file-missing"
        raise VadError(
            code,
            f"The run's folder {run.folder} cannot be written: {exc.strerror or exc}.",
            "Make room on the disk or correct its permissions, then retry the run.",
        ) from exc
    options = [str(word) for option in inputs.items() for word in option]
    return Command(
        argv=[
            *_program(processes), *SUBCOMMANDS[run.kind], *options,
            "--config", str(run.folder / "config.json"), "--output", str(run.folder),
            "--json", "--watch-parent",
        ],
        output=run.folder,
    )  # fmt: skip


def _program(processes: int) -> list[str]:
    """The child's command line; with several processes under torchrun, which starts them all."""
    if processes == 1:
        return list(settings.CHILD_COMMAND)
    python, *program = settings.CHILD_COMMAND
    return [
        python, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
        *program,
    ]  # fmt: skip


def _inputs(run: Run) -> dict[str, Path]:
    """The options that name what the run works on."""
    inputs: dict[str, Path] = {}
    if run.kind == "register":
        return inputs
    if run.version is None:
        raise _missing(run, "no data set version")
    inputs["--manifest"] = run.version.folder
    if run.kind in ("extract", "proxies"):
        return inputs
    if run.feature_set is None or not run.feature_set.ready:
        raise _missing(run, "no features that are ready")
    inputs["--features"] = run.feature_set.folder
    if run.kind == "evaluate":
        inputs["--checkpoint"] = _checkpoint(run)
    start = needs.start_run(str(run.config.get("pretrained_point", "")), run.project)
    if start is not None:
        inputs["--start"] = _checkpoint_of(run, start, "best")
    proxies = run.parents.filter(kind="proxies").order_by("-created_at").first()
    if proxies is not None:
        inputs["--proxies"] = proxies.folder / "proxies"
    return inputs


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
    if not path.is_file():
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


def _drop_checkpoints_beyond_a_hole(run: Run) -> None:
    """Remove checkpoints from which the run could not make its metrics whole again.

    The child goes on from the newest file and sends its last metrics once more. When its last
    supervisor was killed long after it could last store something, that is not enough: some steps
    would be missing for good. An earlier checkpoint brings them back; the earliest always stays.
    """
    stored = run.metric_summaries.aggregate(last=Max("last_step"))["last"] or 0
    found = {
        int(match[1]): path
        for path in (run.folder / "checkpoints").glob("*.safetensors")
        if (match := CHECKPOINT_NAME.fullmatch(path.name))
    }
    for step in sorted(found)[1:]:
        if step - results.RESEND_STEPS > stored:
            log.warning("run.checkpoint_dropped run_id=%s step=%d stored=%d", run.pk, step, stored)
            found[step].unlink()
