"""Where checkpoints and scores are: in the data folder, or, once a run has ended, in a bucket.

Without `VADLAB_S3_BUCKET` a file is where its path says, and everything here is that path. With it,
the files of runs that have ended move to the object storage (moving.py). Whoever needs one asks for
a `local` path: the file itself, or a copy in the cache, checked by its hash.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db.models import Q, Sum

from vad.errors import VadError
from webapp.storage.cache import Cache
from webapp.storage.models import StoredArtifact

ALIAS = "artifacts"  # in STORAGES
COPY_BYTES = 1 << 20


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
    start = f"{key_of(folder)}/"
    found = StoredArtifact.objects.filter(path__startswith=start).values_list("path", flat=True)
    return {path.removeprefix(start) for path in found}


def stored_bytes(folders: Iterable[Path]) -> int:
    """What these folders have in the object storage."""
    total = 0
    for folder in folders if remote() is not None else ():
        rows = StoredArtifact.objects.filter(path__startswith=f"{key_of(folder)}/")
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
    return StoredArtifact.objects.filter(path=key_of(path)).first()


def _download(store: Storage, key: str, target: BinaryIO) -> None:
    with reaching(key), store.open(key, "rb") as source:
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
        with reaching(row.path):
            store.delete(row.path)
        row.delete()


# --- for those who reach into it ------------------------------------------------------------


@contextmanager
def reaching(key: str) -> Iterator[None]:
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


def key_of(path: Path) -> str:
    return path.relative_to(settings.DATA_DIR).as_posix()
