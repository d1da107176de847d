"""The files of an export: which ones a project has, and under which names they go out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.db.models import QuerySet

from webapp.accounts.models import Project
from webapp.evaluations.models import Evaluation
from webapp.external.models import Upload
from webapp.runs.models import Checkpoint, Run

NONE, SCORES, ALL = "none", "scores", "all"
CHOICES = {
    NONE: "Tables alone",
    SCORES: "Tables, and the score files of evaluations",
    ALL: "Tables, score files, checkpoints and uploaded files",
}


class Entry(NamedTuple):
    name: str  # in the export, with slashes
    path: Path
    size_bytes: int


def entries(project: Project, which: str) -> Iterator[Entry]:
    """Every file that is there, of the kinds asked for."""
    if which == NONE:
        return
    evaluations = Evaluation.objects.filter(run__project=project).select_related("run")
    for evaluation in evaluations.order_by("pk").iterator():
        for path in (evaluation.scores_path, evaluation.patches_path):
            yield from _entry(evaluation.run, path)
    if which != ALL:
        return
    checkpoints = Checkpoint.objects.filter(run__project=project).select_related("run")
    for checkpoint in checkpoints.order_by("run", "step").iterator():
        yield from _entry(checkpoint.run, checkpoint.run.folder / checkpoint.path)
    for upload in uploads(project).iterator():
        name = upload_name(upload)
        if name is not None:
            yield Entry(name, upload.file, upload.size_bytes)


def uploads(project: Project) -> QuerySet[Upload]:
    """Files that were sent for external runs, but for their checkpoints."""
    found = Upload.objects.filter(
        run__project=project, kind=Upload.Kind.ARTIFACT, finished_at__isnull=False
    )
    return found.select_related("run").order_by("run", "path")


def upload_name(upload: Upload) -> str | None:
    """Under the path that its sender gave it, which uploads.check_path found harmless."""
    if not upload.file.is_file():
        return None
    return f"files/{upload.run_id}/artifacts/{upload.path}"


def checkpoint_name(checkpoint: Checkpoint) -> str | None:
    return _name(checkpoint.run, checkpoint.run.folder / checkpoint.path)


def scores_name(evaluation: Evaluation) -> str | None:
    return _name(evaluation.run, evaluation.scores_path)


def _entry(run: Run, path: Path) -> Iterator[Entry]:
    name = _name(run, path)
    if name is not None:
        yield Entry(name, path, path.stat().st_size)


def _name(run: Run, path: Path) -> str | None:
    """`files/RUN/…`, None where there is no such file in the run's own folder."""
    folder, real = run.folder.resolve(), path.resolve()
    if not real.is_relative_to(folder) or not real.is_file():
        return None
    return f"files/{run.pk}/{real.relative_to(folder).as_posix()}"
