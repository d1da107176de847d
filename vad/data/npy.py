"""Published feature files (.npy): found by name, checked before a number is used. numpy only."""

from __future__ import annotations

import math
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CROP_AXES = ("none", "first", "second", "files")
EXTRACTOR_SUFFIX = re.compile(r"_(i3d|c3d|clip|videomae(v2)?|videoswin|swin)$", re.IGNORECASE)
_CROP_FILE = re.compile(r"(.+)__(\d{1,2})")


@dataclass(frozen=True)
class NpyHeader:
    """What the head of a .npy file promises, checked against the file's size."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype


def find_files(source: Path, crop_axis: str) -> tuple[dict[str, list[Path]], list[str]]:
    """The .npy files below a folder by video name, crop files in crop order, and what is wrong.

    Args:
        source: searched with its subfolders, so that train/ and test/ folders work as they are.
        crop_axis: with `files`, NAME__0.npy, NAME__1.npy, … are the crops of video NAME.
    """
    found: dict[str, dict[int, Path]] = {}
    problems: list[str] = []
    inside = source.resolve()
    for path in sorted(source.rglob("*.npy")):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            problems.append(f"{path.relative_to(source)}: is a link that leads out of the folder")
            continue
        name, crop = path.stem, 0
        match = _CROP_FILE.fullmatch(path.stem)
        if crop_axis == "files" and match:
            name, crop = match[1], int(match[2])
        crops = found.setdefault(name, {})
        if crop in crops:
            problems.append(
                f"{path.relative_to(source)}: there is also {crops[crop].relative_to(source)} "
                "of the same name"
            )
        else:
            crops[crop] = path
    for name, crops in found.items():
        if sorted(crops) != list(range(len(crops))):
            given = ", ".join(map(str, sorted(crops)))
            problems.append(
                f"{name}: has crop files {given}; crops are counted from 0 without gaps"
            )
    return {name: [crops[i] for i in sorted(crops)] for name, crops in found.items()}, problems


def of_videos(found: dict[str, list[Path]], keys: Iterable[str]) -> dict[str, list[Path]]:
    """The files of each video: KEY.npy, or where there is none, KEY_i3d.npy and the like.

    Published folders differ in whether they name the extractor (RTFM's do, UR-DMU's do not).
    """
    bare: dict[str, list[str]] = {}
    for name in found:
        bare.setdefault(EXTRACTOR_SUFFIX.sub("", name), []).append(name)
    chosen = {}
    for key in keys:
        named = [key] if key in found else bare.get(key, [])
        if len(named) == 1:  # features of two extractors in one folder: neither is taken
            chosen[key] = found[named[0]]
    return chosen


def read_header(path: Path) -> NpyHeader:
    """Read and check the head of a .npy file.

    Raises:
        ValueError: with the reason as a sentence's end, when the file is no plain array of numbers
            or shorter than it promises.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                raise ValueError(f"is a .npy file of the unknown version {version}")
            begin = file.tell()
    except OSError as exc:
        raise ValueError(f"cannot be read: {exc.strerror}") from exc
    # numpy evaluates the head as a Python literal, and lets through what that raises
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError,
            MemoryError) as exc:  # fmt: skip
        known = str(exc).startswith("is a .npy file")
        raise ValueError(
            str(exc) if known else "is not a .npy file, or its head is cut off"
        ) from exc
    if dtype.hasobject:
        raise ValueError("holds pickled Python objects, which are never loaded; save it as numbers")
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise ValueError(f"holds {dtype}, expected float16, float32 or float64")
    expected = begin + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if size < expected:
        raise ValueError(f"is cut off: {size} bytes of {expected}")
    return NpyHeader(path, tuple(shape), dtype)


def check_shape(header: NpyHeader, crop_axis: str) -> tuple[int, int, int]:
    """(crops N, snippets T, width D) of one file.

    Raises:
        ValueError: the number of axes does not fit `crop_axis`, or an axis is empty.
    """
    shape = header.shape
    wanted = {"none": "[T, D]", "files": "[T, D]", "first": "[N, T, D]", "second": "[T, N, D]"}
    if len(shape) != (2 if crop_axis in ("none", "files") else 3):
        raise ValueError(f"has shape {list(shape)}, expected {wanted[crop_axis]}")
    if min(shape) < 1:
        raise ValueError(f"has shape {list(shape)}: an axis is empty")
    if crop_axis == "first":
        return shape[0], shape[1], shape[2]
    if crop_axis == "second":
        return shape[1], shape[0], shape[2]
    return 1, shape[0], shape[1]


def read_rows(header: NpyHeader, crop_axis: str, dtype: np.dtype) -> Iterator[np.ndarray]:
    """The crops of one file, each [T, D] in `dtype`.

    Raises:
        ValueError: a value is infinite or not a number (in `dtype`).
    """
    array = np.load(header.path, mmap_mode="r", allow_pickle=False)
    if array.ndim == 2:
        array = array[None]
    elif crop_axis == "second":
        array = array.transpose(1, 0, 2)
    for crop in array:
        with np.errstate(over="ignore"):
            rows = np.asarray(crop, dtype=dtype)
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            first = int(np.argmin(finite))
            raise ValueError(
                f"has values that are infinite or not a number in {np.sum(~finite)} snippets, "
                f"first in snippet {first}"
            )
        yield rows
