"""Scalars of TensorBoard's event files, read without TensorBoard.

An event file is a row of records (length, its CRC, data, its CRC), each a protobuf message `Event`
with `Summary` values. Only the few fields that a scalar has are looked at; pictures, histograms and
texts are counted and left out. Every folder that holds event files is one run.

Source: tensorflow/core/lib/io/record_writer.h, and the messages event.proto, summary.proto and
tensor.proto of TensorFlow, by their field numbers.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from vad.errors import VadError
from webapp.accounts.models import Project
from webapp.external.points import MOST_STEP, MOST_TIME_MS, Points
from webapp.interop.foreign import ForeignRun, Report
from webapp.runs.packing import STEPS, VALUES

CLIENT = "TensorBoard import"
PATTERN = "*tfevents*"
MOST_RUNS, MOST_FILES = 10_000, 50_000
MOST_POINTS = 5_000_000  # of a run
RECORD_BYTES = 256 << 20  # a longer one is damage
SCALAR_BYTES = 1 << 20  # a longer one holds a picture or the like, and is passed over
_FLOAT, _DOUBLE = 1, 2  # of DataType


class Damaged(ValueError):
    """The file cannot be read any further."""


@dataclass
class _Series:
    steps: array = field(default_factory=lambda: array("q"))
    times: array = field(default_factory=lambda: array("q"))
    values: array = field(default_factory=lambda: array("d"))


def read(root: Path, project: Project, report: Report) -> Iterator[ForeignRun]:
    """One run for each folder with event files, the folder's path its name.

    Raises:
        VadError: `import-invalid`: there is no event file.
    """
    root = root.resolve()
    files = [p for p in sorted(root.rglob(PATTERN)) if p.resolve().is_relative_to(root)]
    folders: dict[Path, list[Path]] = {}
    for path in files[:MOST_FILES]:
        if path.is_file():
            folders.setdefault(path.parent, []).append(path)
    if not folders:
        raise VadError(
            "import-invalid",
            f"No event file of TensorBoard is in {root}.",
            f"Name the folder given as --logdir; such files are called {PATTERN}.",
        )
    if len(files) > MOST_FILES or len(folders) > MOST_RUNS:
        report.skip(str(root), f"only {MOST_FILES:,} files and {MOST_RUNS:,} runs are read")
    for folder in list(folders)[:MOST_RUNS]:
        run = _run(root, folder, folders[folder], project, report)
        if run is not None:
            yield run


def _run(
    root: Path, folder: Path, files: list[Path], project: Project, report: Report
) -> ForeignRun | None:
    relative = folder.relative_to(root).as_posix()
    name = root.name if relative == "." else relative
    series: dict[str, _Series] = {}
    left_out: dict[str, int] = {}
    first_ms = last_ms = None
    count = 0
    for path in files:
        try:
            for time_ms, step, tag, value in scalars(path, left_out):
                first_ms = time_ms if first_ms is None else min(first_ms, time_ms)
                last_ms = time_ms if last_ms is None else max(last_ms, time_ms)
                found = series.setdefault(tag, _Series())
                found.steps.append(step)
                found.times.append(time_ms)
                found.values.append(value)
                count += 1
                if count >= MOST_POINTS:
                    raise Damaged(f"the run has more than {MOST_POINTS:,} points")
        except (Damaged, OSError) as exc:
            report.skip(str(path.relative_to(root)), f"read up to here: {exc}")
    for what, times in sorted(left_out.items()):
        report.skip(name, f"{times} {what}")
    if first_ms is None:
        report.skip(name, "no scalar in it")
        return None
    identity = f"vadlab/{project.pk}/tensorboard/{relative}/{first_ms}"
    return ForeignRun(
        id=uuid5(NAMESPACE_URL, identity),
        name=name,
        status="finished",  # an event file does not say
        started_ms=first_ms,
        ended_ms=last_ms,
        client=CLIENT,
        metrics={
            tag: Points(
                np.array(s.steps, STEPS), np.array(s.values, VALUES), np.array(s.times, STEPS)
            )
            for tag, s in series.items()
        },
    )


def scalars(path: Path, left_out: dict[str, int]) -> Iterator[tuple[int, int, str, float]]:
    """Time in ms, step, tag and value, in the order of the file; counts what is no scalar.

    Raises:
        Damaged: here the file ends in the middle of a record, or is not what was written.
    """
    with path.open("rb") as file:
        for data in _records(file, left_out):
            time_ms, step, values = _event(data)
            for value in values:
                tag, number = _value(value)
                usable = abs(step) <= MOST_STEP and 0 <= time_ms <= MOST_TIME_MS
                if number is None or not usable:
                    what = "values that are no scalars" if usable else "values of an odd time"
                    left_out[what] = left_out.get(what, 0) + 1
                else:
                    yield time_ms, step, tag, number


def _records(file: BinaryIO, left_out: dict[str, int]) -> Iterator[bytes]:
    while header := file.read(12):
        if len(header) < 12:
            raise Damaged("it ends in the middle of a record")
        length, crc = struct.unpack("<QI", header)
        if masked_crc(header[:8]) != crc or length > RECORD_BYTES:
            raise Damaged("the length of a record is damaged")
        data = file.read(length + 4)
        if len(data) < length + 4:
            raise Damaged("it ends in the middle of a record")
        if length > SCALAR_BYTES:
            left_out["large records"] = left_out.get("large records", 0) + 1
            continue
        if masked_crc(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            raise Damaged("the content of a record is damaged")
        yield data[:-4]


# --- protobuf -------------------------------------------------------------------------------


def _event(data: bytes) -> tuple[int, int, list[bytes]]:
    """Event: 1 wall_time (double), 2 step, 5 summary with its values in 1."""
    wall, step, values = 0.0, 0, []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes) and len(value) == 8:
            wall = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif number == 5 and isinstance(value, bytes):
            values += [v for n, v in _fields(value) if n == 1 and isinstance(v, bytes)]
    time_ms = round(wall * 1000) if 0 <= wall < 1e12 else -1
    return time_ms, step, values


def _value(data: bytes) -> tuple[str, float | None]:
    """Summary.Value: 1 tag, 2 simple_value (float), 8 tensor."""
    tag, number = "", None
    for field_number, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        if field_number == 1:
            tag = value.decode("utf-8", "replace")
        elif field_number == 2 and len(value) == 4:
            number = struct.unpack("<f", value)[0]
        elif field_number == 8:
            number = _tensor(value)
    return tag, number


def _tensor(data: bytes) -> float | None:
    """TensorProto: 1 dtype, 4 content, 5 float_val, 6 double_val; None if it is no scalar."""
    dtype, content = 0, b""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number in (4, 5, 6) and isinstance(value, bytes):
            content += value
    if dtype == _FLOAT and len(content) == 4:
        return struct.unpack("<f", content)[0]
    if dtype == _DOUBLE and len(content) == 8:
        return struct.unpack("<d", content)[0]
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int for a varint, else its bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise Damaged("a message has a field of no known type")
        if at + size > len(data):
            raise Damaged("a message ends in the middle of a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Damaged("a message holds no number where one belongs")


# --- CRC-32C --------------------------------------------------------------------------------


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        found.append(crc)
    return tuple(found)


_TABLE = _table()


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as TFRecord wants it."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
