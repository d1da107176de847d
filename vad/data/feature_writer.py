"""Writing a feature store video by video. numpy only."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vad.data.features import STORE_VERSION, FeatureStore, not_written
from vad.data.tensorfile import DTYPES, TensorWriter, sync_folder, write_text
from vad.errors import ShapeError, VadError
from vad.timeline import SnippetRule


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
            raise not_written(self.folder, exc) from exc
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
