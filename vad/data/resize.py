"""Frames brought to a size. Apart from its users, which import each other's parts."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange


def resize(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring frames to a size, antialiased, aspect not kept: [F, h, w, 3] to [F, H, W, 3] uint8.

    Source: the published code resizes with Pillow's bilinear filter; this is the same filter on
    whole blocks, equal to it within a grey level.
    """
    if frames.shape[1:3] == size:
        return frames
    planes = rearrange(torch.from_numpy(frames), "f h w c -> f c h w")
    small = F.interpolate(planes, size, mode="bilinear", antialias=True)
    return rearrange(small, "f c h w -> f h w c").contiguous().numpy()
