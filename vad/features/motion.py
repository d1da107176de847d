"""The built-in motion descriptor: one vector per snippet, from raw video, without any weights.

What it looks at, in a fixed camera's picture of people:

1. *Stabilise.* Every frame is brought to the brightness of the video's background (a median over
   the beginning) and shifted so that a shaking camera stands still.
2. *Per pixel and frame*, at half the working size: foreground (differs from the background), moving
   (differs from the frame before), optical flow (`flow.py`), and the height and width of the
   foreground around the pixel. Flow divided by that height is a speed in body heights per frame:
   it means the same near and far from the camera.
3. *Per cell* (4x4 of those pixels) *and snippet*: the maps of `CELL_MAPS`.
4. *Pooled over the grid* by maximum and mean of the strongest 2 %, so that it does not matter where
   something happens; plus a histogram of relative speed (6 soft bins) over the whole picture.
Most numbers are compressed by logarithms; all come to a range of about 0 to 3.

Sources: Lucas and Kanade 1981 (flow); Porikli et al. 2008 (objects left behind).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from vad.features.flow import box, global_shift, gradients, lucas_kanade, warp

CELL = 4  # pixels of the half-size picture
CHUNK_SNIPPETS = 128  # a longer video gets a background of its own for each so many snippets
SPEED_BINS = (0.0, 0.03, 0.07, 0.12, 0.19, 0.28)  # centres, body heights per frame
CELL_MAPS = (
    "moving",  # share of pixels that differ from the frame before
    "change",  # mean difference to the frame before, in units of the noise
    "speed",  # flow of the moving pixels, pixels per frame
    "speed_peak",  # its greatest value of the snippet's frames
    "pace",  # flow divided by the foreground's height: body heights per frame
    "pace_peak",
    "jerk",  # change of flow from frame to frame, in body heights
    "turmoil",  # pace that goes in no direction on average
    "still",  # share of pixels that differ from the background and do not move
    "wide",  # width of the moving foreground divided by its height
    "wide_pace",  # that times pace: a vehicle is both wide and fast
    "agitation",  # jerk of all pixels of a body's surroundings
    "mass",  # pace of the surroundings as a whole, times how full of foreground they are
    "bulk",  # foreground in the surroundings that moves
    "flicker_slow",  # temporal Fourier power, lower half of the spectrum without the mean
    "flicker_quick",  # and upper half
    "burning",  # redder and lighter than the background, and flickering, at the same place
    "colour",  # any change of colour against the background
    "sustained",  # agitation that goes on at its place from one snippet to the next
    "left",  # stands still and differs from how the video began
    "left_long",  # the same, where it does so for long: before or after this snippet
)
# Speeds keep their proportions: running is three times walking, and should look so.
LINEAR_MAPS = ("speed", "speed_peak", "pace", "pace_peak", "jerk", "turmoil", "mass")
POOLINGS = 2
DIM = POOLINGS * len(CELL_MAPS) + len(SPEED_BINS)


@dataclass
class _Chunk:
    """What is kept of a chunk's snippets until the whole video was seen."""

    cells: Tensor  # [T, maps so far, rows, columns]
    histograms: Tensor  # [T, bins]
    states: Tensor  # [T, 3, rows2, columns2] median picture of each snippet, small
    noise: float


