"""A folder of backups: every file once, by its hash, and one manifest a backup.

    DIR/objects/ab/cdef…        a file of the data folder, named by its SHA-256
    DIR/backups/NAME/           database.sqlite3 or database.dump, and manifest.json, written last

A backup without a manifest was interrupted and counts for nothing. Files that did not change since
an earlier backup are in `objects` already and are not copied again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vad.data.tensorfile import file_sha256, sync_folder, write_text
from vad.errors import VadError

FORMAT = 1
AREAS = ("runs", "features", "datasets")
BLOCK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z(-[0-9a-f]{4})?")


@dataclass(frozen=True)
class File:
    """A file of the data folder as it was."""

    path: str  # below the data folder
    sha256: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One backup.

    Args:
        version: of the program that wrote it.
        migrations: that its database has, as "app.name".
        database: file name and hash of the copy, and the kind of database.
    """

    name: str
    created_at: str
    version: str
    migrations: tuple[str, ...]
    engine: str
    database: File
    files: tuple[File, ...]

    @property
    def size_bytes(self) -> int:
        return self.database.size_bytes + sum(file.size_bytes for file in self.files)


class Archive:
    """The folder that backups are kept in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self._objects = folder / "objects"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process writes here.

        Raises:
            VadError: `backup-impossible`, somebody does already, or the folder cannot be written.
        """
        try:
            self.backups.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._objects.mkdir(exist_ok=True, mode=0o700)
            file = (self.folder / "lock").open("w")
        except OSError as exc:
            raise VadError(
                "backup-impossible", f"{self.folder} cannot be written: {exc.strerror}.",
                "Choose another folder, or correct its permissions.",
            ) from exc  # fmt: skip
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise VadError(
                    "backup-impossible", f"Another backup is being written to {self.folder}.",
                    "Wait until it is done.",
                ) from None  # fmt: skip
            yield

    def names(self) -> list[str]:
        """The complete backups, the oldest first."""
        if not self.backups.is_dir():
            return []
        found = (path.parent.name for path in self.backups.glob("*/manifest.json"))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def object(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256[2:]

    def holds(self, sha256: str, size_bytes: int) -> bool:
        try:
            return self.object(sha256).stat().st_size == size_bytes
        except OSError:
            return False

    def add(self, source: Path) -> tuple[str, int, bool]:
        """Take a file in, and read back what was written.

        Returns:
            Its hash, its size, and whether it was new.

        Raises:
            OSError: it cannot be read, or there is no room.
            VadError: `backup-invalid`, what was written is not what was read.
        """
        self._objects.mkdir(parents=True, exist_ok=True)
        beside = self._objects / f".{os.getpid()}-{secrets.token_hex(4)}.part"
        found, size = hashlib.sha256(), 0
        try:
            with source.open("rb") as given, beside.open("xb") as taken:
                while block := given.read(BLOCK):
                    found.update(block)
                    size += len(block)
                    taken.write(block)
                taken.flush()
                os.fsync(taken.fileno())
            sha256 = found.hexdigest()
            if self.holds(sha256, size):
                return sha256, size, False
            if file_sha256(beside) != sha256:
                raise _damaged(beside, "it reads differently from what was written")
            target = self.object(sha256)
            target.parent.mkdir(exist_ok=True)
            beside.replace(target)
            sync_folder(target.parent)
        finally:
            beside.unlink(missing_ok=True)
        return sha256, size, True

    def save(self, manifest: Manifest) -> None:
        """Make the backup count."""
        text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1)
        write_text(self.backups / manifest.name / "manifest.json", text + "\n")

    def load(self, name: str = "") -> Manifest:
        """A backup by its name; the newest without one.

        Raises:
            VadError: `file-missing` without such a backup; `backup-invalid`.
        """
        names = self.names()
        if (name and name not in names) or not names:
            raise VadError(
                "file-missing",
                f"{self.folder} holds no backup{f' named {name}' if name else ''}.",
                f"It holds: {', '.join(names[-5:])}." if names else "Check the folder's name.",
            )
        path = self.backups / (name or names[-1]) / "manifest.json"
        try:
            return _manifest(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise _damaged(path, str(exc)) from exc

    def drop_all_but(self, keep: int) -> int:
        """Remove older backups, and files that none of those left knows; the bytes freed."""
        for name in self.names()[:-keep]:
            folder = self.backups / name
            (folder / "manifest.json").unlink()  # from here on it counts for nothing
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        used = {file.sha256 for name in self.names() for file in self.load(name).files}
        freed = 0
        for path in self._objects.glob("??/*"):
            if path.parent.name + path.name not in used:
                freed += path.stat().st_size
                path.unlink()
        return freed


def _manifest(data: dict[str, Any]) -> Manifest:
    if data.pop("format") != FORMAT:
        raise VadError(
            "backup-invalid", "The backup was written in a format that this version cannot read.",
            "Restore it with the version that wrote it, or a newer one.",
        )  # fmt: skip
    files = tuple(_file(given) for given in data.pop("files"))
    database = File(**data.pop("database"))
    if not _SHA256.fullmatch(database.sha256) or "/" in database.path:
        raise ValueError("what it says of the database cannot be")
    return Manifest(
        database=database, files=files, migrations=tuple(data.pop("migrations")), **data
    )


def _file(given: dict[str, Any]) -> File:
    """Checked: a path that leads out of the data folder is nobody's file."""
    file = File(**given)
    path = PurePosixPath(file.path)
    odd = path.is_absolute() or ".." in path.parts or len(path.parts) < 2
    if odd or path.parts[0] not in AREAS or not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"it names {file.path!r}, which is no file of the data folder")
    return file


def _damaged(path: Path, why: str) -> VadError:
    return VadError("backup-invalid", f"{path} is damaged: {why}.", "Use another backup.")
