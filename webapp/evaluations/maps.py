"""The maps of stage 2 for a browser: a few bytes a patch, and where the truth is in the frame.

The bytes of n consecutive snippets of a video, little-endian; t tubelets, P = rows * columns:

    0   4 bytes      "VMAP"
    4   uint16       version, 2
    6   uint16       t
    8   uint32       n
    12  uint16 x 2   rows, columns
    16  uint32       frames of the whole video
    20  uint32       number of the first of these snippets, from 0
    24  uint32       snippets of the whole video
    28  int32 [n]    first frame of each snippet, counted from the start of the video
        float32 [n]  score of stage 1, then of stage 2, then the evaluated one; NaN where unknown
        uint8 [n, t, P]            patch scores, 255 is 1; 0 where pruned
        uint8 [n, t, ceil(P / 8)]  1 where the patch was not pruned, first patch in the highest bit
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vad.data.manifest import Track, Truth, Video, load_truth
from vad.data.masks import MaskReader
from vad.errors import VadError
from vad.evaluation.patch_scores import PatchScores
from vad.evaluation.patch_truth import PatchRule, has_area, scaled_boxes, truth_from_masks
from webapp.datasets.media import manifest_of
from webapp.datasets.paths import inside_roots
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

VERSION = 2
_HEADER = struct.Struct("<4sHHIHHIII")
_UNIT = PatchRule(rows=1, columns=1, cell=1)  # boxes from 0 to 1 of the frame
MOST_MASK_PIXELS = 100_000_000  # of a video; more would hold a page up for longer than a second
_KEPT = 32


def load(evaluation: Evaluation) -> PatchScores:
    """The maps of an evaluation, mapped from their file.

    Raises:
        VadError: `file-missing`, or `scores-invalid`.
    """
    path = evaluation.patches_path
    try:
        status = path.stat()
    except OSError:
        raise VadError(
            "file-missing",
            f"The maps of {evaluation}, patches.safetensors, are no longer in the folder of "
            f"{evaluation.run.name}.",
            "Evaluate the checkpoint again.",
        ) from None
    return _open(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _open(path: Path, _changed: int, _size: int) -> PatchScores:
    return PatchScores.open(path)


def etag(evaluation: Evaluation, key: str, start: int = 0, stop: int | None = None) -> str:
    """Of the bytes of `encode`: of both score files, the video, the part and the format."""
    status = evaluation.patches_path.stat()
    maps = evaluation.patch.get("sha256") or f"{status.st_mtime_ns}-{status.st_size}"
    parts = (str(VERSION), maps, evaluation.scores_sha256, key, str(start), str(stop))
    return f'"{hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]}"'


def encode(evaluation: Evaluation, key: str, start: int = 0, stop: int | None = None) -> bytes:
    """The maps of one video, or of its snippets [start, stop); see the module.

    A part costs what its own snippets cost, however long the video is.

    Raises:
        KeyError: it was not evaluated.
        VadError: as `load`.
    """
    patches = load(evaluation)
    v = patches.index[key]
    frames = patches.frames[patches.offsets[v] : patches.offsets[v + 1]]
    start = min(max(0, start), len(frames) - 1)
    part = patches.video(key, start, stop)
    n = len(part.maps)
    evaluated = _evaluated(evaluation, key, len(frames))[start : start + n]
    header = _HEADER.pack(
        b"VMAP", VERSION, patches.tubelets, n, patches.rows, patches.columns,
        int(frames.sum()), start, len(frames),
    )  # fmt: skip
    quantised = np.rint(part.maps * 255).astype(np.uint8)
    return b"".join(
        [
            header,
            (part.start_frames + int(frames[:start].sum())).astype("<i4").tobytes(),
            *(a.astype("<f4").tobytes() for a in (part.stage1, part.stage2, evaluated)),
            quantised.tobytes(),
            np.packbits(part.kept, axis=-1).tobytes(),
        ]
    )


def _evaluated(evaluation: Evaluation, key: str, snippets: int) -> np.ndarray:
    """[T], the score that the frame metrics are made of."""
    try:
        scores = store.load(evaluation)
        found = scores.video(key).scores if key in scores.index else None
    except VadError:
        found = None
    if found is None or len(found) != snippets:
        return np.full(snippets, np.nan, dtype=np.float32)
    return found


def curve(evaluation: Evaluation, key: str, patch: int) -> tuple[list[int], list[float]]:
    """The scores of one patch over a video: first frame and score of each tubelet.

    Raises:
        KeyError: the video was not evaluated.
        IndexError: the grid has no such patch.
        VadError: as `load`.
    """
    patches = load(evaluation)
    if not 0 <= patch < patches.patches:
        raise IndexError(patch)
    v, t = patches.index[key], patches.tubelets
    part = slice(int(patches.offsets[v]), int(patches.offsets[v + 1]))
    frames = patches.frames[part]
    starts = np.cumsum(frames) - frames
    # of a snippet's frames, tubelet k holds those whose share of it is at least k / t
    offsets = -(-np.arange(t) * frames[:, None] // t)
    return (starts[:, None] + offsets).ravel().tolist(), patches.maps[
        part, :, patch
    ].ravel().tolist()


# --- truth ----------------------------------------------------------------------------------


def truth(evaluation: Evaluation, key: str) -> dict[str, Any]:
    """Where the anomalies of a video are, in runs of frames [start, end) with the same place.

    Returns:
        `intervals`: [start, end]; `boxes`: [start, end, x0, y0, x1, y1] from 0 to 1 of the frame;
        `patches`: [start, end, [patch, …]] of masks, in the grid of the maps; `problem`: why a
        place that is known cannot be shown, else empty.

    An evaluation without maps has no grid, so what masks mark is not in `patches` then.

    Raises:
        VadError: as `load`, and of the version's files.
    """
    grid = load(evaluation) if evaluation.has_maps else None
    folder = evaluation.version.folder
    found: dict[str, Any] = {"key": key, "intervals": [], "boxes": [], "patches": [], "problem": ""}
    known = load_truth(folder, "test").get(key)
    video = _videos(folder).get(key)
    if known is None or video is None:
        return found
    found["intervals"] = [list(interval) for interval in known.intervals]
    try:
        if known.tracks:
            found["boxes"] = [row for t in known.tracks for row in _box_runs(t, video)]
        elif known.masks and grid is not None:
            found["patches"] = _mask_runs(folder, key, grid.rows, grid.columns)
    except VadError as exc:
        found["problem"] = f"{exc.message} {exc.hint}"
    return found


def _box_runs(track: Track, video: Video) -> list[list[float]]:
    """A box over time, as few runs as it has places."""
    if min(video.width, video.height) < 1:
        raise VadError(
            "evaluation-impossible",
            f"The frame size of {video.key} is unknown, so its boxes cannot be placed.",
            "Register the data set with its videos.",
        )
    end = min(track.end_frame, video.num_frames or track.end_frame)
    frames = np.arange(track.start_frame, end)
    if not len(frames):
        return []
    boxes = scaled_boxes(track, frames, video, _UNIT).round(4)
    changes = np.flatnonzero((boxes[1:] != boxes[:-1]).any(axis=1)) + 1
    starts = np.array([0, *changes])
    stops = np.array([*changes, len(frames)])
    return [
        [int(frames[a]), int(frames[b - 1]) + 1, *boxes[a].tolist()]
        for a, b, inside in zip(starts, stops, has_area(boxes)[starts], strict=True)
        if inside
    ]


@lru_cache(maxsize=_KEPT)
def _mask_runs(folder: Path, key: str, rows: int, columns: int) -> list[list[Any]]:
    """The abnormal patches of masks; small videos only, since every mask is decoded for it."""
    manifest, video = manifest_of(folder), _videos(folder)[key]
    masks: Truth = load_truth(folder, "test")[key]
    if video.num_frames * video.width * video.height > MOST_MASK_PIXELS:
        raise VadError(
            "evaluation-impossible",
            f"The masks of {key} are too large to be read for a page.",
            "Its patch metrics are not affected.",
        )
    path = inside_roots(str(manifest.media_path(masks.masks)), "masks")
    found = truth_from_masks(MaskReader(path, video), video, PatchRule(rows=rows, columns=columns))
    return [
        [int(start), int(stop), np.flatnonzero(marked).tolist()]
        for start, stop, marked in zip(found.bounds, found.bounds[1:], found.masks, strict=False)
        if marked.any()
    ]


@lru_cache(maxsize=4)
def _videos(folder: Path) -> dict[str, Video]:
    return {video.key: video for video in manifest_of(folder).videos}
