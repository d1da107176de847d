"""The command line of a run: what a person would type to do the same by hand."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings

from vad import results
from vad.data.tensorfile import write_text
from vad.errors import VadError
from webapp.runs import commandline, metrics
from webapp.runs.models import Run
from webapp.storage import artifacts, moving

CHECKPOINT_NAME = re.compile(r"step-(\d+)\.safetensors")  # as vad/training/checkpoints.py writes

log = structlog.get_logger(__name__)


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
    words, inputs = commandline.subcommand(run), commandline.inputs(run)
    config = run.typed_config.to_dict()
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_text(run.folder / "config.json", json.dumps(config, indent=2) + "\n")
        moving.bring_back(run)
        _drop_checkpoints_beyond_a_hole(run)
    except OSError as exc:
        code = "disk-full" if exc.errno == errno.ENOSPC else "file-missing"
        raise VadError(
            code,
            f"The run's folder {run.folder} cannot be written: {exc.strerror or exc}.",
            "Make room on the disk or correct its permissions, then retry the run.",
        ) from exc
    options = [str(word) for name, path in inputs.items() for word in (name, artifacts.local(path))]
    if run.kind.startswith("train"):  # webapp/storage/retention.py decides which stay
        options.append("--keep-all")
    return Command(
        argv=[
            *_program(processes), *words, *options,
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


def _drop_checkpoints_beyond_a_hole(run: Run) -> None:
    """Remove checkpoints from which the run could not make its metrics whole again.

    The child goes on from the newest file and sends its last metrics once more. When its last
    supervisor was killed long after it could last store something, that is not enough: some steps
    would be missing for good. An earlier checkpoint brings them back; the earliest always stays.
    """
    stored = metrics.last_step(run)
    found = {
        int(match[1]): path
        for path in (run.folder / "checkpoints").glob("*.safetensors")
        if (match := CHECKPOINT_NAME.fullmatch(path.name))
    }
    for step in sorted(found)[1:]:
        if step - results.RESEND_STEPS > stored:
            log.warning("run.checkpoint_dropped", run_id=run.pk, step=step, stored=stored)
            found[step].unlink()
