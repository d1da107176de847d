"""The maps of stage 2: one file an evaluation, read a video at a time. numpy only.

The file is a safetensors file, written as a stream and read as a memory map, so that neither takes
the memory of all maps at once. Its one metadata entry holds names, grid and the caller's words.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from vad.data.tensorfile import replacing
from vad.errors import VadError

FORMAT_VERSION = 1
_HEADER = "vadlab"  # one metadata entry, as in a score file
_HEADER_LIMIT = 1 << 26
_DTYPES = {"offsets": "I64", "frames": "I64", "maps": "F32", "stage1": "F32", "stage2": "F32"}
_DTYPES |= {"kept": "U8"}  # wide numbers first, so that every array is aligned
_NUMPY: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
}
_ABOUT = ("version", "keys", "rows", "columns", "tubelets", "metadata")


@dataclass(frozen=True, eq=False, kw_only=True)
class VideoPatches:
    """What both stages say of one video; T snippets, t tubelets, P patches.

    Args:
        maps: [T, t, P] float32, 0 to 1; 0 where a patch was pruned.
        kept: [T, t, P] bool, patches that were not pruned.
        stage1, stage2: [T] float32, the snippet's own score, and its highest patch.
        frames: [T] int64, frames of each snippet; one starts where the last one ends.
    """

    key: str
    maps: np.ndarray
    kept: np.ndarray
    stage1: np.ndarray
    stage2: np.ndarray
    frames: np.ndarray

    @property
    def start_frames(self) -> np.ndarray:
        """[T] int64, first frame of each snippet."""
        return np.cumsum(self.frames) - self.frames


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchScores:
    """The maps of V videos, one after the other; n = all snippets together.

    Args:
        keys: V video names, unique.
        rows, columns: the patches of a frame, P = rows * columns, numbered row by row.
        tubelets: t, maps of a snippet, in time order.
        offsets: [V+1] int64; video v owns the snippets [offsets[v], offsets[v+1]).
        frames: [n] int64, frames of each snippet.
        maps: [n, t, P] float32, 0 to 1, 0 where pruned.
        kept: [n, t, ceil(P/8)] uint8, `numpy.packbits` along P.
        stage1, stage2: [n] float32, the snippet's own score, and its highest patch.
        metadata: what the file's writer had to say.

    Raises:
        VadError: `scores-invalid`, the arrays contradict each other. The numbers of a video are
            looked at when it is asked for, and those of all when they are saved.
    """

    keys: tuple[str, ...]
    rows: int
    columns: int
    tubelets: int
    offsets: np.ndarray
    frames: np.ndarray
    maps: np.ndarray
    kept: np.ndarray
    stage1: np.ndarray
    stage2: np.ndarray
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise _contradiction(problem)
        for name in _DTYPES:
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @classmethod
    def build(cls, videos: Sequence[VideoPatches], *, rows: int, columns: int) -> Self:
        """Pack videos, in their order.

        Raises:
            VadError: `scores-invalid`, there is no video, or one has another shape or numbers
                that cannot be.
        """
        if not videos:
            raise _contradiction("there is no video")
        for video in videos:
            problem = _video_problem(video, videos[0].maps.shape[1:])
            if problem:
                raise _contradiction(f"{video.key}: {problem}")
        return cls(
            keys=tuple(v.key for v in videos),
            rows=rows,
            columns=columns,
            tubelets=videos[0].maps.shape[1],
            offsets=np.cumsum([0, *(len(v.maps) for v in videos)], dtype=np.int64),
            frames=np.concatenate([v.frames for v in videos]),
            maps=np.concatenate([v.maps for v in videos]),
            kept=np.concatenate([np.packbits(v.kept, axis=-1) for v in videos]),
            stage1=np.concatenate([v.stage1 for v in videos]),
            stage2=np.concatenate([v.stage2 for v in videos]),
        )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map what `save` wrote; no map is read before its video is asked for.

        Raises:
            VadError: `file-missing`, or `scores-invalid` for anything that `save` did not write.
        """
        try:
            header, start = _read_header(path)
            about = json.loads(header["__metadata__"][_HEADER])
            if about["version"] != FORMAT_VERSION:
                raise ValueError(f"its version is {about['version']}, expected {FORMAT_VERSION}")
            if not set(_ABOUT) <= about.keys():
                raise ValueError("its header is incomplete")
            arrays: dict[str, Any] = {
                name: _map(path, header[name], start, name) for name in _DTYPES
            }
            return cls(
                keys=tuple(about["keys"]),
                rows=int(about["rows"]),
                columns=int(about["columns"]),
                tubelets=int(about["tubelets"]),
                metadata=dict(about["metadata"]),
                **arrays,
            )
        except FileNotFoundError:
            raise VadError(
                "file-missing", f"{path} does not exist.", "Evaluate the checkpoint again."
            ) from None
        except (VadError, ValueError, KeyError, TypeError, AttributeError, OSError) as exc:
            raise VadError(
                "scores-invalid",
                f"{path} is not a file of patch scores of this program: {exc}.",
                "Evaluate the checkpoint again.",
            ) from exc

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> str:
        """Write the file beside its place, sync it, rename it. Returns its sha256.

        Args:
            metadata: anything JSON can hold; `open` gives it back. The same content makes the same
                bytes.

        Raises:
            VadError: `scores-invalid`, a number is wrong.
        """
        for _ in self.videos():
            pass  # looks at every number
        digest = hashlib.sha256()
        with replacing(path) as file:
            for part in self._content(dict(metadata or {})):
                digest.update(part)
                file.write(part)
        return digest.hexdigest()

    def __len__(self) -> int:
        """V, the number of videos."""
        return len(self.keys)

    @property
    def patches(self) -> int:
        """P, patches of a map."""
        return self.rows * self.columns

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each video key."""
        return {key: v for v, key in enumerate(self.keys)}

    def video(self, key: str, start: int = 0, stop: int | None = None) -> VideoPatches:
        """One video, or its snippets [start, stop); of a mapped file, nothing else is read.

        Args:
            start, stop: from 0; cut to the snippets that there are, at least one of them.

        Raises:
            KeyError: the video was not evaluated.
            VadError: `scores-invalid`, a number is wrong.
        """
        v = self.index[key]
        first, last = int(self.offsets[v]), int(self.offsets[v + 1])
        start = min(max(0, start), last - first - 1)
        stop = last - first if stop is None else min(max(start + 1, stop), last - first)
        return self._at(v, slice(first + start, first + stop))

    def videos(self) -> Iterator[VideoPatches]:
        """All videos, in order, one at a time."""
        return (self.video(key) for key in self.keys)

    def _at(self, v: int, part: slice) -> VideoPatches:
        """The snippets `part` of the file, which are of video v."""
        found = VideoPatches(
            key=self.keys[v],
            maps=self.maps[part],
            kept=np.unpackbits(self.kept[part], axis=-1, count=self.patches).astype(bool),
            stage1=self.stage1[part],
            stage2=self.stage2[part],
            frames=self.frames[part],
        )
        problem = _video_problem(found, (self.tubelets, self.patches))
        if problem:
            raise _contradiction(f"{found.key}: {problem}")
        return found

    def _content(self, metadata: dict[str, Any]) -> Iterator[bytes | memoryview]:
        """The bytes of the file: length of the header, header, numbers."""
        values = [FORMAT_VERSION, self.keys, self.rows, self.columns, self.tubelets, metadata]
        about = json.dumps(
            dict(zip(_ABOUT, values, strict=True)),
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
        )
        header: dict[str, Any] = {"__metadata__": {_HEADER: about}}
        end = 0
        for name, dtype in _DTYPES.items():
            array = getattr(self, name)
            header[name] = {
                "dtype": dtype,
                "shape": list(array.shape),
                "data_offsets": [end, end + array.nbytes],
            }
            end += array.nbytes
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        yield len(text).to_bytes(8, "little") + text
        for name, dtype in _DTYPES.items():
            array = getattr(self, name)
            step = max(1, (1 << 24) // max(1, array[:1].nbytes))
            for first in range(0, len(array), step):  # 16 MB at a time
                rows = np.ascontiguousarray(array[first : first + step], dtype=_NUMPY[dtype])
                yield rows.tobytes()

    def _problem(self) -> str:
        """What contradicts what; empty if nothing does. Looks at no map."""
        videos, n = len(self.keys), len(self.maps)
        if min(self.rows, self.columns, self.tubelets) < 1:
            return f"a grid of {self.rows} x {self.columns} and {self.tubelets} tubelets"
        expected = {
            "offsets": (videos + 1,),
            "frames": (n,),
            "maps": (n, self.tubelets, self.patches),
            "stage1": (n,),
            "stage2": (n,),
            "kept": (n, self.tubelets, -(-self.patches // 8)),
        }
        for name, shape in expected.items():
            array, dtype = getattr(self, name), _NUMPY[_DTYPES[name]]
            if array.shape != shape or array.dtype != dtype:
                return f"{name} is {array.dtype} {array.shape}, expected {dtype.name} {shape}"
        if videos < 1 or len(set(self.keys)) != videos:
            return "there is no video, or two have one name"
        if self.offsets[0] != 0 or self.offsets[-1] != n or (np.diff(self.offsets) < 1).any():
            return "a video has no snippets, or snippets belong to no video"
        return ""


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata given to `PatchScores.save`.

    Raises:
        VadError: as `PatchScores.open`.
    """
    return dict(PatchScores.open(path).metadata)


