"""Files that were fetched, by their hash: whole, checked, and not more than fit.

Several processes share a cache. A file is written beside its place and renamed; what is looked for
is touched, and the longest untouched go first. A file that is being read may go: whoever has it
open keeps it, and whoever was just given its path has `SPARED_S` to open it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vad.errors import VadError

SPARED_S = 600.0
TORN_S = 24 * 3600.0  # a half-fetched file older than that belongs to nobody


class Cache:
    """A folder of at most `limit_bytes`, more only while all of it was used just now."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes

    def get(self, sha256: str, size_bytes: int, fetch: Callable[[BinaryIO], None]) -> Path:
        """The file of a hash; fetched when it is not here.

        Args:
            fetch: writes the content to what it is given.

        Raises:
            VadError: `file-missing`, what was fetched is not what it should be.
            OSError: the disk has no room, or whatever `fetch` raises.
        """
        path = self.folder / sha256[:2] / sha256
        with contextlib.suppress(OSError):
            if path.stat().st_size == size_bytes:
                os.utime(path)
                return path
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            with beside.open("w+b") as file:
                fetch(file)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise VadError(
                    "file-missing",
                    f"The object storage gave a file of hash {found[:12]}…, not {sha256[:12]}….",
                    "Restore that object from an earlier version, or make the file again.",
                )
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        self._shrink()
        return path

    def _shrink(self) -> None:
        now, found = time.time(), []
        for path in [*self.folder.glob("??/*"), *self.folder.glob(".*.part")]:
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if path.suffix == ".part":
                    if now - stat.st_mtime > TORN_S:
                        path.unlink()
                    continue
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for used_s, size, path in sorted(found):
            if total <= self.limit_bytes or now - used_s < SPARED_S:
                return
            path.unlink(missing_ok=True)
            total -= size