class MotionDescriptor:
    """Turns the frames of one video into [T, DIM] float32, T = ceil(F / snippet_len).

    Args:
        snippet_len: frames per snippet; a last, partial one is filled up with its last frame.
        resize: (height, width) that frames are brought to; multiples of 8.
        device: where to compute.
    """

    name = "motion"
    version = 1
    dim = DIM

    def __init__(
        self, snippet_len: int, resize: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        self.snippet_len = snippet_len
        # two halvings and the cells must come out even
        self.size = tuple(max(32, round(n / 8) * 8) for n in resize)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, blocks: Iterable[Tensor]) -> Tensor:
        """Describe a video given as consecutive blocks of frames, uint8 [F, H, W, 3]."""
        chunks: list[_Chunk] = []
        grey: list[Tensor] = []
        colour: list[Tensor] = []
        limit = CHUNK_SNIPPETS * self.snippet_len
        for block in blocks:
            small, tiny = self._shrink(block)
            grey.append(small)
            colour.append(tiny)
            if sum(map(len, grey)) >= limit:
                g, c = torch.cat(grey), torch.cat(colour)
                chunks.append(self._chunk(g[:limit], c[:limit]))
                grey, colour = [g[limit:]], [c[limit:]]
        if sum(map(len, grey)):
            chunks.append(self._chunk(torch.cat(grey), torch.cat(colour)))
        if not chunks:
            raise ValueError("a video without frames cannot be described")
        return self._finish(chunks).cpu()

    def _shrink(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Grey at half size [F, 1, H/2, W/2] and colour at a quarter [F, 3, H/4, W/4], 0 to 255."""
        frames = block.to(self.device)
        if tuple(frames.shape[1:3]) != self.size:
            frames = self._resize(frames)
        # sums of neighbours in whole numbers: much faster than pooling floats on a CPU
        rows = frames[:, 0::2].to(torch.int16) + frames[:, 1::2]
        half = rearrange(rows[:, :, 0::2] + rows[:, :, 1::2], "f h w c -> f c h w").float() / 4
        grey = 0.299 * half[:, :1] + 0.587 * half[:, 1:2] + 0.114 * half[:, 2:]
        return grey, F.avg_pool2d(half, 2)

    def _resize(self, frames: Tensor) -> Tensor:
        """Frames [F, h, w, 3] uint8 at the working size, still uint8."""
        planes = rearrange(frames, "f h w c -> f c h w").float()
        if frames.shape[1] >= self.size[0] and frames.shape[2] >= self.size[1]:
            planes = F.interpolate(planes, size=self.size, mode="area")
        else:
            planes = F.interpolate(planes, size=self.size, mode="bilinear", align_corners=False)
        return rearrange(planes.round().to(torch.uint8), "f c h w -> f h w c")

    def _chunk(self, grey: Tensor, colour: Tensor) -> _Chunk:
        length = self.snippet_len
        missing = -len(grey) % length
        if missing:
            grey = torch.cat((grey, grey[-1:].expand(missing, -1, -1, -1)))
            colour = torch.cat((colour, colour[-1:].expand(missing, -1, -1, -1)))
        grey, colour, background, colours, shaken = _stabilise(grey, colour)
        before = torch.cat((grey[:1], grey[:-1]))
        noise = float(1.05 * (grey - before)[1:].abs().flatten()[::13].median())
        noise = max(noise, 0.5)
        # groups of a few frames keep every map below within the processor's cache
        group = 2 * length
        maps, bins = [], []
        last = torch.zeros(1, 3, *grey.shape[-2:], device=grey.device)
        # edges of a picture that was shifted back are not quite what they were
        slope = box(_norm(torch.cat(gradients(background), dim=1)), 3)
        shaken = torch.maximum(shaken, torch.cat((shaken[:1], shaken[:-1])))
        parts = (x.split(group) for x in (before, grey, shaken))
        for a, b, c in zip(*parts, strict=True):
            found, shares, last = self._moving(a, b, background, 0.5 * slope * c, noise, last)
            maps.append(found)
            bins.append(shares)
        light = torch.cat(self._light(colour, colours, noise), dim=1)
        states = rearrange(colour, "(t l) c h w -> t l c h w", l=length).median(dim=1).values
        cells = torch.cat((torch.cat(maps), light), dim=1)
        return _Chunk(cells, torch.cat(bins), states, noise)

    def _moving(
        self,
        before: Tensor,
        grey: Tensor,
        background: Tensor,
        doubt: Tensor,
        noise: float,
        last: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first 13 maps and the histograms of some whole snippets.

        Args:
            before, grey: [F, 1, H, W], each frame's predecessor and the frame itself.
            background: [1, 1, H, W].
            doubt: [F, 1, H, W], how much more than usual a pixel may differ without meaning.
            last: [1, 3, H, W], relative flow and moving mask of the frame before the first; what
                is handed back is the same for the next call.
        """
        length = self.snippet_len
        step = grey - before
        change = box(step.abs(), 3)
        moving = (change > 2.2 * noise + 1.0 + doubt).float()
        foreground = (box((grey - background).abs(), 3) > 3.0 * noise + 4.0 + doubt).float()
        foreground = torch.maximum(foreground, moving)
        tall, wide = _extent(foreground)
        flow = box(lucas_kanade(before, grey, noise=noise), 3) * moving
        speed = _norm(flow)
        # the tallest run near by: an arm's own run is short, its body's is not
        height = F.max_pool2d(tall, (11, 1), stride=1, padding=(5, 0))
        height = F.max_pool2d(height, (1, 7), stride=1, padding=(0, 3)).clamp(min=5.0)
        relative = flow / height
        pace = speed / height
        earlier = torch.cat((last[:, :2], relative[:-1]))
        jerk = _norm(relative - earlier) * moving * torch.cat((last[:, 2:], moving[:-1]))

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
            (mean(pace) - _norm(flux)) / some,
            mean(foreground * (1 - moving)),
            mean(moving * (wide / height).clamp(max=6)) / some,
            mean(pace * (wide / height).clamp(max=6)) / some,
            box(mean(jerk), 5),
            _norm(box(flux, 5)) * box(mean(foreground), 5),
            box(body, 5),
        ]
        last = torch.cat((relative[-1:], moving[-1:]), dim=1)
        return torch.cat(maps, dim=1), self._histogram(pace, moving), last

    def _light(self, colour: Tensor, background: Tensor, noise: float) -> list[Tensor]:
        """Flicker, fire and colour maps, on the grid of cells."""
        length = self.snippet_len

        def grid(x: Tensor) -> Tensor:  # the colour picture has half the resolution of the grey
            return F.avg_pool2d(x, CELL // 2)

        light = rearrange(colour.mean(dim=1), "(t l) h w -> t l h w", l=length)
        light = light - light.mean(dim=1, keepdim=True)
        power = torch.fft.rfft(light, dim=1).abs().square() / length**2
        middle = 1 + power.shape[1] // 2
        weight = 0.02 * noise**2 + 0.1
        bands = [
            grid(p.sum(dim=1, keepdim=True)) / weight
            for p in (power[:, 1:middle], power[:, middle:])
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
        return [*bands, burning, snippets(_norm(chroma))]

    def _histogram(self, pace: Tensor, moving: Tensor) -> Tensor:
        """How much of the picture moves at which pace: [T, 6], soft bins, compressed."""
        centres = torch.tensor(SPEED_BINS, device=pace.device)
        place = torch.bucketize(pace.clamp(max=SPEED_BINS[-1]), centres[1:-1].contiguous())
        low, high = centres[place], centres[place + 1]
        up = ((pace - low) / (high - low)).clamp(0, 1) * moving
        bins = torch.zeros(len(pace), len(centres), *pace.shape[2:], device=pace.device)
        bins.scatter_(1, place, moving - up)
        bins.scatter_add_(1, place + 1, up)
        share = reduce(bins, "(t l) c h w -> t c", "mean", l=self.snippet_len)
        return torch.log1p(300 * share) / 2

    def _finish(self, chunks: list[_Chunk]) -> Tensor:
        cells = torch.cat([c.cells for c in chunks])
        histograms = torch.cat([c.histograms for c in chunks])
        states = torch.cat([c.states for c in chunks])
        noise = sum(c.noise for c in chunks) / len(chunks)
        agitation = cells[:, CELL_MAPS.index("agitation")][:, None]
        maps = (cells, _sustained(agitation), _left_behind(states, noise))
        cells = torch.cat(maps, dim=1)
        flat = cells.flatten(2)
        strongest = max(2, flat.shape[2] // 50)
        top = flat.topk(strongest, dim=2).values
        pooled = torch.stack((top[..., 0], top.mean(dim=2)), dim=2)
        scale = _scales(cells.device)
        pooled = pooled * scale
        linear = torch.tensor([name in LINEAR_MAPS for name in CELL_MAPS], device=cells.device)
        pooled = torch.where(linear[:, None], pooled.clamp(max=5.0), torch.log1p(pooled))
        return torch.cat((pooled.flatten(1), histograms), dim=1).float()


def _stabilise(grey: Tensor, colour: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Bring frames to the background's brightness and place.

    Returns:
        frames in grey and colour, the background in grey and colour, and which frames were
        shifted, [F, 1, 1, 1].
    """
    # Only the beginning: in a median over everything, what stands there for most of the video
    # becomes background, and its absence before would be what looks strange.
    start = slice(0, max(48, len(grey) // 3))
    every = max(1, len(grey[start]) // 60)
    level = grey.mean(dim=(2, 3), keepdim=True).clamp(min=1.0)
    mean_level = level.mean()
    background = (grey[start] / level[start] * mean_level)[::every]
    background = background.median(dim=0, keepdim=True).values
    ratio = (grey / background.clamp(min=4.0)).flatten(1)[:, ::5]
    gain = ratio.median(dim=1).values.clamp(0.2, 5.0)[:, None, None, None]
    grey, colour = grey / gain, colour / gain
    shift = global_shift(grey, background)
    shift = torch.where(_norm(shift) > 0.12, shift, torch.zeros_like(shift))
    shaken = shift.abs().sum(dim=1) > 0
    if shaken.any():
        field = shift[shaken][:, :, None, None]
        grey[shaken] = warp(grey[shaken], field.expand(-1, -1, *grey.shape[2:]))
        colour[shaken] = warp(colour[shaken], field.expand(-1, -1, *colour.shape[2:]) / 2)
    background = grey[start][::every].median(dim=0, keepdim=True).values
    colours = colour[start][::every].median(dim=0, keepdim=True).values
    return grey, colour, background, colours, shaken.float()[:, None, None, None]


def _norm(x: Tensor) -> Tensor:
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


def _sustained(agitation: Tensor) -> Tensor:
    """What a snippet shares with the snippet before or after it at the same place, [T, 1, h, w].

    People who pass are elsewhere a snippet later; people who fight are not.
    """
    if len(agitation) == 1:
        return agitation
    wide = F.max_pool2d(agitation, 3, stride=1, padding=1)
    both = torch.minimum(wide[1:], wide[:-1])
    first = torch.minimum(agitation, torch.cat((both, both[-1:])))
    return torch.maximum(first, torch.minimum(agitation, torch.cat((both[:1], both))))


def _left_behind(states: Tensor, noise: float) -> Tensor:
    """Maps of what stands still now and was not there in the beginning, [T, 2, rows, columns].

    Args:
        states: [T, 3, h, w], the median picture of each snippet.
        noise: of the sensor; what differs by less is the same.
    """
    total = len(states)
    beginning = states[: max(1, min(total // 4, 40))].median(dim=0).values
    tolerance = 0.6 * noise + 5.0

    def differs(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean(dim=1, keepdim=True)

    new = differs(states, beginning[None])
    same = torch.zeros_like(new)  # as it was a snippet before
    same[1:] = (differs(states[1:], states[:-1]) < 1.5 * tolerance).float()
    there = (new > tolerance).float()
    # how many snippets it has been there, and will be: a run that somebody who walks by in front
    # interrupts goes on with half of its count
    since, until = torch.zeros_like(new), torch.zeros_like(new)
    count = torch.zeros_like(new[:1])
    for t in range(total):
        count = torch.where((there[t] * same[t])[None] > 0, count + 1, count * 0.5)
        since[t] = count[0]
    count = torch.zeros_like(count)
    for t in reversed(range(total)):
        again = there[t] * (same[t + 1] if t + 1 < total else same[t])
        count = torch.where(again[None] > 0, count + 1, count * 0.5)
        until[t] = count[0]
    steady = there * torch.maximum(since, until).clamp(max=1)
    left = (new - tolerance).clamp(0, 30) * steady / 10
    lasting = ((since + until - 3) / 4).clamp(0, 1)
    return F.avg_pool2d(torch.cat((left, left * lasting), dim=1), CELL // 2)


def _scales(device: torch.device) -> Tensor:
    """Factors that bring each map's usual values near 1: [maps, 1]."""
    scales = {
        "moving": 4.0, "change": 0.5, "speed": 0.5, "speed_peak": 0.5, "pace": 9.0,
        "pace_peak": 9.0, "jerk": 12.0, "turmoil": 12.0, "still": 4.0, "wide": 1.0,
        "wide_pace": 8.0, "agitation": 120.0, "mass": 33.0, "bulk": 4.0, "flicker_slow": 0.05,
        "flicker_quick": 0.1, "burning": 2.0, "colour": 2.0,
        "sustained": 120.0, "left": 3.0, "left_long": 6.0,
    }  # fmt: skip
    return torch.tensor([scales[name] for name in CELL_MAPS], device=device)[:, None]
