"""Files of runs as MLflow's client lists, fetches and sends them.

Below a run's id lie the files that were uploaded under their own paths, and of every run what
VADLab keeps: `checkpoints/step-000300.safetensors`, `scores.safetensors`, `log.txt`. Which file is
meant is decided by a row, never by a path of the client's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webapp.accounts.models import User
from webapp.evaluations.models import Evaluation
from webapp.external.models import Upload
from webapp.interop.tracking.errors import TrackingError, missing
from webapp.interop.tracking.logging import run_of
from webapp.runs.models import Checkpoint, Run


@dataclass(frozen=True)
class Artifact:
    path: str  # as the client calls it
    file: Path
    size_bytes: int


def artifacts(run: Run) -> Iterator[Artifact]:
    """Every file of a run that is there; of two of one name the one that was uploaded."""
    seen = set()
    uploaded = Upload.objects.filter(
        run=run, kind=Upload.Kind.ARTIFACT, finished_at__isnull=False
    ).select_related("run")
    for upload in uploaded.order_by("path"):
        seen.add(upload.path)
        yield Artifact(upload.path, upload.file, upload.size_bytes)
    for path, file in _kept(run):
        if path not in seen and file.is_file():
            yield Artifact(path, file, file.stat().st_size)


def _kept(run: Run) -> Iterator[tuple[str, Path]]:
    for checkpoint in Checkpoint.objects.filter(run=run):
        file = (run.folder / checkpoint.path).resolve()
        if file.is_relative_to(run.folder.resolve()):
            yield f"checkpoints/step-{checkpoint.step:06d}{file.suffix}", file
    evaluation = Evaluation.objects.filter(run=run).select_related("run").first()
    if evaluation is not None:
        for file in (evaluation.scores_path, evaluation.patches_path):
            yield file.name, file
    yield "log.txt", run.folder / "log.txt"


def listed(run: Run, folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder, as MLflow writes it: paths from the run's root on.

    Naming a file lists that file.
    """
    folder = folder.strip("/")
    start = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for artifact in artifacts(run):
        if artifact.path == folder:
            found[folder] = _file(artifact)
        if not artifact.path.startswith(start):
            continue
        name, slash, _ = artifact.path[len(start) :].partition("/")
        path = start + name
        found[path] = {"path": path, "is_dir": True} if slash else _file(artifact)
    return [found[path] for path in sorted(found)]


def _file(artifact: Artifact) -> dict[str, Any]:
    return {"path": artifact.path, "is_dir": False, "file_size": artifact.size_bytes}


def of_path(user: User, path: str) -> tuple[Run, str]:
    """The run that a path begins with, and the rest.

    Raises:
        TrackingError: there is no such run.
    """
    run_id, _, rest = path.strip("/").partition("/")
    return run_of(user, run_id), rest


def find(run: Run, path: str) -> Artifact:
    """
    Raises:
        TrackingError: the run has no such file.
    """
    if not path:
        raise TrackingError("Name a file below the run.")
    for artifact in artifacts(run):
        if artifact.path == path:
            return artifact
    raise missing("file", path)
