"""Removing files that nothing needs: first the rows, then the files, and never half of it.

Whoever ends the need for a file notes its path here in the same transaction (`let_go`). Once that
is committed the file goes, then the note. A process that is killed in between leaves the note, and
the next `clear` finishes the work; at no time does a row point to a file that was taken from it.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from vad.errors import VadError
from webapp.core.commits import after_commit
from webapp.storage import artifacts
from webapp.storage.models import Leftover, RemovalHold

FOLDERS = ("runs", "features", "datasets", "thumbnails")  # nothing is removed beside these

log = logging.getLogger(__name__)


def let_go(paths: Iterable[Path], *, stored_stays: bool = False) -> None:
    """Note files and folders that go once the transaction is committed.

    Args:
        stored_stays: only from this disk; else what the object storage has of them goes, too.
    """
    names = [path.relative_to(settings.DATA_DIR).as_posix() for path in paths]
    if not names:
        return
    rows = [Leftover(path=name, stored_stays=stored_stays) for name in names]
    Leftover.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["path"], update_fields=["stored_stays"]
    )
    after_commit(_clear_named, names)


def take_back(path: Path) -> None:
    """A file was written anew in the place of one that was let go: it stays."""
    name = path.relative_to(settings.DATA_DIR).as_posix()
    Leftover.objects.filter(path=name).delete()


def clear(at_most: int = 1000) -> int:
    """Finish what others left undone, the oldest first; the number of paths that are gone."""
    return _clear(list(Leftover.objects.order_by("since", "pk")[:at_most]))


def _clear_named(names: Sequence[str]) -> None:
    _clear(list(Leftover.objects.filter(path__in=names)))


def _clear(rows: Iterable[Leftover]) -> int:
    gone = 0
    if RemovalHold.objects.filter(until__gt=timezone.now()).exists():  # a backup copies files
        return 0
    for row in rows:
        try:
            _remove(row)
            if not row.stored_stays:
                artifacts.remove(row.path)
        except (OSError, VadError) as exc:
            log.warning("storage.not_removed path=%s cause=%s", row.path, exc)
            continue
        row.delete()
        gone += 1
    return gone


def _remove(row: Leftover) -> None:
    """Remove what is there. Raises OSError; then some of it may be left, and the note with it."""
    root = settings.DATA_DIR.resolve()
    path = (root / row.path).parent.resolve() / Path(row.path).name  # a link itself, not its target
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    if len(parts) < 2 or parts[0] not in FOLDERS:
        log.error("storage.refused_to_remove path=%s", row.path)
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_mtime <= row.since.timestamp():  # else it was written anew since
            path.unlink()
