"""`manage.py backup`: the database as of one moment, and every file that it names.

The database is copied first, then the files, and nothing is removed from the disk meanwhile
(`RemovalHold`), so the copy never names a file that the backup lacks. What is written during the
backup may be in it as files that no row knows; that harms nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

import vad
from vad.data.tensorfile import file_sha256
from vad.errors import VadError
from webapp.storage import dump, sizes
from webapp.storage.archive import AREAS, Archive, File, Manifest
from webapp.storage.models import RemovalHold

HOLD_S = 600.0  # a backup that was killed holds nothing back for longer
RENEW_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a backup did.

    Args:
        added_bytes: of files that no earlier backup here had.
        freed_bytes: of older backups that were removed.
    """

    manifest: Manifest
    added: int
    added_bytes: int
    freed_bytes: int = 0


def backup(
    folder: Path,
    *,
    full: bool = False,
    keep: int | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Report:
    """Write a backup below `folder`; it counts once its manifest is there, which comes last.

    Args:
        full: read every file again, also those that have size and time of the last backup, and
            check that what is there already is still whole.
        keep: remove all but the newest so many backups afterwards.

    Raises:
        VadError: `backup-impossible`, `disk-full`, or `backup-invalid` when what is there already,
            or what was just written, cannot be read back.
    """
    folder = folder.resolve()
    if folder == settings.DATA_DIR.resolve() or any(
        folder.is_relative_to((settings.DATA_DIR / area).resolve()) for area in AREAS
    ):
        raise VadError(
            "backup-impossible", f"{folder} lies in what would be backed up.",
            "Choose a folder elsewhere, best on another disk.",
        )  # fmt: skip
    archive = Archive(folder)
    with archive.locked(), _nothing_removed():
        try:
            report = _write(archive, full=full, say=say)
        except OSError as exc:
            raise VadError(
                "disk-full" if exc.errno == 28 else "backup-impossible",
                f"{exc.filename or folder}: {exc.strerror or exc}. No backup was made; earlier "
                "ones are unharmed.",
                "Make room, or choose another folder; files that were copied are not copied again.",
            ) from exc
        freed = archive.drop_all_but(keep) if keep else 0
    return Report(
        manifest=report.manifest, added=report.added, added_bytes=report.added_bytes,
        freed_bytes=freed,
    )  # fmt: skip


def _write(archive: Archive, *, full: bool, say: Callable[[str], object]) -> Report:
    now = timezone.now()
    name = first = f"{now:%Y-%m-%dT%H%M%SZ}"
    tries = itertools.count(1)
    while (archive.backups / name).exists():  # names sort by age
        name = f"{first}-{next(tries):04x}"
    known = {file.path: file for file in _last_files(archive)}
    place = archive.backups / name
    place.mkdir(mode=0o700)
    migrations = tuple(
        sorted(".".join(key) for key in MigrationRecorder(connection).applied_migrations())
    )
    copy = place / dump.NAMES[dump.engine()]
    say("Copying the database")
    dump.write(copy)
    copy.chmod(0o600)
    database = File(copy.name, file_sha256(copy), copy.stat().st_size, 0)
    files, added, added_bytes = [], 0, 0
    for path in _paths():
        source = settings.DATA_DIR / path
        try:
            stat = source.stat()
            before = known.get(path)
            same = before and (before.size_bytes, before.modified_ns) == (
                stat.st_size, stat.st_mtime_ns,
            )  # fmt: skip
            if before and same and not full and archive.holds(before.sha256, before.size_bytes):
                files.append(before)
                continue
            sha256, size, is_new = archive.add(source)
        except FileNotFoundError:  # a log that was rolled over, a temporary file
            continue
        if not is_new and full and file_sha256(archive.object(sha256)) != sha256:
            raise VadError(
                "backup-invalid", f"{archive.object(sha256)}, the copy of {path}, is damaged.",
                "Look for a fault of that disk, remove that one file, and give the command again.",
            )  # fmt: skip
        files.append(File(path, sha256, size, stat.st_mtime_ns))
        if is_new:
            added, added_bytes = added + 1, added_bytes + size
            if added % 1000 == 0:
                say(f"{added} files copied")
    manifest = Manifest(
        name=name, created_at=now.isoformat(), version=vad.__version__, migrations=migrations,
        engine=dump.engine(), database=database, files=tuple(files),
    )  # fmt: skip
    archive.save(manifest)
    return Report(manifest=manifest, added=added, added_bytes=added_bytes)


def _last_files(archive: Archive) -> tuple[File, ...]:
    if not archive.names():
        return ()
    with contextlib.suppress(VadError):  # of a damaged one nothing is taken on trust
        return archive.load().files
    return ()


def _paths() -> Iterator[str]:
    """Every file that is worth keeping, below the data folder; half-written ones are not."""
    for area in AREAS:
        root = settings.DATA_DIR / area
        if root.is_dir():
            for name, _ in sizes.files(root):
                path = root / name
                is_torn = path.name.startswith(".") and path.suffix == ".part"
                if not is_torn and path.is_file() and not path.is_symlink():
                    yield f"{area}/{name}"


@contextlib.contextmanager
def _nothing_removed() -> Iterator[None]:
    """Keep the hold for as long as this goes on; it runs out by itself when we are killed."""
    hold = RemovalHold.objects.create(until=timezone.now() + timedelta(seconds=HOLD_S))
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_S):
            try:
                until = timezone.now() + timedelta(seconds=HOLD_S)
                RemovalHold.objects.filter(pk=hold.pk).update(until=until)
            except DatabaseError as exc:
                log.warning("backup.hold_not_renewed cause=%s", exc)
            finally:
                connections.close_all()

    thread = threading.Thread(target=renew, name="backup-hold", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        hold.delete()
