"""Where checkpoints and scores are: in the data folder, or, once a run has ended, in a bucket.

Without `VADLAB_S3_BUCKET` a file is where its path says, and everything here is that path. With it,
the files of runs that have ended move to the object storage (`offload`, by the clock): uploaded,
measured there, noted as a row, and only then let go from the disk. Whoever needs one asks for a
`local` path: the file itself, or a copy in the cache, checked by its hash. A run that is retried
gets its newest checkpoints back (`bring_back`).
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import Q, Sum

from vad.data.tensorfile import file_sha256, replacing
from vad.errors import VadError
from webapp.runs.models import ENDED, Checkpoint, Run
from webapp.storage import leftovers
from webapp.storage.cache import Cache
from webapp.storage.models import StoredArtifact

ALIAS = "artifacts"  # in STORAGES
SCORES = ("scores.safetensors", "patches.safetensors")
COPY_BYTES = 1 << 20

log = logging.getLogger(__name__)


def remote() -> Storage | None:
    """The object storage; None where everything is in the data folder."""
    return storages[ALIAS] if ALIAS in settings.STORAGES else None


# --- reading --------------------------------------------------------------------------------


def exists(path: Path) -> bool:
    """Whether a file is here or in the object storage."""
    return path.is_file() or _row(path) is not None


def stored_below(folder: Path) -> set[str]:
    """Paths below a run's folder, relative to it, of files that are in the object storage."""
    if remote() is None:
        return set()
    start = f"{_key(folder)}/"
    found = StoredArtifact.objects.filter(path__startswith=start).values_list("path", flat=True)
    return {path.removeprefix(start) for path in found}


def stored_bytes(folders: Iterable[Path]) -> int:
    """What these folders have in the object storage."""
    total = 0
    for folder in folders if remote() is not None else ():
        rows = StoredArtifact.objects.filter(path__startswith=f"{_key(folder)}/")
        total += rows.aggregate(n=Sum("size_bytes"))["n"] or 0
    return total


def local(path: Path) -> Path:
    """A path to read the file from: its own, also when it is nowhere, or one in the cache.

    Raises:
        VadError: `storage-unreachable`; `file-missing` when the object is not what was stored.
    """
    row = None if path.is_file() else _row(path)
    store = remote()
    if row is None or store is None:
        return path
    cache = Cache(settings.CACHE_DIR, settings.CACHE_BYTES)
    return cache.get(row.sha256, row.size_bytes, lambda file: _download(store, row.path, file))


def _row(path: Path) -> StoredArtifact | None:
    if remote() is None:
        return None
    return StoredArtifact.objects.filter(path=_key(path)).first()


def _download(store: Storage, key: str, target: BinaryIO) -> None:
    with _reaching(key), store.open(key, "rb") as source:
        shutil.copyfileobj(source, target, COPY_BYTES)


# --- moving ---------------------------------------------------------------------------------


def offload() -> int:
    """Move what ended runs left on the disk to the object storage; the bytes that moved.

    A file is let go here only after the object has its size and a row says so. Killed anywhere, it
    is still on the disk, and the next look uploads it again.
    """
    store, moved = remote(), 0
    if store is None:
        return 0
    for run in _with_files():
        for path, sha256 in _worth_moving(run):
            moved += _move(store, run, path, sha256)
    return moved


def _with_files() -> Iterator[Run]:
    """Ended runs with a folder of theirs on this disk, that nobody reads at the moment."""
    from webapp.storage import retention  # it asks here whether files are stored

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
    key = _key(path)
    if file_sha256(path) != sha256:
        log.error("storage.not_moved path=%s: its hash is not the one that its row says", key)
        return 0
    size = path.stat().st_size
    with _reaching(key):
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
    if remote() is None:
        return
    from webapp.storage import retention

    stored = stored_below(run.folder)
    rows = {row.step: row for row in Checkpoint.objects.filter(run=run, removed=None)}
    for step in retention.holdings([run])[0].resume_steps():
        path = run.folder / rows[step].path
        if rows[step].path in stored and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with local(path).open("rb") as source, replacing(path) as target:
                shutil.copyfileobj(source, target, COPY_BYTES)


def remove(key: str) -> None:
    """Remove what is stored under a path or below it; from the store first, then the rows.

    Raises:
        VadError: `storage-unreachable`; the rows are kept, and so is what asked for it.
    """
    store = remote()
    if store is None:
        return
    for row in StoredArtifact.objects.filter(Q(path=key) | Q(path__startswith=f"{key}/")):
        with _reaching(row.path):
            store.delete(row.path)
        row.delete()


# --- small things ---------------------------------------------------------------------------


@contextmanager
def _reaching(key: str) -> Iterator[None]:
    """Errors of the object storage as one of ours."""
    try:
        yield
    except FileNotFoundError as exc:
        raise VadError(
            "file-missing", f"The object storage has no {key}.",
            "Restore that object, or make the file again.",
        ) from exc  # fmt: skip
    except _errors() as exc:
        raise VadError(
            "storage-unreachable", f"The object storage did not answer for {key}: {exc}",
            "Try again; if it stays so, check VADLAB_S3_… and the bucket.",
        ) from exc  # fmt: skip


@lru_cache(maxsize=1)
def _errors() -> tuple[type[BaseException], ...]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (Boto3Error, BotoCoreError, ClientError)


def _key(path: Path) -> str:
    return path.relative_to(settings.DATA_DIR).as_posix()
