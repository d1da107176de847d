"""The feature store: one vector per snippet of every video, memory-mapped. numpy only.

A store is a folder:

    features.json              key -> [first row, crops N, snippets T], and where the rows come from
    features.safetensors       one tensor `data` [rows, D], a video's crops one after the other
    segments-<S>.safetensors   derived once: every crop resampled to S segments, [items, S, D]

Rows keep the dtype they came in (float16 stays float16). A store appears as a whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vad.data import npy
from vad.data.manifest import Manifest
from vad.data.tensorfile import DTYPES, TensorWriter, read_tensor, sync_folder, write_text
from vad.errors import ShapeError, VadError
from vad.timeline import SnippetRule, suggest_rule

STORE_VERSION = 1
_LISTED_PROBLEMS = 1000


def segment_bounds(num_snippets: int, num_segments: int) -> np.ndarray:
    """Rows that bound each segment: [S+1] int64, from 0 to T.

    64 bits throughout: the published 16-bit bounds wrap around beyond 65,535 snippets.

    Source: `linspace(0, T, S+1)` cut to integers, the training resampling of UR-DMU and RTFM.
    """
    return np.linspace(0, num_snippets, num_segments + 1).astype(np.int64)


def resample(features: np.ndarray, num_segments: int) -> np.ndarray:
    """Segment i is the mean of rows [r_i, r_i+1), or row r_i where that range is empty.

    Args:
        features: [T, D], T at least 1.
        num_segments: S. T < S repeats rows, T > S averages them.

    Returns:
        [S, D] float32.
    """
    if features.ndim != 2 or len(features) < 1:
        raise ShapeError("features", expected="[T, D] with T at least 1", got=features.shape)
    bounds = segment_bounds(len(features), num_segments)
    rows = np.asarray(features, dtype=np.float32)
    # reduceat sums [start, next start), and gives the single row where that range is empty
    sums = np.add.reduceat(rows, bounds[:-1], axis=0)
    return sums / np.maximum(np.diff(bounds), 1)[:, None].astype(np.float32)


@dataclass(frozen=True)
class Segments:
    """Training items: every crop of every video, resampled.

    Item i is crop `crops[i]` of video `keys[i]`.
    """

    data: np.ndarray  # [items, S, D], memory-mapped, in the store's dtype
    keys: tuple[str, ...]
    crops: np.ndarray  # [items] int64

    def items_of(self, keys: Sequence[str]) -> np.ndarray:
        """Indices of all items of these videos, in their order: [n] int64."""
        found: dict[str, list[int]] = {}
        for i, key in enumerate(self.keys):
            found.setdefault(key, []).append(i)
        return np.array([i for key in keys for i in found.get(key, ())], dtype=np.int64)


class FeatureStore:
    """A finished store, opened read-only. Make one with `StoreWriter` or `pack_npy`."""

    def __init__(self, folder: Path, info: Mapping[str, Any], data: np.ndarray) -> None:
        self.folder = folder
        self.dim = int(info["dim"])
        self.dtype = data.dtype
        self.rule = SnippetRule(**info["rule"])
        self.extractor = str(info["extractor"])
        self.settings: dict[str, Any] = dict(info["settings"])
        self.fingerprint = str(info["fingerprint"])
        self._index: dict[str, tuple[int, int, int]] = {
            key: (int(first), int(crops), int(snippets))
            for key, (first, crops, snippets) in info["index"].items()
        }
        self._data = data

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a store.

        Raises:
            VadError: `file-missing`, or `features-invalid` when the parts contradict each other.
        """
        path = folder / "features.json"
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise VadError(
                "file-missing",
                f"{folder} holds no feature store ({path.name} is missing).",
                "Name a folder that an extraction or packing has finished.",
            ) from None
        except (ValueError, RecursionError, OSError) as exc:
            raise _damaged(path, exc) from exc
        data, _ = read_tensor(folder / "features.safetensors", "data")
        try:
            if info["version"] != STORE_VERSION:
                raise ValueError(f"it is of version {info['version']}, expected {STORE_VERSION}")
            store = cls(folder, info, data)
            if any(min(p) < 0 or p[0] + p[1] * p[2] > len(data) for p in store._index.values()):
                raise ValueError("it lists rows that the data does not have")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, VadError) as exc:
            raise _damaged(path, exc) from exc
        rows = sum(crops * snippets for _, crops, snippets in store._index.values())
        if data.ndim != 2 or data.shape != (rows, store.dim):
            raise _damaged(
                path,
                ValueError(
                    f"it lists {rows} rows of {store.dim} numbers, the "
                    f"data has shape {list(data.shape)}"
                ),
            )
        return store

    def keys(self) -> tuple[str, ...]:
        return tuple(self._index)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def __len__(self) -> int:
        return len(self._index)

    def shape(self, key: str) -> tuple[int, int, int]:
        """(crops N, snippets T, D) of a video, without touching its rows."""
        _, crops, snippets = self._place(key)
        return crops, snippets, self.dim

    def get(self, key: str) -> np.ndarray:
        """[N, T, D], a view on the memory map."""
        first, crops, snippets = self._place(key)
        return self._data[first : first + crops * snippets].reshape(crops, snippets, self.dim)

    def segments(self, num_segments: int) -> Segments:
        """Every crop resampled to S segments; made by the first caller, then kept beside the store.

        Two processes that make it at once write the same bytes, and the later rename wins. Where
        the folder cannot be written, the segments go to an unnamed temporary file.
        """
        keys = tuple(key for key, (_, crops, _) in self._index.items() for _ in range(crops))
        crops = np.array(
            [crop for _, n, _ in self._index.values() for crop in range(n)], dtype=np.int64
        )
        path = self.folder / f"segments-{num_segments}.safetensors"
        data = self._cached_segments(path, (len(keys), num_segments, self.dim))
        return Segments(data, keys, crops)

    def summary(self) -> dict[str, Any]:
        """What a page or a run's result says about the store. Plain JSON types."""
        crops = [n for _, n, _ in self._index.values()]
        snippets = [t for _, _, t in self._index.values()]
        return {
            "videos": len(self._index),
            "snippets": sum(snippets),
            "rows": len(self._data),
            "crops": sorted(set(crops)),
            "dim": self.dim,
            "dtype": str(self.dtype.name),
            "size_bytes": (self.folder / "features.safetensors").stat().st_size,
            "rule": self.rule.to_dict(),
            "extractor": self.extractor,
            "settings": self.settings,
            "fingerprint": self.fingerprint,
        }

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys without features, in their order."""
        return [key for key in keys if key not in self._index]

    def _place(self, key: str) -> tuple[int, int, int]:
        try:
            return self._index[key]
        except KeyError:
            raise VadError(
                "features-missing",
                f"{key} has no features in {self.folder}.",
                "Extract or pack the features of this data set version again.",
            ) from None

    def _cached_segments(self, path: Path, shape: tuple[int, int, int]) -> np.ndarray:
        if path.exists():
            try:
                data, metadata = read_tensor(path, "segments")
                if metadata.get("fingerprint") == self.fingerprint and data.shape == shape:
                    return data
            except VadError:
                pass  # damaged or of another store: made anew below
        try:
            self._write_segments(path, shape[1])
        except OSError as exc:
            if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise _disk(path, exc) from exc
            return self._unnamed_segments(shape)
        return read_tensor(path, "segments")[0]

    def _write_segments(self, path: Path, num_segments: int) -> None:
        metadata = {"fingerprint": self.fingerprint, "num_segments": str(num_segments)}
        with TensorWriter(
            path,
            name="segments",
            row_shape=(num_segments, self.dim),
            dtype=self.dtype,
            metadata=metadata,
        ) as writer:
            for key in self._index:
                for crop in self.get(key):
                    writer.write(resample(crop, num_segments)[None])

    def _unnamed_segments(self, shape: tuple[int, int, int]) -> np.ndarray:
        with tempfile.TemporaryFile() as file:
            data = np.memmap(file, dtype=self.dtype, mode="w+", shape=shape)
        item = 0
        for key in self._index:
            for crop in self.get(key):
                data[item] = resample(crop, shape[1])
                item += 1
        data.flags.writeable = False
        return data


class StoreWriter:
    """Writes a store as a stream, in a folder beside its place that is renamed once when closed.

    Args:
        folder: where the store will be; must not exist, or be empty.
        dim: D.
        dtype: float16 or float32.
        rule: how snippets cover frames.
        extractor, settings: where the rows come from; part of the fingerprint.

    The fingerprint covers settings and every video's rows, not the order in which they came.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        dtype: np.dtype | type = np.float32,
        rule: SnippetRule,
        extractor: str,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise VadError(
                "features-invalid",
                f"{folder} is not empty, so no feature store can be made there.",
                "Name another folder, or delete this one if it is not needed.",
            )
        if np.dtype(dtype) not in DTYPES.values():
            raise ValueError(f"a feature store holds float16 or float32, not {np.dtype(dtype)}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._info: dict[str, Any] = {
            "version": STORE_VERSION,
            "extractor": extractor,
            "settings": json.loads(json.dumps(dict(settings or {}))),
            "rule": rule.to_dict(),
            "dim": dim,
            "dtype": np.dtype(dtype).name,
        }
        self._index: dict[str, tuple[int, int, int]] = {}
        self._digests: dict[str, str] = {}
        self._dim, self._dtype = dim, np.dtype(dtype)
        self._beside = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        self._beside.mkdir()
        self._writer = TensorWriter(
            self._beside / "features.safetensors", name="data", row_shape=(dim,), dtype=self._dtype
        )

    def add(self, key: str, features: np.ndarray) -> None:
        """Append a video's features, [N, T, D] or [T, D].

        Raises:
            ShapeError: the shape is another.
            VadError: `features-invalid` when the key is there already or a value is not finite.
        """
        array = features[None] if features.ndim == 2 else features
        if array.ndim != 3 or array.shape[2] != self._dim or min(array.shape) < 1:
            raise ShapeError(f"features of {key}", expected=f"[N, T, {self._dim}]", got=array.shape)
        self.add_crops(key, list(array))

    def add_crops(self, key: str, crops: Sequence[np.ndarray]) -> None:
        """Append a video's features given as N arrays [T, D] of equal shape."""
        if key in self._index:
            raise VadError(
                "features-invalid",
                f"{key} was given twice to the feature store {self.folder}.",
                "Every video of a data set version needs a name of its own.",
            )
        first, digest = self._writer.rows, hashlib.sha256()
        for crop in crops:
            rows = np.ascontiguousarray(crop, dtype=self._dtype)
            if rows.shape != crops[0].shape:
                raise ShapeError(f"crop of {key}", expected=str(crops[0].shape), got=rows.shape)
            if not np.isfinite(rows).all():
                raise VadError(
                    "features-invalid",
                    f"The features of {key} hold values that are infinite or not a number.",
                    "Extract the features of this video again.",
                )
            digest.update(rows.data)
            self._writer.write(rows)
        self._index[key] = (first, len(crops), len(crops[0]))
        self._digests[key] = digest.hexdigest()

    def close(self) -> FeatureStore:
        """Write the index, bring everything to the disk, rename the folder, open the store."""
        content = [
            self._info,
            [[key, *self._index[key][1:], self._digests[key]] for key in sorted(self._index)],
        ]
        text = json.dumps(content, sort_keys=True)
        self._info["fingerprint"] = hashlib.sha256(text.encode()).hexdigest()
        try:
            self._writer.close()
            write_text(
                self._beside / "features.json",
                json.dumps({**self._info, "index": self._index}, ensure_ascii=False),
            )
            self._beside.rename(self.folder)  # replaces an empty folder, never a full one
        except OSError as exc:
            self.discard()
            raise _disk(self.folder, exc) from exc
        sync_folder(self.folder.parent)
        return FeatureStore.open(self.folder)

    def discard(self) -> None:
        """Leave no trace."""
        self._writer.discard()
        shutil.rmtree(self._beside, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is not None or not self.folder.joinpath("features.json").exists():
            self.discard()


def pack_npy(
    source: Path,
    manifest: Manifest,
    output: Path,
    *,
    rule: SnippetRule,
    crop_axis: str = "none",
    dim: int | None = None,
    allow_missing: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Pack published .npy features of a data set version into one store.

    Args:
        source: folder with NAME.npy (or NAME_i3d.npy) files, searched with its subfolders; NAME
            is a video's key.
        manifest: whose videos to pack; files of other videos are left out.
        output: the store's folder; must not exist, or be empty.
        rule: how the snippets of these features cover frames.
        crop_axis: where the crops are: `none` [T, D], `first` [N, T, D], `second` [T, N, D], or
            `files`: NAME__0.npy, NAME__1.npy, … of [T, D] each. Never guessed from the shape.
        dim: the width that is expected; by default the width that most files have.
        allow_missing: leave out videos without a file instead of refusing.
        on_progress: called with (files done, files in total).

    Raises:
        VadError: `features-missing` or `features-invalid`, with every problem of every file; then
            nothing is left behind.
    """
    if crop_axis not in npy.CROP_AXES:
        raise ValueError(f"crop_axis {crop_axis!r} is not one of {', '.join(npy.CROP_AXES)}")
    if not source.is_dir():
        raise VadError(
            "file-missing", f"The feature folder {source} does not exist.", "Check its path."
        )
    present, problems = npy.find_files(source, crop_axis)
    files = npy.of_videos(present, [v.key for v in manifest.videos])
    missing = [v.key for v in manifest.videos if v.key not in files]
    if missing and not allow_missing:
        problems += [f"{key}.npy: missing" for key in missing]
    lengths: list[tuple[int, int]] = []  # (frames, snippets) of every file
    hint = False
    plan: dict[str, list[npy.NpyHeader]] = {}
    shapes: dict[str, list[tuple[int, int, int]]] = {}
    for video in manifest.videos:
        for path in files.get(video.key, ()):
            try:
                header = npy.read_header(path)
                shape = npy.check_shape(header, crop_axis)
                if video.num_frames:
                    lengths.append((video.num_frames, shape[1]))
                    rule.bounds(shape[1], video.num_frames)
            except ShapeError:
                hint = True
                problems.append(
                    f"{path.relative_to(source)}: has {shape[1]} snippets, which does not fit the "
                    f"video's {video.num_frames} frames at {rule.snippet_len} frames each"
                )
            except ValueError as exc:
                problems.append(f"{path.relative_to(source)}: {exc}")
            else:
                plan.setdefault(video.key, []).append(header)
                shapes.setdefault(video.key, []).append(shape)
    if not plan:
        raise _refused(
            source,
            problems or ["there is no .npy file of any video"],
            bool(missing),
            _fitting(lengths, rule) if hint else "",
        )
    widths = [d for found in shapes.values() for _, _, d in found]
    width = dim or max(sorted(set(widths)), key=widths.count)
    for key, found in shapes.items():
        problems += [
            f"{header.path.relative_to(source)}: has {d} numbers per snippet, expected {width}"
            for header, (_, _, d) in zip(plan[key], found, strict=True)
            if d != width
        ]
        if len({t for _, t, _ in found}) > 1:
            problems.append(
                f"{key}: its crop files have {sorted({t for _, t, _ in found})} snippets"
            )
    half = all(h.dtype.itemsize == 2 for headers in plan.values() for h in headers)
    dtype = np.dtype(np.float16 if half else np.float32)
    settings = {"source": "npy", "crop_axis": crop_axis}
    writer = StoreWriter(
        output, dim=width, dtype=dtype, rule=rule, extractor="published", settings=settings
    )
    with writer:
        for done, (key, headers) in enumerate(plan.items()):
            try:
                crops = [rows for h in headers for rows in npy.read_rows(h, crop_axis, dtype)]
            except ValueError as exc:
                problems.append(f"{key}.npy: {exc}")
                continue
            if not problems:  # with problems the rest is only checked
                writer.add_crops(key, crops)
            if on_progress:
                on_progress(done + 1, len(plan))
        if problems:
            other = _fitting(lengths, rule) if hint else ""
            raise _refused(source, problems, bool(missing) and not allow_missing, other)
        return writer.close()


def _fitting(lengths: list[tuple[int, int]], rule: SnippetRule) -> str:
    """What to choose so that features of these (frames, snippets) can be packed."""
    frames, snippets = np.array(lengths, dtype=np.int64).T
    other = suggest_rule(frames, snippets)
    if other is not None and other.rule == "stretch":
        return "All have the same number of snippets: choose the snippet rule 'stretch'. "
    if other is not None:
        return f"All lengths would fit {other.snippet_len} frames a snippet: choose that. "
    low = np.maximum(1, frames // rule.snippet_len) - snippets
    high = snippets - -(-frames // rule.snippet_len)
    slack = int(max(low.max(), high.max()))
    return f"With a slack of {slack} snippets all would be repeated or trimmed to fit. "


def _refused(source: Path, problems: list[str], missing: bool, hint: str = "") -> VadError:
    only_missing = missing and all(p.endswith(": missing") for p in problems)
    noun = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return VadError(
        "features-missing" if only_missing else "features-invalid",
        f"The features in {source} have {noun}; nothing was packed. First: {problems[0]}.",
        f"{hint}Correct or remove the files that are listed, then pack the folder again.",
        problems=problems[:_LISTED_PROBLEMS],
    )


def _damaged(path: Path, exc: Exception) -> VadError:
    return VadError(
        "features-invalid",
        f"{path} is damaged: {exc}.",
        "Extract or pack the features again.",
    )


def _disk(path: Path, exc: OSError) -> VadError:
    full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return VadError(
        "disk-full" if full else "features-invalid",
        f"{path} could not be written: {exc.strerror}.",
        "Free some space on that disk and start again." if full else "Check the folder's rights.",
    )
