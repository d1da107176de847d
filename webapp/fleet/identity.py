"""Who the server is, so that a worker of another version or data folder is refused.

A data folder is known by what a file in it says, as hosts may mount it at different paths.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from django.db import transaction
from django.db.models.functions import Now

from webapp.fleet.models import Server

FILE = "server-id"


def introduce(*, version: str, data_dir: Path) -> None:
    """Say who the web server is; when it starts."""
    with transaction.atomic():
        Server.objects.update_or_create(
            pk=1,
            defaults={
                "version": version,
                "data_id": data_id(data_dir),
                "data_dir": str(data_dir),
                "seen_at": Now(),
            },
        )


def why_refused(*, version: str, data_dir: Path) -> str:
    """Why a worker may not claim, in a sentence; empty when it may, or no server said who it is."""
    server = Server.objects.filter(pk=1).first()
    if server is None:
        return ""
    if server.version != version:
        return (
            f"It is of version {version}, the server of version {server.version}. Bring it to the "
            "same version and start it again."
        )
    if server.data_id != data_id(data_dir):
        return (
            f"Its data folder {data_dir} is not the server's ({server.data_dir}). Share that "
            "folder with it and set VADLAB_DATA_DIR."
        )[:300]
    return ""


def data_id(data_dir: Path) -> str:
    """What identifies the folder; written at the first call, and the same for all who share it."""
    path = data_dir / FILE
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    made = path.with_name(f".{FILE}-{uuid.uuid4().hex}")
    made.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
    with contextlib.suppress(FileExistsError):
        os.link(made, path)  # of two that come first, one is kept
    made.unlink()
    return path.read_text(encoding="ascii").strip()
