"""How fast each place moves, by optical flow that was checked.

Flow alone is wrong too often to tell who rides from who walks: where arms cross, where something
appears from behind something else, it makes up any speed. So a pixel counts only where the frame,
moved back along the flow, looks like the one before.
"""

from __future__ import annotations

import torch
from einops import reduce
from torch import Tensor

from vad.features.flow import box, lucas_kanade, warp
from vad.features.motion_maps import LEAST_NOISE, norm, sensor_noise

WINDOW = 7  # pixels that are taken to move together
LIMITS = (12.0, 6.0, 3.0)  # pixels per frame, in the picture, its half and its quarter
LEFT = 0.7  # of the difference between two frames may be left after moving one back


def speed_map(clip: Tensor, *, rows: int, columns: int, length: int) -> Tensor:
    """Root mean square of the speeds in each cell, in pixels per frame: [F / L, rows, columns].

    Of squares, as who rides covers less of a cell than who walks by, and is faster.

    Args:
        clip: [F, H, W, 3] uint8, F at least 2. The first frame takes the speeds of the second.
        rows, columns: of cells, which divide H and W.
        length: L, frames that are averaged; it divides F.
    """
    grey = clip.float().mean(dim=-1)[:, None]
    before, after = grey[:-1], grey[1:]
    noise = sensor_noise(grey).clamp(min=LEAST_NOISE)
    flow = lucas_kanade(before, after, noise=noise, window=WINDOW, limits=LIMITS)
    change = (after - before).abs()
    left = (warp(after, flow) - before).abs()
    # small differences are the sensor's; `moving_maps` has the same limit
    moving = box(change, 5) > 2.2 * noise + 1.0
    believed = moving & (box(left, WINDOW) < LEFT * box(change, WINDOW))
    squares = norm(flow).square() * believed
    means = reduce(squares, "f 1 (r h) (c w) -> f r c", "mean", r=rows, c=columns)
    means = torch.cat([means[:1], means])
    return reduce(means, "(t l) r c -> t r c", "mean", l=length).sqrt()
