"""Files to and from the server: in parts, gone on with after a cut, checked by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vad.client.transport import Transport, read_block
from vad.errors import VadError

BLOCK = 1 << 20
CUTS = 8  # a transfer that gets on is gone on with so often
Progress = Callable[[int, int], None]  # bytes so far, bytes in all


def upload(
    transport: Transport,
    run_id: str,
    path: Path,
    *,
    name: str = "",
    step: int | None = None,
    best: bool = False,
    metrics: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Send a file to an external run; a file that was sent in part is gone on with.

    Args:
        name: what it is called there, with "/" between folders; by default the file's own name.
        step: makes it the checkpoint of this step; it must be a safetensors file.

    Raises:
        VadError: `file-missing`, `upload-invalid`, `server-unreachable`, …
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as exc:
        raise VadError("file-missing", f"{path} cannot be read ({exc.strerror}).") from exc
    body = {
        "kind": "artifact" if step is None else "checkpoint", "path": name or path.name,
        "size_bytes": size, "sha256": sha256, "step": step, "best": best,
        "metrics": dict(metrics or {}),
    }  # fmt: skip
    row = transport.post(f"/api/v1/external/{run_id}/uploads/", body)
    if row["finished_at"] is None:
        at = f"/api/v1/external/uploads/{row['id']}/"
        _send_parts(transport, at, path, row, progress)
        row = transport.post(at)
    if progress is not None:
        progress(size, size)
    return row


def _send_parts(
    transport: Transport, at: str, path: Path, row: Mapping[str, Any], progress: Progress | None
) -> None:
    offset, size = row["offset"], row["size_bytes"]
    with path.open("rb") as file:
        while offset < size:
            if progress is not None:
                progress(offset, size)
            file.seek(offset)
            part = file.read(min(row["chunk_bytes"], 4 * BLOCK))
            if not part:
                raise VadError("file-missing", f"{path} became shorter while it was sent.")
            try:
                row = transport.send("PUT", at, query={"offset": str(offset)}, body=part)
                offset = row["offset"]
            except VadError as exc:
                # The server has what it did not get to confirm: the answer was cut, not the part.
                if exc.code != "upload-offset":
                    raise
                told = int(exc.fields.get("offset", -1))
                if not offset < told <= size:
                    raise
                offset = told


def download(
    transport: Transport,
    path: str,
    to: Path,
    *,
    sha256: str,
    size_bytes: int,
    progress: Progress | None = None,
) -> Path:
    """Fetch a file beside its place, check it, and put it there.

    Raises:
        VadError: `upload-invalid` when what came is not what the server has.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.{sha256[:8]}.part")
    had = part.stat().st_size if part.exists() else 0
    _fetch(transport, path, part, size_bytes, progress)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        if had:  # what an earlier try left was no part of it
            return download(
                transport, path, to, sha256=sha256, size_bytes=size_bytes, progress=progress
            )
        raise VadError(
            "upload-invalid",
            f"{to.name} arrived with the sha256 {found[:12]}…, not {sha256[:12]}….",
            "Try again; if it stays so, the server's file is damaged.",
        )
    part.replace(to)
    return to


def _fetch(
    transport: Transport, path: str, part: Path, size: int, progress: Progress | None
) -> None:
    cuts = 0
    with part.open("ab") as file:
        if file.tell() > size:
            file.truncate(0)
        while (first := file.seek(0, 2)) < size:
            with transport.stream(path, first) as answer:
                if first and answer.status != 206:  # the whole file: begin anew
                    file.truncate(0)
                while block := read_block(answer, BLOCK):
                    file.write(block)
                    if progress is not None:
                        progress(file.tell(), size)
            if file.tell() == first:
                cuts += 1
                if cuts > CUTS:
                    raise VadError(
                        "server-unreachable",
                        f"The line was cut {cuts} times at byte {first} of {size}.",
                        "Try again; what came so far is kept.",
                    )
    if size == 0 and progress is not None:
        progress(0, 0)


def inside(folder: Path, name: str) -> Path:
    """Where a file of this name belongs below a folder.

    Raises:
        VadError: `path-outside-roots`, the name leads out of it.
    """
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()) or place == folder.resolve():
        raise VadError("path-outside-roots", f"{name!r} would lie outside of {folder}.")
    return place
