"""Maps of what moves in a fixed camera's picture, by cells, from frames and a background.

Frames are looked at in grey at half the size and in colour at a quarter. `map_names.py` says what
each map means.

Shapes: F frames, T snippets of L frames, H W of the half-size picture, h w cells of `CELL` of its
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from vad.features.flow import box, global_shift, gradients, lucas_kanade, warp
from vad.features.map_names import CLIP_MAPS, LINEAR_MAPS, SCALES

CELL = 4
SPEED_BINS = (0.0, 0.03, 0.07, 0.12, 0.19, 0.28)  # centres, body heights per frame
LEAST_NOISE = 0.5  # a picture without any would make everything that differs loud

Noise = float | Tensor  # 0-d


def clip_maps(frames: Tensor, background: Tensor, length: int) -> Tensor:
    """The maps of `CLIP_MAPS` of one clip, scaled: [F / L, 18, h, w].

    Args:
        frames: [F, 2H, 2W, 3] uint8; both sizes are multiples of 2 * CELL.
        background: [2H, 2W, 3] uint8.
        length: L, which divides F.
    """
    grey, colour = shrunk(frames)
    empty, colours = shrunk(background[None])
    grey, colour, shaken = aligned(grey, colour, empty)
    noise = sensor_noise(grey).clamp(min=LEAST_NOISE)
    before = torch.cat((grey[:1], grey[:-1]))
    last = torch.zeros(1, 3, *grey.shape[-2:], device=grey.device)
    maps, _, _ = moving_maps(
        before,
        grey,
        empty,
        doubt=doubt(empty, shaken),
        noise=noise,
        last=last,
        length=length,
    )
    light = light_maps(colour, colours, noise=noise, length=length)
    # a difference of two means may come out just below zero
    return scaled(torch.cat((maps, *light), dim=1).clamp(min=0), CLIP_MAPS)


def shrunk(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Grey at half size [F, 1, H/2, W/2] and colour at a quarter [F, 3, H/4, W/4], 0 to 255.

    Args:
        frames: [F, H, W, 3] uint8.
    """
    # sums of neighbours in whole numbers: much faster than pooling floats on a CPU
    rows = frames[:, 0::2].to(torch.int16) + frames[:, 1::2]
    half = rearrange(rows[:, :, 0::2] + rows[:, :, 1::2], "f h w c -> f c h w").float() / 4
    grey = 0.299 * half[:, :1] + 0.587 * half[:, 1:2] + 0.114 * half[:, 2:]
    return grey, F.avg_pool2d(half, 2)


