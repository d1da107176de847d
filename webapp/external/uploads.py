"""Files of external runs, sent in parts: create, append at an offset, finish.

A part is read whole before the upload's row is locked, so no transaction waits for a slow line;
then the offset is checked and the part written under that one lock. What was written but not noted
(a crash in between) is overwritten by the next part. Only a file whose size and hash are those that
were announced, and a checkpoint only if it is sound safetensors, gets its place: by a rename.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import safetensors
from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.http import Http404
from django.utils import timezone

from vad import results
from vad.errors import VadError
from webapp.accounts.models import User
from webapp.external import points, services
from webapp.external.models import Upload
from webapp.runs import recording
from webapp.runs.models import Run

CHUNK_BYTES = 8 << 20  # the largest part
PATH_LENGTH = 400
MOST_FILES = 10_000  # of a run
SPARE_BYTES = 1 << 30  # of the disk, for everybody else
HEADER_BYTES = 16 << 20  # of a safetensors file
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH_CHARACTERS = re.compile(r"[^\x00-\x1f\x7f\\\ud800-\udfff]+")


@transaction.atomic
def upload_create(
    *,
    run_id: UUID,
    kind: str,
    path: str,
    size_bytes: int,
    sha256: str,
    by: User,
    step: int | None = None,
    best: bool = False,
    metrics: Mapping[str, Any] | None = None,
) -> Upload:
    """Announce a file. The same file announced again is the same upload, to go on with.

    Args:
        kind: "checkpoint" or "artifact".
        path: what it is called, with "/" between folders; never where it is on the disk.
        step: of a checkpoint; another one of this step is replaced when this one is complete.
        best: whether it is the best checkpoint so far.
        metrics: what was measured at a checkpoint.

    Raises:
        VadError: `upload-invalid`, `disk-full`, `not-allowed`.
    """
    with services.writing(run_id, by) as run:
        wanted = Upload(
            run=run, by=by, kind=kind, path=check_path(path), step=step, best=best,
            size_bytes=size_bytes, sha256=sha256,
        )  # fmt: skip
        _check(wanted)
        wanted.metrics = {
            points.check_key(key): float(value)
            for key, value in services.flat(metrics or {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        User.objects.select_for_update(no_key=True).get(pk=by.pk)  # nobody shares the same room
        same = Upload.objects.filter(
            run=run, by=by, kind=kind, path=path, step=step, size_bytes=size_bytes, sha256=sha256
        )
        known = same.order_by(F("finished_at").desc(nulls_last=True)).first()
        if known is not None:
            return known
        _require_room(run, path, size_bytes, by)
        wanted.save(force_insert=True)
        return wanted


def _check(upload: Upload) -> None:
    path, step = upload.path, upload.step
    if upload.kind not in Upload.Kind.values:
        raise _invalid(path, f"{upload.kind[:20]!r} is none of {', '.join(Upload.Kind.values)}")
    if not _SHA256.fullmatch(upload.sha256):
        raise _invalid(path, "its sha256 must be 64 digits from 0 to f, in small letters")
    if not 0 <= upload.size_bytes <= settings.UPLOAD_FILE_BYTES:
        raise _invalid(path, f"its size is not from 0 to {settings.UPLOAD_FILE_BYTES >> 20:,} MB")
    if (upload.kind == Upload.Kind.CHECKPOINT) != (step is not None):
        raise _invalid(path, "a checkpoint has a step, another file has none")
    if step is not None and not 0 <= step <= points.MOST_STEP:
        raise _invalid(path, f"its step is not from 0 to {points.MOST_STEP}")


def _require_room(run: Run, path: str, size_bytes: int, by: User) -> None:
    used = Upload.objects.filter(by=by).aggregate(n=Sum("size_bytes"))["n"] or 0
    if used + size_bytes > settings.UPLOAD_PERSON_BYTES:
        raise VadError(
            "upload-invalid",
            f"{path}: {by} has {used >> 20:,} MB of files here and may have "
            f"{settings.UPLOAD_PERSON_BYTES >> 20:,} MB.",
            "Delete external runs that you need no more; their files go with them.",
        )
    if Upload.objects.filter(run=run).count() >= MOST_FILES:
        raise _invalid(path, f"the run has {MOST_FILES:,} files, which is the most")
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(settings.DATA_DIR).free < size_bytes + SPARE_BYTES:
        raise _disk_full(path)


def upload_append(*, upload_id: UUID, offset: int, data: IO[bytes], by: User) -> Upload:
    """Write the next part of a file.

    Args:
        offset: where the part belongs; must be what has been received so far.
        data: at most `CHUNK_BYTES` are read.

    Raises:
        VadError: `upload-offset` with the right one in `fields`, `upload-invalid`, `disk-full`.
    """
    upload = _editable(upload_id, by)
    part = data.read(CHUNK_BYTES + 1)
    if len(part) > CHUNK_BYTES:
        raise _invalid(upload.path, f"a part has {CHUNK_BYTES >> 20} MB at most")
    with transaction.atomic():
        row = _locked(upload)
        if offset != row.received_bytes:
            raise VadError(
                "upload-offset",
                f"{row.path}: the part belongs to byte {offset}, but {row.received_bytes} is next.",
                "Go on from there.",
                fields={"offset": str(row.received_bytes)},
            )
        if offset + len(part) > row.size_bytes:
            raise _invalid(row.path, f"it becomes larger than the {row.size_bytes} bytes announced")
        try:
            _write(row.part, offset, part)
        except OSError as exc:
            raise _disk_full(row.path) from exc
        row.received_bytes, row.touched_at = offset + len(part), timezone.now()
        row.save(update_fields=["received_bytes", "touched_at"])
    return row


def upload_finish(*, upload_id: UUID, by: User) -> Upload:
    """Give a file that was received whole its place. Finishing twice is harmless.

    Raises:
        VadError: `upload-invalid`; a file of another hash or shape is deleted, to be sent again.
    """
    upload = _editable(upload_id, by)
    if upload.finished_at is not None:
        return upload
    if upload.received_bytes != upload.size_bytes:
        raise _invalid(
            upload.path, f"{upload.received_bytes} of {upload.size_bytes} bytes have been received"
        )
    if not upload.file.is_file():  # else an earlier try came as far as the rename
        if not upload.size_bytes:
            _write(upload.part, 0, b"")
        try:
            _check_content(upload)
        except VadError:
            upload_abort(upload_id=upload_id, by=by)
            raise
    with transaction.atomic():
        row = _locked(upload)
        if row.finished_at is None:
            _put_in_place(row)
    return row


def _put_in_place(upload: Upload) -> None:
    """The row, and what it replaces, in one transaction; the rename is its last step but one."""
    run = Run.objects.select_for_update().get(pk=upload.run_id)
    upload.finished_at = timezone.now()
    upload.save(update_fields=["finished_at"])
    old = Upload.objects.filter(run=run, kind=upload.kind, finished_at__isnull=False)
    same = {"step": upload.step} if upload.step is not None else {"path": upload.path}
    for other in old.filter(**same).exclude(pk=upload.pk):
        transaction.on_commit(partial(other.file.unlink, missing_ok=True))
        other.delete()
    if upload.step is not None:
        written = results.CheckpointWritten(
            step=upload.step, path=str(upload.place), sha256=upload.sha256, best=upload.best,
            size_bytes=upload.size_bytes, metrics=upload.metrics,
        )  # fmt: skip
        recording.keep_checkpoint(run, written)
    Run.objects.filter(pk=run.pk).update(beat_at=Now())
    if upload.part.exists():
        upload.file.parent.mkdir(parents=True, exist_ok=True)
        upload.part.replace(upload.file)


def upload_abort(*, upload_id: UUID, by: User) -> None:
    """Give an upload up, and what was received of it; one that is complete stays."""
    with transaction.atomic():
        row = _locked(_editable(upload_id, by))
        if row.finished_at is None:
            transaction.on_commit(partial(row.part.unlink, missing_ok=True))
            row.delete()


def artifact_store(*, run_id: UUID, path: str, data: IO[bytes], by: User) -> Upload:
    """Keep a whole file at once, of a sender that knows neither its size nor its hash.

    Raises:
        VadError: `upload-invalid`, `disk-full`, `not-allowed`.
    """
    path = check_path(path)
    with services.writing(run_id, by) as run:
        folder = run.folder / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"whole-{os.urandom(8).hex()}.part"
    digest, size = hashlib.sha256(), 0
    try:
        with beside.open("xb") as file:
            while block := data.read(1 << 20):
                size += len(block)
                if size > settings.UPLOAD_FILE_BYTES:
                    raise _invalid(
                        path, f"it has more than {settings.UPLOAD_FILE_BYTES >> 20:,} MB"
                    )
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        with transaction.atomic():
            upload = upload_create(
                run_id=run_id, kind=Upload.Kind.ARTIFACT, path=path, size_bytes=size,
                sha256=digest.hexdigest(), by=by,
            )  # fmt: skip
            if upload.finished_at is None:
                Upload.objects.filter(pk=upload.pk).update(received_bytes=size)
                beside.replace(upload.part)
                _put_in_place(upload)
        return upload
    except OSError as exc:
        raise _disk_full(path) from exc
    finally:
        beside.unlink(missing_ok=True)


def reap() -> int:
    """Delete uploads that nobody went on with for long. Returns how many."""
    limit = timezone.now() - timedelta(seconds=settings.UPLOAD_ABANDONED_S)
    gone = 0
    for upload in Upload.objects.filter(finished_at=None, touched_at__lt=limit)[:1000]:
        with transaction.atomic():
            rows = Upload.objects.select_for_update().select_related(None)
            row = rows.filter(pk=upload.pk, finished_at=None, touched_at__lt=limit).first()
            if row is not None:
                transaction.on_commit(partial(row.part.unlink, missing_ok=True))
                row.delete()
                gone += 1
    return gone


def check_path(path: str) -> str:
    """
    Raises:
        VadError: `upload-invalid`.
    """
    parts = path.split("/")
    sound = len(path) <= PATH_LENGTH and _PATH_CHARACTERS.fullmatch(path)
    if not sound or any(part in ("", ".", "..") or part != part.strip() for part in parts):
        raise _invalid(
            path[:60] or "The file",
            f"its path must be 1 to {PATH_LENGTH} characters, names with / between them, "
            "without . and ..",
        )
    return path


# --- what a file holds ----------------------------------------------------------------------


def _check_content(upload: Upload) -> None:
    try:
        size = upload.part.stat().st_size
        if size != upload.size_bytes:
            raise _invalid(upload.path, f"{size} bytes are on the disk, not {upload.size_bytes}")
        with upload.part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise _invalid(upload.path, "what was received of it is gone") from None
    if found != upload.sha256:
        raise _invalid(upload.path, f"its sha256 is {found[:12]}…, not {upload.sha256[:12]}…")
    if upload.kind == Upload.Kind.CHECKPOINT:
        check_safetensors(upload.part, upload.path)


def check_safetensors(path: Path, name: str) -> None:
    """Refuse what is no sound safetensors file; only its header is read, and that is bounded.

    Raises:
        VadError: `upload-invalid`.
    """
    hint = "Save the weights with safetensors; pickled files can run code and are not taken."
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if len(start) < 8 or struct.unpack("<Q", start)[0] > HEADER_BYTES:
            raise ValueError("no header of a sensible size")
        with safetensors.safe_open(path, framework="numpy") as opened:
            json.dumps(opened.metadata())
    except (safetensors.SafetensorError, ValueError, OSError) as exc:
        problem = str(exc).splitlines()[0][:200] if str(exc) else "damaged"
        raise VadError(
            "upload-invalid", f"{name} is no safetensors file ({problem}).", hint
        ) from None


# --- small things ---------------------------------------------------------------------------


def _editable(upload_id: UUID, by: User) -> Upload:
    """
    Raises:
        Http404: it does not exist, or not for this person; also for who may only look.
    """
    upload = Upload.objects.editable_by(by).select_related("run").filter(pk=upload_id).first()
    if upload is None:
        raise Http404
    return upload


def _locked(upload: Upload) -> Upload:
    rows = Upload.objects.select_for_update(of=("self",)).select_related("run")
    row = rows.filter(pk=upload.pk).first()
    if row is None:
        raise Http404
    return row


def _write(path: Path, offset: int, part: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(offset)
        file.write(part)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _invalid(path: str, problem: str) -> VadError:
    return VadError("upload-invalid", f"{path}: {problem}.", "Correct it and send the file again.")


def _disk_full(path: str) -> VadError:
    return VadError(
        "disk-full",
        f"The server has no room for {path}.",
        "Ask whoever runs the server to make room; what was sent so far is kept.",
    )
