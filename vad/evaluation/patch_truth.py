"""Which patches of which frames are abnormal, from boxes over time or from masks. numpy only.

A frame is scaled to the size of the model's clips, whatever its shape, and cut into a grid.
Boxes are x0, y0, x1, y1 with x1 and y1 just behind the last pixel, so a width is x1 - x0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vad.data.manifest import Track, Truth, Video
from vad.errors import ShapeError, VadError


@dataclass(frozen=True)
class PatchRule:
    """How a box becomes patches. Part of the protocol.

    A patch is abnormal when the area that it shares with a box grown by `grow` on every side is at
    least `overlap` of the patch. Patches are numbered row by row.

    Args:
        rows, columns: of patches; P = rows * columns. 8 x 8 patches of 16 pixels are published.
        cell: pixels per side of a patch, after scaling.
        grow: pixels, after scaling.
        overlap: above 0, at most 1.

    Source: SST-WSVADL's table of results (0.25; its supplement has 0.5, 0.75 and 1.0).
    """

    rows: int = 8
    columns: int = 8
    cell: int = 16
    grow: float = 5.0
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.cell) < 1 or not 0 <= self.grow < np.inf:
            raise ValueError("a grid and its patches have at least one pixel, and no box shrinks")
        if not 0 < self.overlap <= 1:
            raise ValueError("the overlap is a share of a patch, above 0 and at most 1")

    @property
    def width(self) -> int:
        """Pixels of the scaled frame."""
        return self.columns * self.cell

    @property
    def height(self) -> int:
        """Pixels of the scaled frame."""
        return self.rows * self.cell

    @property
    def patches(self) -> int:
        return self.rows * self.columns

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchTruth:
    """The place of the anomalies of one video, as R runs of frames with the same truth.

    A frame inside an interval but without a box is abnormal in time, its place unknown: it has no
    abnormal patch and is not `located`.

    Args:
        bounds: [R+1] int64, first frame of each run, and F; rising from 0.
        masks: [R, P] bool, the abnormal patches; of several boxes, those of any.
        boxes: [R, 4] float64, the hull of all boxes in scaled pixels, not grown; NaN without one.
        rule: how patches were marked.

    Raises:
        ShapeError: an array does not have its shape.
        VadError: `evaluation-impossible`, the bounds do not rise from 0.
    """

    bounds: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    rule: PatchRule

    def __post_init__(self) -> None:
        runs = len(self.bounds) - 1
        if self.masks.shape != (runs, self.rule.patches):
            raise ShapeError(
                "masks", expected=f"({runs}, {self.rule.patches})", got=self.masks.shape
            )
        if self.boxes.shape != (runs, 4):
            raise ShapeError("boxes", expected=f"({runs}, 4)", got=self.boxes.shape)
        check_bounds(self.bounds, "the patch truth")

    @property
    def num_frames(self) -> int:
        return int(self.bounds[-1])

    def fitted(self, num_frames: int) -> PatchTruth:
        """The same truth over another number of frames: cut, or nothing abnormal behind the end.

        Scores may cover fewer frames than the video has, or more (the tail rule `cut`).
        """
        keep = self.bounds[:-1] < num_frames
        bounds, masks, boxes = [*self.bounds[:-1][keep]], self.masks[keep], self.boxes[keep]
        if num_frames > self.num_frames:
            bounds.append(self.num_frames)
            masks = np.concatenate([masks, np.zeros((1, self.rule.patches), dtype=bool)])
            boxes = np.concatenate([boxes, _no_boxes(1)])
        return PatchTruth(
            bounds=np.array([*bounds, num_frames], dtype=np.int64),
            masks=masks,
            boxes=boxes,
            rule=self.rule,
        )

    @cached_property
    def located(self) -> np.ndarray:
        """[R] bool, the frames of the run carry a box."""
        located: np.ndarray = ~np.isnan(self.boxes[:, 0])
        return located


def truth_from_tracks(video: Video, truth: Truth, rule: PatchRule | None = None) -> PatchTruth:
    """Patch truth from the boxes of a video; exact, with as few runs as the boxes allow.

    Corners move linearly between keyframes and hold before the first and after the last, as
    `Track` says. A box is clamped to the frame; one that lies wholly outside marks nothing.

    Args:
        video: with its frame count and, if it has tracks, its size in pixels. Where scores cover
            another number of frames, as under the tail rule `cut`, that number is its frame count.
        truth: its tracks; intervals are not read.

    Raises:
        VadError: `evaluation-impossible`, frame count or size are unknown;
            `annotation-invalid`, a track is reversed, has no keyframes, or they do not rise.

    Source: the box files of SST-WSVADL. There corners are also cut to whole numbers; as both
    keyframes of every published box are equal and whole, this changes nothing and is not done.
    """
    rule = rule or PatchRule()
    _check_size(video, sized=bool(truth.tracks))
    for number, track in enumerate(truth.tracks, start=1):
        _check_track(video, number, track)
    bounds = _run_bounds(truth.tracks, video.num_frames)
    starts = bounds[:-1]
    masks = np.zeros((len(starts), rule.patches), dtype=bool)
    hull = _no_boxes(len(starts))
    for track in truth.tracks:
        on = np.flatnonzero((starts >= track.start_frame) & (starts < track.end_frame))
        boxes = scaled_boxes(track, starts[on], video, rule)
        inside = has_area(boxes)
        on, boxes = on[inside], boxes[inside]
        masks[on] |= patch_masks(boxes, rule)
        hull[on, :2] = np.fmin(hull[on, :2], boxes[:, :2])
        hull[on, 2:] = np.fmax(hull[on, 2:], boxes[:, 2:])
    return PatchTruth(bounds=bounds, masks=masks, boxes=hull, rule=rule)


def truth_from_masks(
    masks: Iterable[np.ndarray], video: Video, rule: PatchRule | None = None
) -> PatchTruth:
    """Patch truth from one mask a frame, read one by one.

    A patch is abnormal when at least `overlap` of its area is masked; a mask follows the object,
    so it is not grown. The box is the tight box around the mask.

    Args:
        masks: F arrays [H, W]; anything but 0 is abnormal.
        video: with its frame count and its size in pixels.

    Raises:
        ShapeError: a mask does not have the video's size.
        VadError: `evaluation-impossible`, frame count or size are unknown, or there are more or
            fewer masks than frames.

    Source: ours, after the box rule of SST-WSVADL.
    """
    rule = rule or PatchRule()
    _check_size(video, sized=True)
    rows, columns = _cell_shares(video.height, rule.rows), _cell_shares(video.width, rule.columns)
    scale = np.array([rule.width / video.width, rule.height / video.height] * 2)
    starts: list[int] = []
    marked: list[np.ndarray] = []
    boxes: list[np.ndarray] = []
    count = 0
    previous: np.ndarray | None = None
    for frame, mask in enumerate(masks):
        if mask.shape != (video.height, video.width):
            raise ShapeError(
                f"mask {frame} of {video.key}",
                expected=f"({video.height}, {video.width})",
                got=mask.shape,
            )
        filled = mask != 0
        count = frame + 1
        if previous is not None and np.array_equal(filled, previous):
            continue
        previous = filled
        shares = rows @ filled.astype(np.float64) @ columns.T
        starts.append(frame)
        # a share of whole pixels may miss the limit by rounding alone
        marked.append((shares >= rule.overlap - 1e-12).ravel())
        boxes.append(_mask_box(filled) * scale)
    if count != video.num_frames:
        raise VadError(
            "evaluation-impossible",
            f"{video.key} has {video.num_frames:,} frames, but {count:,} masks.",
            "Check that the masks belong to this video.",
        )
    return PatchTruth(
        bounds=np.array([*starts, count], dtype=np.int64),
        masks=np.stack(marked),
        boxes=np.stack(boxes),
        rule=rule,
    )


def scaled_boxes(track: Track, frames: np.ndarray, video: Video, rule: PatchRule) -> np.ndarray:
    """The boxes of a track at some frames, clamped to the frame, in scaled pixels.

    Args:
        track: its validity is not looked at.
        frames: [n].

    Returns:
        [n, 4] float64; without area where the box lies outside the frame.
    """
    at = [k[0] for k in track.keyframes]
    limits = (video.width, video.height) * 2
    sizes = (rule.width, rule.height) * 2
    corners = [
        np.clip(np.interp(frames, at, [k[1 + c] for k in track.keyframes]), 0, limit)
        * (size / limit)
        for c, (limit, size) in enumerate(zip(limits, sizes, strict=True))
    ]
    return np.stack(corners, axis=1)


def patch_masks(boxes: np.ndarray, rule: PatchRule) -> np.ndarray:
    """[n, P] bool, the patches that each box [n, 4] in scaled pixels marks; see `PatchRule`."""

    def shared(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
        edges = np.arange(count) * rule.cell
        first = np.maximum(low[:, None] - rule.grow, edges)
        last = np.minimum(high[:, None] + rule.grow, edges + rule.cell)
        pixels: np.ndarray = np.maximum(last - first, 0.0)
        return pixels

    across = shared(boxes[:, 0], boxes[:, 2], rule.columns)
    down = shared(boxes[:, 1], boxes[:, 3], rule.rows)
    share = down[:, :, None] * across[:, None, :] / rule.cell**2
    marked: np.ndarray = share >= rule.overlap
    return marked.reshape(len(boxes), rule.patches)


def patch_boxes(marked: np.ndarray, rule: PatchRule) -> np.ndarray:
    """[n, 4] float64, the tight box around the marked patches [n, P] bool; NaN without one."""
    cells = marked.reshape(-1, rule.rows, rule.columns)
    boxes = _no_boxes(len(cells))
    some = marked.any(axis=1)
    for c, axis in enumerate((1, 2)):  # columns give x, rows give y
        line: np.ndarray = np.any(cells[some], axis=axis)
        boxes[some, c] = line.argmax(axis=1) * rule.cell
        boxes[some, c + 2] = (line.shape[1] - line[:, ::-1].argmax(axis=1)) * rule.cell
    return boxes


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n], intersection over union of the boxes [n, 4] in pairs; 0 where one of them is NaN."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    whole = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - shared
    iou = np.zeros(len(a))
    np.divide(shared, whole, out=iou, where=whole > 0)
    return iou


def has_area(boxes: np.ndarray) -> np.ndarray:
    """[n] bool, of boxes [n, 4]; what `scaled_boxes` clamps away has none."""
    found: np.ndarray = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return found


def check_bounds(bounds: np.ndarray, what: str) -> None:
    """Refuse bounds that do not rise from 0.

    Raises:
        VadError: `evaluation-impossible`.
    """
    if len(bounds) < 2 or bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] < 1:
        raise VadError(
            "evaluation-impossible",
            f"The frame bounds of {what} do not rise from 0.",
            "Check that scores and annotations belong to the same video.",
        )


def _check_size(video: Video, *, sized: bool) -> None:
    if video.num_frames < 1 or (sized and min(video.width, video.height) < 1):
        raise VadError(
            "evaluation-impossible",
            f"The frame count or the frame size of {video.key} is unknown, so its truth cannot be "
            "placed.",
            "Register the data set with its videos, so that they can be counted and measured.",
        )


def _check_track(video: Video, number: int, track: Track) -> None:
    problem = ""
    if not 0 <= track.start_frame < track.end_frame:
        problem = f"goes from frame {track.start_frame} to {track.end_frame}"
    elif not track.keyframes:
        problem = "has no keyframes"
    elif any(a[0] >= b[0] for a, b in zip(track.keyframes, track.keyframes[1:], strict=False)):
        problem = "has keyframes that do not rise"
    elif not all(k[1] <= k[3] and k[2] <= k[4] for k in track.keyframes):
        problem = "has a keyframe whose corners are reversed or not numbers"
    if problem:
        raise VadError(
            "annotation-invalid",
            f"Box {number} of {video.key} {problem}.",
            "Correct the annotation and register the data set again.",
        )


def _run_bounds(tracks: tuple[Track, ...], num_frames: int) -> np.ndarray:
    """Every frame on which a box begins, ends or moves."""
    edges = [np.array([0, num_frames])]
    for track in tracks:
        edges.append(np.array([track.start_frame, track.end_frame]))
        for a, b in zip(track.keyframes, track.keyframes[1:], strict=False):
            if a[1:] != b[1:]:
                moving = np.arange(a[0] + 1, b[0] + 1)
                on = (moving > track.start_frame) & (moving < track.end_frame)
                edges.append(moving[on])
    found = np.unique(np.concatenate(edges)).astype(np.int64)
    return found[found <= num_frames]


def _no_boxes(count: int) -> np.ndarray:
    return np.full((count, 4), np.nan)


def _cell_shares(pixels: int, cells: int) -> np.ndarray:
    """[cells, pixels] float64, the share of each cell that each pixel makes up along one axis."""
    pixel = np.arange(pixels)
    edges = np.arange(cells + 1)[:, None] * (pixels / cells)
    shared = np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel)
    shares: np.ndarray = np.maximum(shared, 0.0) * (cells / pixels)
    return shares


def _mask_box(filled: np.ndarray) -> np.ndarray:
    """[4] float64, the tight box around a mask [H, W] bool, in its pixels; NaN if empty."""
    if not filled.any():
        return np.full(4, np.nan)
    ends = []
    for axis in (0, 1):
        at = np.flatnonzero(filled.any(axis=axis))
        ends.append((at[0], at[-1] + 1))
    (x0, x1), (y0, y1) = ends
    return np.array([x0, y0, x1, y1], dtype=np.float64)
