"""Masks that say where an anomaly is, one a frame, read one by one.

A folder holds one image or one .npy array [H, W] a frame, in the order of the numbers in the file
names, as frame folders are read; or one .npy file holds all masks of a video, [F, H, W].
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vad.data.manifest import Video
from vad.errors import VadError
from vad.video.reader import frame_files

_HINT = "Correct the masks and register the data set again."


class MaskReader:
    """The masks of one video, to be gone through once.

    Args:
        path: the folder, or the .npy file.
        video: with its frame count and its size in pixels.

    Raises:
        VadError: `file-missing`; `annotation-invalid` for another number of masks than frames, and
            while reading for a mask that is of another size or cannot be read, each by its name.
    """

    def __init__(self, path: Path, video: Video) -> None:
        self._path, self._video = path, video
        self._shape = (video.height, video.width)
        self._digest = hashlib.sha256(str(self._shape).encode())
        if not path.exists():
            raise VadError(
                "file-missing",
                f"The masks of {video.key}, {path}, do not exist.",
                "Put them back, or register the data set again.",
            )
        self._files = mask_files(path) if path.is_dir() else []
        self._stack = None if path.is_dir() else _load(path, mapped=True)
        count = len(self._files) if self._stack is None else len(self._stack)
        if count != video.num_frames:
            raise _invalid(
                f"{path} holds {count:,} masks, {video.key} has {video.num_frames:,} frames."
            )

    @property
    def digest(self) -> str:
        """Of all masks that were read, whatever their files are: 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each mask in time order, [H, W] bool."""
        for number in range(self._video.num_frames):
            if self._stack is None:
                name, mask = str(self._files[number]), _read(self._files[number])
            else:
                name, mask = f"Mask {number} of {self._path}", np.asarray(self._stack[number])
            if mask.shape != self._shape:
                size = " x ".join(str(n) for n in mask.shape)
                raise _invalid(
                    f"{name} is {size}, {self._video.key} {self._shape[0]} x {self._shape[1]} "
                    "(height x width)."
                )
            filled = mask != 0
            self._digest.update(np.packbits(filled).tobytes())
            yield filled


def mask_files(folder: Path) -> list[Path]:
    """The mask files of a folder in frame order; images, or .npy files where there is no image."""
    arrays = [p for p in folder.glob("*.npy") if not p.name.startswith(".")]
    return frame_files(folder) or sorted(
        arrays, key=lambda p: ([int(n) for n in re.findall(r"\d+", p.stem)], p.name)
    )


def _read(file: Path) -> np.ndarray:
    if file.suffix.lower() == ".npy":
        return _load(file)
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L"))
    except (
        OSError,
        ValueError,
        SyntaxError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ) as exc:
        raise _invalid(f"{file} is no image that can be read ({type(exc).__name__}).") from exc


def _load(file: Path, *, mapped: bool = False) -> np.ndarray:
    try:
        found = np.load(file, allow_pickle=False, mmap_mode="r" if mapped else None)
    except (OSError, ValueError, EOFError) as exc:
        raise _invalid(f"{file} is no .npy file of numbers.") from exc
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise _invalid(f"{file} is no .npy file of numbers.")
    if found.ndim != (3 if mapped else 2):
        expected = "[F, H, W]" if mapped else "[H, W]"
        raise _invalid(f"{file} has shape {list(found.shape)}, expected {expected}.")
    return found


def _invalid(message: str) -> VadError:
    return VadError("annotation-invalid", message, _HINT)