def aligned(grey: Tensor, colour: Tensor, background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bring frames to a background's brightness and place, where a shaking camera left it.

    Args:
        grey: [F, 1, H, W].
        colour: [F, 3, H/2, W/2].
        background: [1, 1, H, W], grey.

    Returns:
        both, and which frames were shifted, [F, 1, 1, 1].
    """
    ratio = (grey / background.clamp(min=4.0)).flatten(1)[:, ::5]
    gain = ratio.median(dim=1).values.clamp(0.2, 5.0)[:, None, None, None]
    grey, colour = grey / gain, colour / gain
    shift = global_shift(grey, background)
    shift = torch.where(norm(shift) > 0.12, shift, torch.zeros_like(shift))
    shaken = shift.abs().sum(dim=1) > 0
    if shaken.any():
        field = shift[shaken][:, :, None, None]
        grey[shaken] = warp(grey[shaken], field.expand(-1, -1, *grey.shape[2:]))
        colour[shaken] = warp(colour[shaken], field.expand(-1, -1, *colour.shape[2:]) / 2)
    return grey, colour, shaken.float()[:, None, None, None]


def sensor_noise(grey: Tensor) -> Tensor:
    """Standard deviation of the sensor's noise, from the differences between frames; 0-d."""
    # a thirteenth of the pixels will do for a median
    return 1.05 * grey.diff(dim=0).abs().flatten()[::13].median()


def doubt(background: Tensor, shaken: Tensor) -> Tensor:
    """How much more a pixel may differ in frames that were shifted back: [F, 1, H, W].

    The edges of such a picture are not quite what they were.
    """
    slope = box(norm(torch.cat(gradients(background), dim=1)), 3)
    shaken = torch.maximum(shaken, torch.cat((shaken[:1], shaken[:-1])))
    return 0.5 * slope * shaken


def scaled(maps: Tensor, names: Sequence[str]) -> Tensor:
    """Maps at a range of about 0 to 3, most compressed by a logarithm.

    Args:
        maps: [T, maps, ...], of these names.
    """
    shape = (-1, *[1] * (maps.ndim - 2))
    scale = torch.tensor([SCALES[name] for name in names], device=maps.device).view(shape)
    linear = torch.tensor([name in LINEAR_MAPS for name in names], device=maps.device).view(shape)
    maps = maps * scale
    return torch.where(linear, maps.clamp(max=5.0), torch.log1p(maps))


def moving_maps(
    before: Tensor,
    grey: Tensor,
    background: Tensor,
    *,
    doubt: Tensor,
    noise: Noise,
    last: Tensor,
    length: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The first 14 maps, unscaled, of some whole snippets, and their histograms of pace.

    Args:
        before, grey: [F, 1, H, W], each frame's predecessor and the frame itself.
        background: [1, 1, H, W].
        doubt: [F, 1, H, W], how much more than usual a pixel may differ without meaning.
        noise: of the sensor, its standard deviation.
        last: [1, 3, H, W], relative flow and moving mask of the frame before the first; what
            is handed back is the same for the next call.
        length: frames of a snippet.
    """
    step = grey - before
    change = box(step.abs(), 3)
    moving = (change > 2.2 * noise + 1.0 + doubt).float()
    foreground = (box((grey - background).abs(), 3) > 3.0 * noise + 4.0 + doubt).float()
    foreground = torch.maximum(foreground, moving)
    tall, wide = _extent(foreground)
    flow = box(lucas_kanade(before, grey, noise=noise), 3) * moving
    speed = norm(flow)
    # the tallest run near by: an arm's own run is short, its body's is not
    height = F.max_pool2d(tall, (11, 1), stride=1, padding=(5, 0))
    height = F.max_pool2d(height, (1, 7), stride=1, padding=(0, 3)).clamp(min=5.0)
    relative = flow / height
    pace = speed / height
    earlier = torch.cat((last[:, :2], relative[:-1]))
    jerk = norm(relative - earlier) * moving * torch.cat((last[:, 2:], moving[:-1]))

    def mean(x: Tensor) -> Tensor:
        return reduce(x, "(t l) c (h a) (w b) -> t c h w", "mean", l=length, a=CELL, b=CELL)

    def peak(x: Tensor) -> Tensor:
        cells = reduce(x, "f c (h a) (w b) -> f c h w", "mean", a=CELL, b=CELL)
        frames = rearrange(cells, "(t l) c h w -> t l c h w", l=length)
        # a quarter of the frames: one alone may be an error of the flow
        return frames.topk(max(1, length // 4), dim=1).values.mean(dim=1)

    share = mean(moving)
    some = share.clamp(min=0.04)  # a mean over moving pixels means little where few move
    flux = mean(relative)
    body = mean(foreground * (speed > 0.15))
    maps = [
        share,
        mean(change) / noise,
        mean(speed) / some,
        peak(speed),
        mean(pace) / some,
        peak(pace),
        mean(jerk) / some,
        (mean(pace) - norm(flux)) / some,
        mean(foreground * (1 - moving)),
        mean(moving * (wide / height).clamp(max=6)) / some,
        mean(pace * (wide / height).clamp(max=6)) / some,
        box(mean(jerk), 5),
        norm(box(flux, 5)) * box(mean(foreground), 5),
        box(body, 5),
    ]
    last = torch.cat((relative[-1:], moving[-1:]), dim=1)
    return torch.cat(maps, dim=1), _histogram(pace, moving, length), last


def light_maps(colour: Tensor, background: Tensor, *, noise: Noise, length: int) -> list[Tensor]:
    """Flicker, fire and colour maps, unscaled, on the grid of cells.

    Args:
        colour: [F, 3, H/2, W/2].
        background: [1, 3, H/2, W/2].
        noise, length: as of `moving_maps`.
    """

    def grid(x: Tensor) -> Tensor:  # the colour picture has half the resolution of the grey
        return F.avg_pool2d(x, CELL // 2)

    light = rearrange(colour.mean(dim=1), "(t l) h w -> t l h w", l=length)
    light = light - light.mean(dim=1, keepdim=True)
    power = torch.fft.rfft(light, dim=1).abs().square() / length**2
    middle = 1 + power.shape[1] // 2
    weight = 0.02 * noise**2 + 0.1
    bands = [
        grid(p.sum(dim=1, keepdim=True)) / weight for p in (power[:, 1:middle], power[:, middle:])
    ]
    difference = colour - background
    red = (difference[:, :1] - difference[:, 2:]).clamp(min=0)
    bright = difference.mean(dim=1, keepdim=True).clamp(min=0)
    chroma = difference - difference.mean(dim=1, keepdim=True)

    def snippets(x: Tensor) -> Tensor:
        return grid(reduce(x, "(t l) c h w -> t c h w", "mean", l=length)) / 20

    warm, light_up = snippets(red), snippets(bright)
    quick = bands[1].sqrt() / 3
    burning = (warm * light_up).sqrt() * quick
    return [*bands, burning, snippets(norm(chroma))]


def _histogram(pace: Tensor, moving: Tensor, length: int) -> Tensor:
    """How much of the picture moves at which pace: [T, 6], soft bins, compressed."""
    centres = torch.tensor(SPEED_BINS, device=pace.device)
    place = torch.bucketize(pace.clamp(max=SPEED_BINS[-1]), centres[1:-1].contiguous())
    low, high = centres[place], centres[place + 1]
    up = ((pace - low) / (high - low)).clamp(0, 1) * moving
    bins = torch.zeros(len(pace), len(centres), *pace.shape[2:], device=pace.device)
    bins.scatter_(1, place, moving - up)
    bins.scatter_add_(1, place + 1, up)
    share = reduce(bins, "(t l) c h w -> t c", "mean", l=length)
    return torch.log1p(300 * share) / 2


def norm(x: Tensor) -> Tensor:
    """Euclidean length over the second axis, which stays with size 1."""
    total = x[:, :1] * x[:, :1]
    for i in range(1, x.shape[1]):
        total = torch.addcmul(total, x[:, i : i + 1], x[:, i : i + 1])
    return total.sqrt_()


def _extent(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width in pixels of the mask's run through each pixel; 0 outside: [F, 1, H, W]."""
    return _runs(mask, 2), _runs(mask, 3)


def _runs(mask: Tensor, dim: int) -> Tensor:
    """Length of the run of ones that each pixel lies in, along one axis."""
    size = mask.shape[dim]
    shape = [1] * mask.dim()
    shape[dim] = size
    place = torch.arange(size, device=mask.device, dtype=mask.dtype).view(shape)
    off = mask < 0.5
    last = torch.where(off, place, torch.full_like(place, -1.0)).cummax(dim=dim).values
    following = torch.where(off, -place, torch.full_like(place, -float(size)))
    following = -following.flip(dim).cummax(dim=dim).values.flip(dim)
    return (following - last - 1) * mask
