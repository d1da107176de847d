"""`manage.py restore`: a backup back in place, whole or not at all.

All files are copied beside their place and checked by their hash before anything changes. Then the
folders are renamed into place, and the database comes last.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from vad.data.tensorfile import file_sha256, sync_folder
from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.fleet.models import Server, Worker
from webapp.runs.models import Run
from webapp.storage import dump, survey
from webapp.storage.archive import AREAS, BLOCK, Archive, File, Manifest
from webapp.storage.models import Finding, RemovalHold


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a restore did.

    Args:
        aside: where what was there before is now; None when nothing was.
        missing: files that rows name and that were missing in the backup already.
    """

    manifest: Manifest
    runs: int
    people: int
    aside: Path | None
    missing: tuple[str, ...]


def restore(
    folder: Path,
    *,
    name: str = "",
    force: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> Report:
    """Put a backup in the place of database and files.

    Args:
        name: of the backup; the newest without one.
        force: over an installation that has something in it. Its files, and on SQLite its
            database, are moved aside; a PostgreSQL database is overwritten.

    Raises:
        VadError: `backup-invalid`, `backup-impossible`, `file-missing`, `not-empty`, `disk-full`;
            then nothing has changed.
    """
    archive = Archive(folder.resolve())
    manifest = archive.load(name)
    copy = archive.backups / manifest.name / manifest.database.path
    _check_fits(manifest)
    _check_whole(copy, manifest.database)
    dump.check(copy, manifest.engine)
    filled = _check_place(force=force)
    staging = settings.DATA_DIR / f".restore-{secrets.token_hex(4)}"
    try:
        _stage(archive, manifest, staging, say)
        aside = _swap(staging) if filled else None
        for area in AREAS:
            place = settings.DATA_DIR / area
            if place.is_dir():
                place.rmdir()  # it is empty, or was moved aside
            (staging / area).rename(place)
        sync_folder(settings.DATA_DIR)
    except OSError as exc:
        raise VadError(
            "disk-full" if exc.errno == 28 else "backup-impossible",
            f"{exc.filename or staging}: {exc.strerror or exc}. The database is unchanged.",
            "Make room and give the command again.",
        ) from exc
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    say("Restoring the database")
    dump.read(copy)
    call_command("migrate", verbosity=0, interactive=False)
    _settle()
    missing = Finding.objects.filter(kind=Finding.Kind.MISSING).values_list("path", flat=True)
    return Report(
        manifest=manifest, runs=Run.objects.count(), people=User.objects.count(), aside=aside,
        missing=tuple(missing),
    )  # fmt: skip


def _check_fits(manifest: Manifest) -> None:
    """The database must be of the same kind, and not of a newer version than the program."""
    if manifest.engine != dump.engine():
        raise VadError(
            "backup-invalid",
            f"The backup is of a {manifest.engine} database, and DATABASE_URL names a "
            f"{dump.engine()} one.",
            f"Set DATABASE_URL to a {manifest.engine} database.",
        )
    known = {".".join(key) for key in MigrationLoader(None).disk_migrations or ()}
    unknown = sorted(set(manifest.migrations) - known)
    if unknown:
        raise VadError(
            "backup-invalid",
            f"The backup was written by version {manifest.version}, whose database has "
            f"{len(unknown)} changes that this version does not know, the first {unknown[0]}.",
            f"Install version {manifest.version} or a newer one, and restore with that.",
        )


def _check_whole(path: Path, file: File) -> None:
    try:
        found = file_sha256(path)
    except OSError as exc:
        found = exc.strerror or str(exc)
    if found != file.sha256:
        raise VadError(
            "backup-invalid", f"{path} is not what the backup says it wrote.",
            "Use another backup: manage.py restore DIR --name NAME.",
        )  # fmt: skip


def _check_place(*, force: bool) -> bool:
    """Whether something is there already; without `force` that is refused."""
    filled = [area for area in AREAS if _has_files(settings.DATA_DIR / area)]
    tables = set(connection.introspection.table_names())
    if Worker._meta.db_table in tables and Worker.objects.alive().exists():
        names = ", ".join(Worker.objects.alive().values_list("name", flat=True)[:3])
        raise VadError(
            "not-empty", f"Workers are running on this database: {names}.",
            f"Stop the server and its workers, wait {settings.RUN_LOST_AFTER_S:g} s, and give the "
            "command again.",
        )  # fmt: skip
    for model in (User, Project):
        if model._meta.db_table in tables and model.objects.exists():
            filled.append(f"rows of {model._meta.verbose_name_plural}")
    if filled and not force:
        raise VadError(
            "not-empty",
            f"This installation is not empty: it has {', '.join(filled)}.",
            "Restore into an empty data folder and database, or add --force to put the backup in "
            "their place.",
        )
    return bool(filled)


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _stage(
    archive: Archive, manifest: Manifest, staging: Path, say: Callable[[str], object]
) -> None:
    """Copy every file beside its place, checked by its hash."""
    for area in AREAS:
        (staging / area).mkdir(parents=True)
    for number, file in enumerate(manifest.files, start=1):
        target = staging / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        try:
            source = archive.object(file.sha256).open("rb")
        except FileNotFoundError:
            raise _lost(file, "is missing") from None
        with source, target.open("xb") as copy:
            while block := source.read(BLOCK):
                found.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        if found.hexdigest() != file.sha256:
            raise _lost(file, "is damaged")
        os.utime(target, ns=(file.modified_ns, file.modified_ns))
        if number % 1000 == 0:
            say(f"{number} of {len(manifest.files)} files copied")


def _lost(file: File, how: str) -> VadError:
    return VadError(
        "backup-invalid", f"The backup's copy of {file.path} {how}.",
        "Use another backup: manage.py restore DIR --name NAME. Nothing was changed.",
    )  # fmt: skip


def _swap(staging: Path) -> Path:
    """Move aside what is there."""
    aside = settings.DATA_DIR / f"before-restore-{timezone.now():%Y-%m-%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    for area in AREAS:
        if (settings.DATA_DIR / area).is_dir():
            (settings.DATA_DIR / area).rename(aside / area)
    if dump.engine() == dump.SQLITE:
        dump.write(aside / dump.NAMES[dump.SQLITE])
    return aside


def _settle() -> None:
    """What was true of the old installation's processes is not of this one."""
    connections.close_all()
    Server.objects.all().delete()  # the next start of the web server says who it is
    Worker.objects.filter(stopped_at=None).update(stopped_at=timezone.now())
    RemovalHold.objects.all().delete()
    survey.survey()
