"""A project as Parquet tables and files: a folder, or a ZIP that is made while it is sent."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import StreamingHttpResponse
from django.utils import timezone

from vad.errors import VadError
from webapp.accounts.models import Project
from webapp.interop import files
from webapp.interop.tables import TABLES, Table

BLOCK = 1 << 20
# A download holds a thread of the server as long as it lasts; more than this is for the command.
DOWNLOAD_MAX_BYTES = 8 << 30

_README = """# {project}: an export of VADLab

{what}; made {now} UTC. Tables are Parquet (zstd), files have the names that the tables give. Times
are UTC, ids are those of the server's addresses, `json` columns hold a text of JSON. The tables
were read one after the other: a run that was going on may have more points in one than in the next.

```python
import pyarrow.parquet as pq
runs = pq.read_table("runs.parquet").to_pandas()
```
"""


_FILES = """`files/RUN_ID/…`: checkpoints and scores (safetensors: names, shapes and numbers, no
code), as the columns `file` and `scores_file` name them; beside a score file of two stages lies
`patches.safetensors`."""


def to_folder(*, project: Project, folder: Path, which: str = files.ALL) -> list[str]:
    """Write the export into a folder, which must be new or empty.

    Returns:
        The names of what was written.

    Raises:
        VadError: `export-impossible`; nothing was written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as exc:
        raise _impossible(f"{folder} cannot be written: {exc.strerror}.") from exc
    if occupied:
        raise _impossible(f"{folder} is not empty.")
    written = []
    for name, path in _parts(project, which):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        written.append(name)
    return written


def to_zip(*, project: Project, path: Path, which: str = files.ALL) -> None:
    """Write the export as one ZIP file.

    Raises:
        VadError: `export-impossible`.
    """
    try:
        with path.open("xb") as file:
            for block in zip_blocks(project=project, which=which):
                file.write(block)
    except FileExistsError:
        raise _impossible(f"{path} exists.") from None
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise _impossible(f"{path} cannot be written: {exc.strerror}.") from exc


def download(project: Project, which: str) -> StreamingHttpResponse:
    """The ZIP as an answer, made while it is sent.

    Raises:
        VadError: `request-invalid`, `export-impossible`: more than a browser should be sent.
    """
    if which not in files.CHOICES:
        known = ", ".join(files.CHOICES)
        raise VadError(
            "request-invalid", f"files: {which[:40]!r} is none of {known}.", "Choose one of them.",
            fields={"files": f"none of {known}"},
        )  # fmt: skip
    size = sum(entry.size_bytes for entry in files.entries(project, which))
    if size > DOWNLOAD_MAX_BYTES:
        raise VadError(
            "export-impossible",
            f"The files of {project} have {size / 2**30:.1f} GiB; a download takes "
            f"{DOWNLOAD_MAX_BYTES >> 30} GiB at most.",
            "Leave the files out, or have it made on the server: manage.py export_project "
            f"FOLDER --project {project.slug}",
        )
    blocks = zip_blocks(project=project, which=which)
    answer = StreamingHttpResponse(blocks, content_type="application/zip")
    answer["Content-Disposition"] = f'attachment; filename="{project.slug}.zip"'
    answer["Cache-Control"] = "no-store"
    return answer


def zip_blocks(*, project: Project, which: str) -> Iterator[bytes]:
    """The bytes of a ZIP. Nothing of it is kept but the table that is just being written."""
    out = _Outbox()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # both are compressed already
        for name, path in _parts(project, which):
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while block := source.read(BLOCK):
                    target.write(block)
                    yield out.taken()
    yield out.taken()


def _parts(project: Project, which: str) -> Iterator[tuple[str, Path]]:
    """Name and path of everything; a table is there until the next part is asked for."""
    with tempfile.TemporaryDirectory(prefix="export-", dir=settings.DATA_DIR) as scratch:
        for table in TABLES:
            path = Path(scratch) / f"{table.name}.parquet"
            _write(table, project, path)
            yield path.name, path
            path.unlink()
        readme = Path(scratch) / "README.md"
        readme.write_text(_readme(project, which), encoding="utf-8")
        yield readme.name, readme
        for entry in files.entries(project, which):
            if entry.path.is_file():  # still; a training deletes its older checkpoints
                yield entry.name, entry.path


def _write(table: Table, project: Project, path: Path) -> None:
    import pyarrow as pa  # large, and needed here alone
    import pyarrow.parquet as pq

    types = {
        "text": pa.string(), "json": pa.string(), "int": pa.int64(), "float": pa.float64(),
        "bool": pa.bool_(), "time": pa.timestamp("us", tz="UTC"), "texts": pa.list_(pa.string()),
    }  # fmt: skip
    schema = pa.schema(
        [pa.field(c.name, types[c.type], metadata={"means": c.means}) for c in table.columns]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in table.batches(project):
            writer.write_table(pa.table(batch, schema=schema))


def _readme(project: Project, which: str) -> str:
    now = f"{timezone.now():%Y-%m-%d %H:%M}"
    lines = [_README.format(project=project, now=now, what=files.CHOICES[which])]
    for table in TABLES:
        lines += [f"## {table.name}.parquet", "", table.about, "", "| column | type | what |"]
        lines += ["| --- | --- | --- |"]
        lines += [f"| `{c.name}` | {c.type} | {c.means} |" for c in table.columns]
        lines += [""]
    lines += ["## files/", "", _FILES, ""]
    return "\n".join(lines)


def _impossible(message: str) -> VadError:
    return VadError(
        "export-impossible", message, "Name a new folder, or a new file ending in .zip."
    )


class _Outbox(io.RawIOBase):
    """Where a ZIP is written to by its parts and taken from by whoever sends them on."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        block = bytes(self._held)
        self._held.clear()
        return block
