"""Files of ended runs go to the object storage, and come back when a run goes on.

By the clock (`offload`): uploaded, measured there, noted as a row, and only then let go from the
disk. A run that is retried gets the checkpoints that it may resume from back (`bring_back`).
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage
from django.db import transaction

from vad.data.tensorfile import file_sha256, replacing
from vad.errors import VadError
from webapp.runs.models import ENDED, Checkpoint, Run
from webapp.storage import artifacts, leftovers, retention
from webapp.storage.models import StoredArtifact

SCORES = ("scores.safetensors", "patches.safetensors")

log = logging.getLogger(__name__)


def offload() -> int:
    """Move what ended runs left on the disk to the object storage; the bytes that moved.

    A file is let go here only after the object has its size and a row says so. Killed anywhere, it
    is still on the disk, and the next look uploads it again.
    """
    store, moved = artifacts.remote(), 0
    if store is None:
        return 0
    for run in _with_files():
        for path, sha256 in _worth_moving(run):
            moved += _move(store, run, path, sha256)
    return moved


def _with_files() -> Iterator[Run]:
    """Ended runs with a folder of theirs on this disk, that nobody reads at the moment."""
    root = settings.DATA_DIR / "runs"
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    for at in range(0, len(names), 500):
        runs = list(_by_names(names[at : at + 500]))
        yield from (held.run for held in retention.holdings(runs) if not held.read)


def _by_names(names: Iterable[str]) -> Iterable[Run]:
    ids = []
    for name in names:
        try:
            ids.append(uuid.UUID(name))
        except ValueError:
            continue
    return Run.objects.filter(pk__in=ids, state__in=ENDED)


def _worth_moving(run: Run) -> Iterator[tuple[Path, str]]:
    rows = Checkpoint.objects.filter(run=run, removed=None).values_list("path", "sha256")
    for name, sha256 in rows:
        if (run.folder / name).is_file():
            yield run.folder / name, sha256
    evaluation = getattr(run, "evaluation", None)
    if evaluation is not None:
        given = (evaluation.scores_sha256, (evaluation.patch or {}).get("sha256", ""))
        for name, sha256 in zip(SCORES, given, strict=True):
            if sha256 and (run.folder / name).is_file():
                yield run.folder / name, sha256


def _move(store: Storage, run: Run, path: Path, sha256: str) -> int:
    key = artifacts.key_of(path)
    if file_sha256(path) != sha256:
        log.error("storage.not_moved path=%s: its hash is not the one that its row says", key)
        return 0
    size = path.stat().st_size
    with artifacts.reaching(key):
        saved = key
        if not StoredArtifact.objects.filter(path=key, sha256=sha256).exists():
            with path.open("rb") as file:
                saved = store.save(key, File(file))
        if saved != key or store.size(key) != size:
            raise VadError(
                "storage-unreachable", f"The object storage did not keep {key} as it was given.",
                "It stays on the disk. Look at the bucket's rules.",
            )  # fmt: skip
    with transaction.atomic():
        locked = Run.objects.select_for_update().filter(pk=run.pk, state__in=ENDED).first()
        if locked is None:  # retried meanwhile: it needs its files here
            return 0
        StoredArtifact.objects.update_or_create(
            path=key, defaults={"sha256": sha256, "size_bytes": size, "project": run.project}
        )
        leftovers.let_go([path], stored_stays=True)
    return size


def bring_back(run: Run) -> None:
    """Before a run goes on: the checkpoints that it may resume from, in its own folder again."""
    if artifacts.remote() is None:
        return
    stored = artifacts.stored_below(run.folder)
    rows = {row.step: row for row in Checkpoint.objects.filter(run=run, removed=None)}
    for step in retention.holdings([run])[0].resume_steps():
        path = run.folder / rows[step].path
        if rows[step].path in stored and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with artifacts.local(path).open("rb") as source, replacing(path) as target:
                shutil.copyfileobj(source, target, artifacts.COPY_BYTES)
