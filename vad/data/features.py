"""The feature store: one vector per snippet of every video, memory-mapped. numpy only.

A store is a folder:

    features.json              key -> [first row, crops N, snippets T], and where the rows come from
    features.safetensors       one tensor `data` [rows, D], a video's crops one after the other
    segments-<S>.safetensors   derived once: every crop resampled to S segments, [items, S, D]

Rows keep the dtype they came in (float16 stays float16). A store appears as a whole or not at all.
"""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vad.data.segments import Segments, resample
from vad.data.tensorfile import TensorWriter, read_tensor
from vad.errors import VadError
from vad.timeline import SnippetRule

STORE_VERSION = 1


class FeatureStore:
    """A finished store, opened read-only. Made by `feature_writer` and `packing`."""

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
                raise not_written(path, exc) from exc
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


def _damaged(path: Path, exc: Exception) -> VadError:
    return VadError(
        "features-invalid",
        f"{path} is damaged: {exc}.",
        "Extract or pack the features again.",
    )


def not_written(path: Path, exc: OSError) -> VadError:
    """The error of a part of a store that could not be written."""
    full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return VadError(
        "disk-full" if full else "features-invalid",
        f"{path} could not be written: {exc.strerror}.",
        "Free some space on that disk and start again." if full else "Check the folder's rights.",
    )
