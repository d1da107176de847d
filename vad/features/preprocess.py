"""From decoded frames to what the published networks take.

Shapes: F frames, H, W; frames are uint8 [F, H, W, 3], RGB.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from vad.errors import ShapeError

I3D_FRAME = (256, 340)  # height and width that I3D's crops are cut from
CROP = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP_COUNTS = (1, 5, 10)
CROP_ORDERS = ("urdmu", "published")

_PLACES = {  # (row, column) of a crop's corner in a frame of 256x340
    "top left": (0, 0),
    "top right": (0, 116),
    "centre": (16, 58),
    "bottom left": (32, 0),
    "bottom right": (32, 116),
}
_ORDERS = {
    "urdmu": ("top left", "top right", "centre", "bottom left", "bottom right"),
    "published": ("centre", "top left", "top right", "bottom left", "bottom right"),
}


def snippet_count(num_frames: int, snippet_len: int, *, complete_tail: bool) -> int:
    """T of a video: its last, partial snippet counts if it is to be completed.

    A video shorter than a snippet has one in either case.
    """
    whole = num_frames // snippet_len
    if complete_tail and num_frames % snippet_len:
        whole += 1
    return max(1, whole)


def complete(frames: np.ndarray, snippet_len: int) -> np.ndarray:
    """A snippet of `snippet_len` frames; the last frame is repeated where some are missing."""
    missing = snippet_len - len(frames)
    if not 0 <= missing < snippet_len:
        raise ShapeError(
            "frames", expected=f"[1 to {snippet_len}, H, W, 3]", got=tuple(frames.shape)
        )
    return np.pad(frames, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")


def resize_pillow(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bilinear resize (with antialias) of each frame: uint8 [F, *size, 3]."""
    height, width = size
    if frames.shape[1:3] == size:
        return frames
    resized = np.empty((len(frames), height, width, 3), dtype=np.uint8)
    for i, frame in enumerate(frames):
        image = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
        resized[i] = np.asarray(image)
    return resized


def crop_places(count: int, order: str = "urdmu") -> list[tuple[int, int, bool]]:
    """Row, column and whether the frame is mirrored first, of each crop of a frame of 256x340.

    Args:
        count: 1 is the centre; 5 adds the corners; 10 adds the five of the mirrored frame.
        order: `urdmu`, as UR-DMU's extractor stores them, or `published`: the centre first, as in
            the published features of UCF-Crime and XD-Violence.
    """
    if count not in CROP_COUNTS or order not in CROP_ORDERS:
        raise ValueError(f"no {count} crops in the order {order!r}")
    if count == 1:
        return [(*_PLACES["centre"], False)]
    mirrors = (False, True) if count == 10 else (False,)
    return [(*_PLACES[name], mirror) for mirror in mirrors for name in _ORDERS[order]]


def crop(frames: np.ndarray, row: int, column: int, mirror: bool) -> np.ndarray:
    """A crop of 224x224, a view: [F, 224, 224, 3]."""
    if mirror:
        frames = frames[:, :, ::-1]
    return frames[:, row : row + CROP, column : column + CROP]


def i3d_input(clips: Tensor) -> Tensor:
    """uint8 [B, F, 224, 224, 3] to [B, 3, F, 224, 224] float32 in [-1, 1], as `2 x / 255 - 1`."""
    return rearrange(clips.float() * 2 / 255 - 1, "b f h w c -> b c f h w").contiguous()


def resize_torch(frames: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Torch's bilinear resize, without antialias and whatever the aspect: [3, F, *size], 0 to 1.

    Frame by frame, as 16 frames of a large video in float32 would take hundreds of megabytes.

    Source: the feature script of the VideoMAEv2 project.
    """
    resized = []
    for frame in frames:
        pixels = rearrange(torch.from_numpy(np.ascontiguousarray(frame)), "h w c -> 1 c h w")
        resized.append(
            F.interpolate(pixels.float() / 255, size=size, mode="bilinear", align_corners=False)
        )
    return rearrange(torch.cat(resized), "f c h w -> c f h w")


def normalise(clips: Tensor) -> Tensor:
    """ImageNet's mean and deviation, as VideoMAE V2 is trained with: [B, 3, F, H, W] to the same.

    The authors' feature script leaves it out, and so do the features in the field.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=clips.device).view(3, 1, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=clips.device).view(3, 1, 1, 1)
    return (clips - mean) / std