def _video_problem(video: VideoPatches, shape: tuple[int, ...]) -> str:
    """What is wrong with the numbers of a video; empty if nothing is."""
    if video.maps.shape != (len(video.maps), *shape) or len(video.maps) == 0:
        return f"its maps have shape {video.maps.shape}, expected {('T', *shape)}"
    if video.kept.shape != video.maps.shape:
        return f"its maps have shape {video.maps.shape}, what is kept {video.kept.shape}"
    values = (video.maps, video.stage1, video.stage2)
    if not all(np.isfinite(v).all() for v in values):
        return "a score is not a finite number"
    if not all(v.min() >= 0 and v.max() <= 1 for v in (video.maps, video.stage2)):
        return "a patch score is not between 0 and 1"
    if video.maps[~video.kept].any():
        return "a pruned patch has a score"
    if not np.array_equal(video.stage2, video.maps.max(axis=(1, 2))):
        return "the score of stage 2 is not the highest patch"
    if (video.frames < 0).any():
        return "a snippet has fewer than no frames"
    return ""


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The safetensors header, and where the numbers start."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _HEADER_LIMIT:
            raise ValueError("its header is damaged")
        header: dict[str, Any] = json.loads(file.read(length))
    return header, 8 + length


def _map(path: Path, entry: Mapping[str, Any], start: int, name: str) -> np.ndarray:
    """One array of the file, mapped."""
    shape = tuple(int(n) for n in entry["shape"])
    dtype = _NUMPY[entry["dtype"]]
    begin, end = (int(n) for n in entry["data_offsets"])
    if entry["dtype"] != _DTYPES[name] or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the header of {name} contradicts itself")
    if begin < 0 or min(shape) < 1 or start + end > path.stat().st_size:
        raise ValueError(f"{name} is cut off")
    return np.memmap(path, dtype=dtype, mode="r", offset=start + begin, shape=shape)


def _contradiction(problem: str) -> VadError:
    return VadError(
        "scores-invalid",
        f"The patch scores contradict themselves: {problem}.",
        "Evaluate the checkpoint again.",
    )
