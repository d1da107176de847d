"""Dense optical flow by gradients, batched over frames. For the motion descriptor; torch only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def box(x: Tensor, size: int) -> Tensor:
    """Mean over a size x size window, the same shape out; x is [F, C, H, W], size odd.

    Sums of shifted copies: several times as fast as a pooling layer on a CPU.
    """
    for dim in (-2, -1):
        length = x.shape[dim]
        total = x.clone()
        count = torch.ones(length, dtype=x.dtype, device=x.device)
        for k in range(1, size // 2 + 1):
            n = length - k
            total.narrow(dim, 0, n).add_(x.narrow(dim, k, n))
            total.narrow(dim, k, n).add_(x.narrow(dim, 0, n))
            count[:n] += 1
            count[k:] += 1
        x = total.mul_((1 / count)[:, None] if dim == -2 else 1 / count)
    return x


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y, [F, 1, H, W] each; 0 at the edge."""
    dx, dy = torch.zeros_like(x), torch.zeros_like(x)
    dx[..., 1:-1] = (x[..., 2:] - x[..., :-2]) / 2
    dy[..., 1:-1, :] = (x[..., 2:, :] - x[..., :-2, :]) / 2
    return dx, dy


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Look up x [F, C, H, W] at each pixel plus its flow [F, 2, H, W] (x, y in pixels)."""
    height, width = x.shape[-2:]
    ys = torch.arange(height, dtype=x.dtype, device=x.device)[:, None].expand(height, width)
    xs = torch.arange(width, dtype=x.dtype, device=x.device)[None].expand(height, width)
    # grid_sample counts -1 to 1 between the middles of the outermost pixels
    gx = (xs + flow[:, 0]) * (2 / (width - 1)) - 1
    gy = (ys + flow[:, 1]) * (2 / (height - 1)) - 1
    grid = torch.stack((gx, gy), dim=-1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def lucas_kanade(
    first: Tensor,
    second: Tensor,
    *,
    noise: float | Tensor,
    window: int = 5,
    iterations: int = 2,
    limits: Sequence[float] = (8.0, 3.0),
) -> Tensor:
    """Flow from `first` to `second`, coarse to fine.

    Args:
        first, second: [F, 1, H, W], the same brightness scale.
        noise: standard deviation of the sensor noise; keeps flat areas at no motion.
        window: over which the motion counts as constant, in pixels of each level.
        iterations: at each coarse level; one more follows at the finest.
        limits: the longest flow along an axis at each level, in its pixels; the picture itself
            first, then its halves.

    Returns:
        [F, 2, H, W], in pixels: what is at p in `first` is at p + flow in `second`.

    Source: Lucas and Kanade 1981, with a ridge term for the aperture problem.
    """
    levels = [(first, second)]
    for _ in limits[1:]:
        a, b = levels[-1]
        levels.append((F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)))
    flow = torch.zeros_like(levels[-1][0]).repeat(1, 2, 1, 1)
    for level in reversed(range(len(limits))):
        a, b = levels[level]
        if level + 1 < len(limits):
            size = a.shape[-2:]
            flow = 2 * F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
        for _ in range(iterations if level else 1):
            flow = _step(a, b, flow, noise / 2**level, window, limit=limits[level])
    return flow


def _step(
    first: Tensor, second: Tensor, flow: Tensor, noise: float | Tensor, window: int, limit: float
) -> Tensor:
    moved = warp(second, flow)
    dx, dy = gradients((first + moved) / 2)
    dt = moved - first
    xx, xy, yy, xt, yt = box(
        torch.cat((dx * dx, dx * dy, dy * dy, dx * dt, dy * dt), dim=1), window
    ).unbind(1)
    ridge = 0.5 * noise * noise + 0.05
    xx, yy = xx + ridge, yy + ridge
    scale = 1 / (xx * yy - xy * xy)
    step = torch.stack((-(yy * xt - xy * yt) * scale, -(xx * yt - xy * xt) * scale), dim=1)
    # a step of more than about a pixel lies outside of what a gradient can tell
    return (flow + step.clamp(-1.5, 1.5)).clamp(-limit, limit)


def global_shift(frames: Tensor, reference: Tensor, iterations: int = 3) -> Tensor:
    """How far each frame is shifted against a reference as a whole (a shaking camera).

    Args:
        frames: [F, 1, H, W].
        reference: [1, 1, H, W].

    Returns:
        [F, 2], x and y in pixels: the median of 4x4 tiles, so that neither people nor a caption,
        which stands still while the picture shakes, decide.
    """
    tiles = 4
    shift = torch.zeros(len(frames), 2, dtype=frames.dtype, device=frames.device)
    dx, dy = gradients(reference)
    xx, xy, yy = (
        F.adaptive_avg_pool2d(torch.cat((dx * dx, dx * dy, dy * dy), dim=1), tiles)
        .flatten(2)
        .unbind(1)
    )  # [1, tiles²] each
    # a tile without edges in both directions says nothing about the shift
    smaller = (xx + yy) / 2 - (((xx - yy) / 2) ** 2 + xy**2).sqrt()
    useful = (smaller >= smaller.median() * 0.5)[0]
    det = (xx * yy - xy * xy).clamp(min=1e-3)
    for _ in range(iterations):
        steps = []
        for part, moved in zip(frames.split(64), shift.split(64), strict=True):
            field = moved[:, :, None, None].expand(-1, -1, *frames.shape[-2:])
            dt = warp(part, field) - reference
            slopes = F.adaptive_avg_pool2d(torch.cat((dx * dt, dy * dt), dim=1), tiles)
            xt, yt = slopes.flatten(2).unbind(1)
            step = torch.stack((-(yy * xt - xy * yt) / det, -(xx * yt - xy * xt) / det), dim=1)
            steps.append(step[:, :, useful].median(dim=2).values)
        shift = (shift + torch.cat(steps).clamp(-1.5, 1.5)).clamp(-4, 4)
    return shift
