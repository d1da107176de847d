"""Places for synthetic clips: a textured static background and the perspective of its camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SCENE_NAMES = ("plaza", "street", "hall", "park")
MARGIN = 4  # pixels rendered beyond each edge, so that a shaking camera has something to show


@dataclass(frozen=True)
class Scene:
    """One camera. Sizes are in pixels of the frame, positions those of feet on the ground."""

    name: str
    width: int
    height: int
    background: np.ndarray  # [H + 2M, W + 2M, 3] float32, 0 to 255
    top: float  # feet are between these rows
    bottom: float
    far_height: float  # of a person with feet at `top`
    near_height: float  # and at `bottom`
    sign: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 of a sign that blinks slowly
    tree: tuple[int, int, int, int] | None = None  # foliage that moves in the wind

    def person_height(self, y: float) -> float:
        """Pixels from sole to crown for feet at row y; grows towards the camera."""
        share = (y - self.top) / (self.bottom - self.top)
        return self.far_height + (self.near_height - self.far_height) * share


def make_scene(name: str, width: int, height: int, rng: np.random.Generator) -> Scene:
    """Build a scene; the same generator state gives the same picture."""
    builders = {"plaza": _plaza, "street": _street, "hall": _hall, "park": _park}
    return builders[name](width, height, rng)


def texture(
    height: int, width: int, rng: np.random.Generator, octaves: tuple[int, ...] = (4, 9, 20, 45)
) -> np.ndarray:
    """Smooth noise of several grain sizes: [height, width] float32, about -1 to 1."""
    total = np.zeros((height, width), dtype=np.float32)
    for i, cells in enumerate(octaves):
        rows = max(2, cells * height // max(height, width))
        grid = rng.normal(size=(rows + 1, cells + 1)).astype(np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) / (i + 1.3)
    return total / 2.2


class _Canvas:
    """A picture in the making, in frame pixels times two for clean edges."""

    scale = 2

    def __init__(self, width: int, height: int, colour: tuple[int, int, int]) -> None:
        self.width, self.height = width, height
        size = ((width + 2 * MARGIN) * self.scale, (height + 2 * MARGIN) * self.scale)
        self.image = Image.new("RGB", size, colour)
        self.draw = ImageDraw.Draw(self.image)

    def points(self, *xy: tuple[float, float]) -> list[tuple[float, float]]:
        """From shares of the frame (0 to 1) to canvas pixels."""
        s = self.scale
        return [((x * self.width + MARGIN) * s, (y * self.height + MARGIN) * s) for x, y in xy]

    def polygon(self, *xy: tuple[float, float], fill: tuple[int, int, int]) -> None:
        self.draw.polygon(self.points(*xy), fill=fill)

    def line(
        self, a: tuple[float, float], b: tuple[float, float], fill: tuple[int, int, int], width: int
    ) -> None:
        self.draw.line(self.points(a, b), fill=fill, width=width)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: tuple[int, int, int]) -> None:
        (a, b) = self.points((x0, y0), (x1, y1))
        self.draw.rectangle([*a, *b], fill=fill)

    def floor_grid(
        self, horizon: float, fill: tuple[int, int, int], rows: int, columns: int
    ) -> None:
        """Paving joints that run towards a vanishing point above the horizon."""
        for i in range(rows):
            y = horizon + (1.02 - horizon) * ((i + 1) / rows) ** 1.9
            self.line((-0.1, y), (1.1, y), fill, 1)
        for i in range(-columns, 2 * columns + 1):
            x = i / columns
            self.line((0.5 + (x - 0.5) * 2.2, 1.05), (0.5 + (x - 0.5) * 0.75, horizon), fill, 1)

    def done(self, rng: np.random.Generator, grain: float, fade: float = 0.0) -> np.ndarray:
        """The picture as float32 with surface texture, corner shading, and haze towards the top."""
        size = (self.width + 2 * MARGIN, self.height + 2 * MARGIN)
        picture = np.asarray(self.image.resize(size, Image.Resampling.BOX), dtype=np.float32)
        height, width = picture.shape[:2]
        coarse = texture(height, width, rng)
        fine = rng.normal(size=(height, width)).astype(np.float32)
        picture = picture * (1 + 0.07 * coarse + grain * fine)[..., None]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        shade = 1 - 0.16 * (x**2 + y**2) / 2
        haze = fade * np.clip(-y, 0, 1)[..., None]
        picture = picture * shade[..., None] * (1 - haze) + 150 * haze
        return np.clip(picture, 4, 250).astype(np.float32)


def _plaza(width: int, height: int, rng: np.random.Generator) -> Scene:
    c = _Canvas(width, height, (128, 124, 116))
    c.box(-0.1, -0.1, 1.1, 0.30, (96, 88, 82))  # facade
    for i in range(7):
        x = 0.02 + i * 0.145
        c.box(x, 0.03, x + 0.085, 0.125, (58, 66, 78))
        c.box(x, 0.16, x + 0.085, 0.255, (66, 74, 84))
        c.line((x, 0.21), (x + 0.085, 0.21), (104, 98, 92), 1)
    c.box(0.44, 0.14, 0.56, 0.31, (46, 40, 38))  # entrance
    c.box(-0.1, 0.295, 1.1, 0.33, (112, 106, 98))
    c.floor_grid(0.33, (108, 104, 97), 9, 10)
    for x in (0.16, 0.82):  # planters
        c.box(x - 0.055, 0.335, x + 0.055, 0.385, (88, 74, 62))
        c.draw.ellipse(
            [*c.points((x - 0.06, 0.26), (x + 0.06, 0.36))[0], *c.points((x + 0.06, 0.36))[0]],
            fill=(62, 84, 56),
        )
    picture = c.done(rng, 0.022, 0.1)
    return Scene(
        "plaza", width, height, picture, 0.42 * height, 0.97 * height, 0.17 * height, 0.34 * height
    )


def _street(width: int, height: int, rng: np.random.Generator) -> Scene:
    c = _Canvas(width, height, (118, 117, 115))
    c.polygon((-0.1, -0.1), (1.1, -0.1), (1.1, 0.20), (-0.1, 0.34), fill=(132, 112, 96))  # shops
    for i, tone in enumerate(((70, 84, 92), (92, 62, 56), (62, 74, 60), (84, 80, 96))):
        x = -0.02 + i * 0.27
        drop = 0.31 - 0.115 * (x + 0.1)
        c.polygon((x, 0.09), (x + 0.2, 0.075), (x + 0.2, drop - 0.035), (x, drop - 0.01), fill=tone)
        c.polygon(
            (x - 0.01, 0.05),
            (x + 0.21, 0.035),
            (x + 0.21, 0.085),
            (x - 0.01, 0.10),
            fill=(tone[2] + 40, tone[0] + 20, tone[1] + 10),
        )
    c.polygon((-0.1, 0.34), (1.1, 0.20), (1.1, 0.225), (-0.1, 0.365), fill=(88, 86, 84))
    for i in range(12):  # slabs of the pavement
        x = -0.6 + i * 0.16
        c.line((x, 0.40 - 0.1 * x), (x + 0.5, 1.1), (106, 105, 103), 1)
    for y in (0.45, 0.56, 0.70, 0.88):
        c.line((-0.1, y + 0.02), (1.1, y - 0.06), (106, 105, 103), 1)
    c.box(0.885, 0.05, 0.90, 0.42, (52, 54, 56))  # lamp post
    c.box(0.86, 0.03, 0.925, 0.055, (64, 66, 68))
    picture = c.done(rng, 0.025, 0.05)
    sign = (round(0.27 * width), round(0.055 * height), round(0.42 * width), round(0.09 * height))
    return Scene(
        "street",
        width,
        height,
        picture,
        0.40 * height,
        0.96 * height,
        0.19 * height,
        0.38 * height,
        sign=sign,
    )


def _hall(width: int, height: int, rng: np.random.Generator) -> Scene:
    c = _Canvas(width, height, (150, 149, 144))
    c.polygon((-0.1, -0.1), (0.22, -0.1), (0.22, 0.30), (-0.1, 0.60), fill=(118, 120, 118))
    c.polygon((1.1, -0.1), (0.80, -0.1), (0.80, 0.30), (1.1, 0.58), fill=(110, 112, 112))
    c.box(0.22, -0.1, 0.80, 0.30, (128, 130, 128))
    c.box(0.40, 0.05, 0.62, 0.30, (74, 80, 86))  # doors
    c.line((0.51, 0.05), (0.51, 0.30), (130, 132, 130), 2)
    for x in (0.27, 0.69):
        c.box(x, 0.08, x + 0.08, 0.2, (156, 130, 70))  # posters
    c.floor_grid(0.30, (136, 135, 131), 8, 8)
    for x in (0.3, 0.5, 0.7):  # reflections of the lamps
        c.polygon(
            (x - 0.012, 0.36),
            (x + 0.012, 0.36),
            (x + 0.035 + (x - 0.5) * 0.5, 0.95),
            (x - 0.035 + (x - 0.5) * 0.5, 0.95),
            fill=(163, 162, 157),
        )
    for x in (0.10, 0.91):  # columns
        c.box(x - 0.03, -0.1, x + 0.03, 0.52, (140, 138, 132))
        c.box(x - 0.035, 0.5, x + 0.035, 0.54, (112, 110, 106))
    picture = c.done(rng, 0.012)
    return Scene(
        "hall", width, height, picture, 0.38 * height, 0.98 * height, 0.18 * height, 0.42 * height
    )


def _park(width: int, height: int, rng: np.random.Generator) -> Scene:
    c = _Canvas(width, height, (92, 104, 70))
    c.box(-0.1, -0.1, 1.1, 0.16, (124, 134, 142))
    for i in range(14):  # far trees
        x, r = -0.05 + i * 0.085, 0.07 + 0.025 * rng.random()
        tone = int(rng.integers(-10, 12))
        c.draw.ellipse(
            [*c.points((x - r, 0.19 - 1.5 * r))[0], *c.points((x + r, 0.24))[0]],
            fill=(56 + tone, 72 + tone, 52 + tone),
        )
    c.polygon((-0.1, 0.47), (1.1, 0.36), (1.1, 0.80), (-0.1, 1.02), fill=(152, 142, 124))  # path
    c.line((-0.1, 0.47), (1.1, 0.36), (120, 114, 96), 3)
    c.line((-0.1, 1.02), (1.1, 0.80), (120, 114, 96), 3)
    c.box(0.58, 0.30, 0.76, 0.325, (84, 62, 46))  # bench
    c.box(0.60, 0.325, 0.615, 0.36, (54, 44, 36))
    c.box(0.725, 0.325, 0.74, 0.36, (54, 44, 36))
    c.box(0.115, 0.10, 0.14, 0.46, (70, 56, 44))  # near trunk
    picture = c.done(rng, 0.035, 0.12)
    tree = (round(-0.01 * width) + MARGIN, MARGIN, round(0.30 * width), round(0.26 * height))
    x0, y0, x1, y1 = tree
    leaves = texture(y1 - y0, x1 - x0, rng, (6, 14, 30))
    y, x = np.mgrid[-1 : 1 : (y1 - y0) * 1j, -1 : 1 : (x1 - x0) * 1j]
    crown = ((x**2 + y**2 + 0.25 * leaves) < 0.9)[..., None]
    green = np.array([58, 80, 46], np.float32) * (1 + 0.5 * leaves[..., None])
    picture[y0:y1, x0:x1] = np.where(crown, green, picture[y0:y1, x0:x1])
    return Scene(
        "park",
        width,
        height,
        picture,
        0.46 * height,
        0.92 * height,
        0.20 * height,
        0.33 * height,
        tree=tree,
    )
