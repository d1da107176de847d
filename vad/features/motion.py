"""The built-in motion descriptor: one vector per snippet, from raw video, without any weights.

What it looks at, in a fixed camera's picture of people:

1. *Stabilise.* Every frame is brought to the brightness of the video's background (a median over
   the beginning) and shifted so that a shaking camera stands still.
2. *Per pixel and frame*, at half the working size: foreground (differs from the background), moving
   (differs from the frame before), optical flow (`flow.py`), and the height and width of the
   foreground around the pixel. Flow divided by that height is a speed in body heights per frame:
   it means the same near and far from the camera.
3. *Per cell* (4x4 of those pixels) *and snippet*: the maps of `CELL_MAPS` (`motion_maps.py`).
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
from einops import rearrange
from torch import Tensor

from vad.features.map_names import CELL_MAPS
from vad.features.motion_maps import (
    CELL,
    LEAST_NOISE,
    SPEED_BINS,
    aligned,
    doubt,
    light_maps,
    moving_maps,
    scaled,
    sensor_noise,
    shrunk,
)

CHUNK_SNIPPETS = 128  # a longer video gets a background of its own for each so many snippets
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
            small, tiny = shrunk(self._prepared(block))
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

    def _prepared(self, block: Tensor) -> Tensor:
        """Frames on the device and at the working size, uint8 [F, H, W, 3]."""
        frames = block.to(self.device)
        if tuple(frames.shape[1:3]) == self.size:
            return frames
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
        noise = max(float(sensor_noise(grey)), LEAST_NOISE)
        # groups of a few frames keep every map below within the processor's cache
        group = 2 * length
        maps, bins = [], []
        last = torch.zeros(1, 3, *grey.shape[-2:], device=grey.device)
        parts = (x.split(group) for x in (before, grey, doubt(background, shaken)))
        for a, b, c in zip(*parts, strict=True):
            found, shares, last = moving_maps(
                a, b, background, doubt=c, noise=noise, last=last, length=length
            )
            maps.append(found)
            bins.append(shares)
        light = torch.cat(light_maps(colour, colours, noise=noise, length=length), dim=1)
        states = rearrange(colour, "(t l) c h w -> t l c h w", l=length).median(dim=1).values
        cells = torch.cat((torch.cat(maps), light), dim=1)
        return _Chunk(cells, torch.cat(bins), states, noise)

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
        pooled = scaled(pooled, CELL_MAPS)
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
    grey, colour, shaken = aligned(grey, colour, background)
    background = grey[start][::every].median(dim=0, keepdim=True).values
    colours = colour[start][::every].median(dim=0, keepdim=True).values
    return grey, colour, background, colours, shaken


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
