"""One tensor in a safetensors file, written as a stream and read as a memory map. numpy only.

The safetensors library writes a file from arrays that are all in memory; a feature store can be
larger than that. The layout is simple and public: 8 bytes header length (little-endian), a JSON
header that may be padded with blanks, the raw numbers. Files written here open with the library.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from vad.errors import VadError

DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_HEADER_LIMIT = 1 << 20


class TensorWriter:
    """Writes one tensor [n, ...] row by row, beside its place, and renames it once when closed.

    The number of rows need not be known: room for the header is kept and filled in at the end.

    Args:
        path: the file to make; an existing one is replaced, at the end and as a whole.
        row_shape: the shape after the first axis.
        dtype: float16 or float32.
        metadata: texts for the header.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        row_shape: tuple[int, ...],
        dtype: np.dtype,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.rows = 0
        self._name, self._row_shape, self._dtype = name, row_shape, np.dtype(dtype)
        self._metadata = dict(metadata or {})
        # 20 digits a number leave room for any row count; whole 64s keep the numbers aligned
        self._room = -(-(len(self._header(2**63)) + 8) // 64) * 64
        self._beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        self._file: BinaryIO = self._beside.open("xb")
        self._file.write(b" " * self._room)

    def write(self, rows: np.ndarray) -> None:
        """Append rows [k, ...]; the dtype is converted, the shape must fit."""
        if rows.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, expected {self._row_shape}")
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self.rows += len(rows)

    def close(self) -> None:
        """Fill in the header, bring everything to the disk, rename."""
        header = self._header(self.rows)
        self._file.seek(0)
        self._file.write((self._room - 8).to_bytes(8, "little"))
        self._file.write(header.ljust(self._room - 8))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._beside.replace(self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Leave no trace."""
        self._file.close()
        self._beside.unlink(missing_ok=True)

    def _header(self, rows: int) -> bytes:
        size = rows * math.prod(self._row_shape) * self._dtype.itemsize
        header = {
            "__metadata__": self._metadata,
            self._name: {
                "dtype": _NAMES[self._dtype],
                "shape": [rows, *self._row_shape],
                "data_offsets": [0, size],
            },
        }
        return json.dumps(header, separators=(",", ":")).encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def read_tensor(path: Path, name: str) -> tuple[np.ndarray, dict[str, str]]:
    """A read-only memory map of a file that holds one tensor, and the header's texts.

    Raises:
        VadError: `file-missing`; `features-invalid` when header, size or dtype do not fit.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _HEADER_LIMIT:
                raise ValueError("its header is damaged")
            header = json.loads(file.read(length))
        metadata = {str(k): str(v) for k, v in header.get("__metadata__", {}).items()}
        entry = header[name]
        dtype = DTYPES[entry["dtype"]]
        shape = tuple(int(n) for n in entry["shape"])
        begin, end = entry["data_offsets"]
        if begin != 0 or min(shape) < 0 or end != math.prod(shape) * dtype.itemsize:
            raise ValueError("its header contradicts itself")
        if path.stat().st_size != 8 + length + end:
            raise ValueError(f"it has {path.stat().st_size} bytes, expected {8 + length + end}")
        if end == 0:  # an empty file part cannot be mapped
            return np.zeros(shape, dtype), metadata
    except FileNotFoundError:
        raise VadError(
            "file-missing", f"{path} does not exist.", "Extract or pack the features again."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
            OSError) as exc:  # fmt: skip
        raise VadError(
            "features-invalid",
            f"{path} is not a feature file of this program: {exc}.",
            "Extract or pack the features again.",
        ) from exc
    return np.memmap(path, dtype=dtype, mode="r", offset=8 + length, shape=shape), metadata


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, sync it, rename it: it is whole, or as it was before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def file_sha256(path: Path) -> str:
    """Of the file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stem(key: str) -> str:
    """A file name for a video; a hash, because a key may be no file name."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def sync_folder(folder: Path) -> None:
    """Bring a rename to the disk; file systems that cannot do it for a folder are left alone."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
