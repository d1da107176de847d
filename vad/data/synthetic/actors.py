"""What moves in a synthetic clip: people, a cart, a fire, a bag. Each draws itself as a sprite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

FINE = (
    3  # sprites are drawn this much larger and averaged down, for smooth edges and sub-pixel steps
)
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in frame pixels

SHIRTS: tuple[Colour, ...] = (
    (52, 58, 70),
    (120, 42, 40),
    (44, 74, 110),
    (186, 182, 172),
    (70, 88, 62),
    (150, 118, 60),
    (92, 70, 96),
    (34, 34, 38),
    (176, 96, 70),
    (110, 116, 122),
)
TROUSERS: tuple[Colour, ...] = (
    (40, 42, 50),
    (52, 60, 82),
    (86, 78, 66),
    (30, 30, 34),
    (70, 72, 74),
)
SKIN: tuple[Colour, ...] = ((190, 150, 124), (150, 108, 82), (104, 74, 56), (206, 170, 146))
HAIR: tuple[Colour, ...] = ((36, 30, 28), (70, 50, 34), (120, 98, 66), (90, 88, 86))


class Sprite:
    """A drawing surface for one actor in one frame, placed with sub-pixel accuracy."""

    def __init__(self, x: float, y: float, half_width: float, above: float, below: float) -> None:
        """The surface reaches `half_width` to both sides of (x, y), and above and below it."""
        self.x0, self.y0 = math.floor(x - half_width), math.floor(y - above)
        self.width = math.ceil(2 * half_width) + 2
        self.height = math.ceil(above + below) + 2
        size = (self.width * FINE, self.height * FINE)
        self.image = Image.new("RGBA", size, (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)
        self._origin = ((x - self.x0) * FINE, (y - self.y0) * FINE)

    def at(self, dx: float, dy: float) -> tuple[float, float]:
        """Frame pixels relative to (x, y), dy upwards, in surface pixels."""
        return self._origin[0] + dx * FINE, self._origin[1] - dy * FINE

    def limb(self, points: list[tuple[float, float]], thickness: float, fill: Colour) -> None:
        """A line with round joints and ends."""
        placed = [self.at(*p) for p in points]
        width = max(2, round(thickness * FINE))
        self.draw.line(placed, fill=(*fill, 255), width=width)
        r = width / 2
        for x, y in placed:
            self.draw.ellipse([x - r, y - r, x + r, y + r], fill=(*fill, 255))

    def ellipse(self, dx: float, dy: float, rx: float, ry: float, fill: Colour) -> None:
        x, y = self.at(dx, dy)
        box = [x - rx * FINE, y - ry * FINE, x + rx * FINE, y + ry * FINE]
        self.draw.ellipse(box, fill=(*fill, 255))

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        self.draw.polygon([self.at(*p) for p in points], fill=(*fill, 255))

    def blend(self, frame: np.ndarray, light: float = 1.0) -> None:
        """Lay the sprite over a float frame [H, W, 3], in place."""
        small = np.asarray(self.image.reduce(FINE), dtype=np.float32)
        x0, y0 = max(0, self.x0), max(0, self.y0)
        x1 = min(frame.shape[1], self.x0 + self.width)
        y1 = min(frame.shape[0], self.y0 + self.height)
        if x0 >= x1 or y0 >= y1:
            return
        small = small[y0 - self.y0 : y1 - self.y0, x0 - self.x0 : x1 - self.x0]
        alpha = small[..., 3:] / 255
        part = frame[y0:y1, x0:x1]
        part += alpha * (small[..., :3] * light - part)


def shadow(frame: np.ndarray, x: float, y: float, rx: float, ry: float, depth: float) -> None:
    """Darken a soft ellipse on the ground, in place."""
    x0, x1 = max(0, math.floor(x - rx)), min(frame.shape[1], math.ceil(x + rx) + 1)
    y0, y1 = max(0, math.floor(y - ry)), min(frame.shape[0], math.ceil(y + ry) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    dx = (np.arange(x0, x1, dtype=np.float32) - x) / rx
    dy = (np.arange(y0, y1, dtype=np.float32) - y) / ry
    inside = np.clip(1 - dx[None] ** 2 - dy[:, None] ** 2, 0, 1)
    frame[y0:y1, x0:x1] *= (1 - depth * inside)[..., None]


@dataclass
class Pose:
    """How a body is held in one frame."""

    phase: float = 0.0  # of the gait, in turns; one turn is two steps
    stride: float = 0.0  # 0 stands, 1 walks, about 1.7 runs
    facing: float = 1.0  # 1 to the right, -1 to the left; near 0 towards or away from the camera
    lean: float = 0.0  # of the trunk, in radians, forwards
    crouch: float = 0.0  # 0 upright, 1 squats
    arms: tuple[float, float] | None = None  # angles when the arms do not swing with the gait
    carries: bool = False  # holds a bag in the hand


@dataclass
class Look:
    """What a person wears."""

    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    build: float = 1.0
    backpack: Colour | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        def pick(options: tuple[Colour, ...]) -> Colour:
            jitter = rng.integers(-10, 11)
            return tuple(
                int(np.clip(c + jitter, 5, 250)) for c in options[rng.integers(len(options))]
            )  # type: ignore[return-value]

        backpack = pick(SHIRTS) if rng.random() < 0.25 else None
        return cls(
            pick(SHIRTS),
            pick(TROUSERS),
            pick(SKIN),
            pick(HAIR),
            float(rng.uniform(0.92, 1.08)),
            backpack,
        )


def draw_person(
    frame: np.ndarray, x: float, y: float, height: float, look: Look, pose: Pose, light: float
) -> Box:
    """Draw a person with feet at (x, y) and return the box around the body."""
    h = height * look.build
    side = float(np.clip(abs(pose.facing), 0.25, 1.0))  # foreshortening of the stride
    sign = 1.0 if pose.facing >= 0 else -1.0
    turn = 2 * math.pi * pose.phase
    swing = 0.42 * pose.stride * math.sin(turn) * side
    bounce = 0.012 * h * pose.stride * abs(math.cos(turn))
    hip_y = h * (0.50 - 0.22 * pose.crouch) + bounce
    shadow(frame, x + 0.06 * h, y - 0.01 * h, 0.24 * h, 0.075 * h, 0.38)
    sprite = Sprite(x, y, 0.54 * h, 1.06 * h, 0.08 * h)

    def leg(angle: float, bend: float, spread: float, shade: float) -> None:
        thigh, shin = 0.26 * h, 0.26 * h
        knee = (sign * thigh * math.sin(angle) + spread, hip_y - thigh * math.cos(angle))
        low = angle - bend
        foot_y = knee[1] - shin * math.cos(low)
        foot = (knee[0] + sign * shin * math.sin(low), max(0.0, foot_y))
        tone = _tone(look.trousers, shade)
        sprite.limb([(spread * 0.5, hip_y), knee, foot], 0.085 * h, tone)
        toe = (foot[0] + sign * 0.055 * h * side, foot[1] + 0.01 * h)
        sprite.limb([foot, toe], 0.05 * h, _tone((34, 30, 30), shade))

    apart = 0.035 * h * (1.3 - side)
    squat = 1.1 * pose.crouch
    knee_a = 0.25 * pose.stride + 0.75 * pose.stride * max(0.0, math.sin(turn + 1.9)) + 2 * squat
    knee_b = 0.25 * pose.stride + 0.75 * pose.stride * max(0.0, -math.sin(turn + 1.9)) + 2 * squat
    top = (sign * 0.32 * h * math.sin(pose.lean), hip_y + 0.32 * h * math.cos(pose.lean))

    def arm(angle: float, bend: float, shade: float, shift: float) -> tuple[float, float]:
        upper, fore = 0.17 * h, 0.16 * h
        elbow = (top[0] + shift + sign * upper * math.sin(angle), top[1] - upper * math.cos(angle))
        hand = (
            elbow[0] + sign * fore * math.sin(angle + bend),
            elbow[1] - fore * math.cos(angle + bend),
        )
        sprite.limb(
            [(top[0] + shift, top[1] - 0.02 * h), elbow, hand], 0.062 * h, _tone(look.shirt, shade)
        )
        sprite.ellipse(*hand, 0.032 * h, 0.032 * h, _tone(look.skin, shade))
        return hand

    bend = 0.25 + 0.7 * max(0.0, pose.stride - 1)
    far, near = pose.arms if pose.arms is not None else (-swing * 1.1, swing * 1.1)
    wide = 0.07 * h * (1.25 - side)
    arm(far, bend, 0.78, -wide)
    leg(-swing + squat, knee_b, -apart, 0.8)
    leg(swing + squat, knee_a, apart, 1.0)
    hip = (0.0, hip_y)
    if look.backpack is not None and side > 0.5:
        back = (top[0] - sign * 0.12 * h, top[1] - 0.10 * h)
        sprite.ellipse(*back, 0.075 * h, 0.12 * h, look.backpack)
    chest = (0.145 + 0.07 * (1 - side)) * h
    sprite.limb([(hip[0], hip[1] + 0.03 * h), (top[0], top[1] - 0.045 * h)], chest, look.shirt)
    hand = arm(near, bend, 1.08, wide)
    head = (top[0] + sign * 0.03 * h * side, top[1] + 0.115 * h)
    sprite.limb([top, head], 0.05 * h, look.skin)
    sprite.ellipse(*head, 0.062 * h, 0.078 * h, look.skin)
    sprite.ellipse(
        head[0] - sign * 0.014 * h * side, head[1] + 0.022 * h, 0.064 * h, 0.064 * h, look.hair
    )
    if pose.carries:
        draw_bag_on(sprite, hand[0], hand[1] - 0.11 * h, h)
    sprite.blend(frame, light)
    crown = head[1] + 0.09 * h
    reach = max(0.2 * h, abs(0.5 * h * math.sin(swing)) + 0.08 * h)
    if pose.arms is not None:
        reach = max(reach, 0.36 * h)
    return (x - reach, y - crown, x + reach, y + 0.04 * h)


BAG: Colour = (44, 36, 34)


def draw_bag_on(sprite: Sprite, dx: float, dy: float, h: float, colour: Colour = BAG) -> None:
    """A holdall whose middle is at (dx, dy) of the sprite; `h` is the height of its owner."""
    w, d = 0.15 * h, 0.10 * h
    sprite.limb(
        [(dx - 0.07 * h, dy + d), (dx, dy + d + 0.06 * h), (dx + 0.07 * h, dy + d)],
        0.022 * h,
        _tone(colour, 0.8),
    )
    sprite.polygon(
        [(dx - w, dy - d), (dx + w, dy - d), (dx + w * 0.92, dy + d), (dx - w * 0.92, dy + d)],
        colour,
    )
    sprite.polygon(
        [
            (dx - w, dy + d * 0.25),
            (dx + w, dy + d * 0.25),
            (dx + w, dy + d * 0.45),
            (dx - w, dy + d * 0.45),
        ],
        _tone(colour, 1.7),
    )


def draw_bag(
    frame: np.ndarray, x: float, y: float, height: float, colour: Colour, light: float
) -> Box:
    """A bag on the ground at (x, y), where a person would be `height` tall."""
    shadow(frame, x + 0.03 * height, y, 0.24 * height, 0.06 * height, 0.45)
    sprite = Sprite(x, y, 0.3 * height, 0.4 * height, 0.1 * height)
    draw_bag_on(sprite, 0, 0.10 * height, height, colour)
    sprite.blend(frame, light)
    return (x - 0.16 * height, y - 0.27 * height, x + 0.16 * height, y + 0.02 * height)


def draw_cart(
    frame: np.ndarray,
    x: float,
    y: float,
    height: float,
    facing: float,
    travelled: float,
    colour: Colour,
    van: bool,
    light: float,
) -> Box:
    """A small vehicle seen from the side: a delivery van, or an open cart with a driver."""
    h, sign = height, 1.0 if facing >= 0 else -1.0
    length = (1.75 if van else 1.45) * h
    roof = (1.12 if van else 1.02) * h
    shadow(frame, x, y - 0.02 * h, 0.62 * length, 0.11 * h, 0.5)
    sprite = Sprite(x, y, 0.58 * length, 1.25 * h, 0.1 * h)

    def flip(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(sign * px * length, py * h) for px, py in points]

    dark, pale = _tone(colour, 0.7), _tone(colour, 1.25)
    glass: Colour = (70, 84, 96)
    if van:
        body = [(-0.5, 0.2), (0.5, 0.2), (0.5, 0.55), (0.36, 0.98), (0.28, 1.08), (-0.5, 1.08)]
        sprite.polygon(flip(body), colour)
        sprite.polygon(flip([(-0.5, 0.2), (0.5, 0.2), (0.5, 0.34), (-0.5, 0.34)]), dark)
        sprite.polygon(flip([(0.16, 0.62), (0.42, 0.62), (0.33, 0.95), (0.16, 0.95)]), glass)
        sprite.polygon(flip([(-0.44, 0.70), (0.1, 0.70), (0.1, 0.76), (-0.44, 0.76)]), pale)
    else:
        sprite.polygon(flip([(-0.5, 0.2), (0.5, 0.2), (0.46, 0.48), (-0.5, 0.44)]), colour)
        sprite.polygon(flip([(-0.5, 0.2), (0.5, 0.2), (0.5, 0.28), (-0.5, 0.28)]), dark)
        for px in (-0.42, 0.36):
            sprite.limb(flip([(px, 0.45), (px * 0.9, roof / h - 0.03)]), 0.035 * h, (60, 60, 62))
        sprite.limb(flip([(-0.1, 0.45), (-0.12, 0.78)]), 0.17 * h, (70, 80, 100))
        sprite.ellipse(sign * -0.1 * length, 0.92 * h, 0.065 * h, 0.075 * h, (186, 150, 124))
        sprite.polygon(flip([(-0.47, 0.97), (0.42, 0.97), (0.42, 1.04), (-0.47, 1.04)]), pale)
    for px in (-0.31, 0.31):
        wx, r = sign * px * length, 0.17 * h
        sprite.ellipse(wx, r, r, r, (26, 26, 28))
        sprite.ellipse(wx, r, 0.5 * r, 0.5 * r, (120, 120, 124))
        spin = sign * travelled / r
        spoke = (0.5 * r * math.cos(spin), -0.5 * r * math.sin(spin))
        sprite.limb(
            [(wx - spoke[0], r - spoke[1]), (wx + spoke[0], r + spoke[1])], 0.05 * h, (60, 60, 64)
        )
    sprite.ellipse(sign * 0.49 * length, 0.42 * h, 0.04 * h, 0.05 * h, (232, 226, 190))
    sprite.blend(frame, light)
    return (x - 0.5 * length, y - roof - 0.02 * h, x + 0.5 * length, y + 0.02 * h)


@dataclass
class Fire:
    """Flames of many soft tongues, each with its own flicker, and smoke above them."""

    x: float
    y: float
    size: float  # of the flames when fully alight, pixels
    rng: np.random.Generator
    tongues: np.ndarray = field(init=False)
    smoke: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = 14
        self.tongues = np.stack(
            [self.rng.uniform(-0.55, 0.55, n), self.rng.uniform(0.4, 1.0, n), self.rng.random(n)], 1
        )

    def draw(self, frame: np.ndarray, strength: float) -> Box:
        """Draw the next frame of the fire; `strength` 0 to 1."""
        s = self.size * (0.35 + 0.65 * strength)
        flicker = self.tongues[:, 2]
        # a first-order process: each tongue forgets its height within two or three frames
        flicker += 0.62 * (self.rng.random(len(flicker)) - flicker)
        height, width = frame.shape[:2]
        pad = 1.7 * s
        x0, x1 = max(0, int(self.x - pad)), min(width, int(self.x + pad) + 1)
        y0, y1 = max(0, int(self.y - 2.4 * s)), min(height, int(self.y + 0.5 * s) + 1)
        xs = np.arange(x0, x1, dtype=np.float32)[None]
        ys = np.arange(y0, y1, dtype=np.float32)[:, None]
        heat = np.zeros((y1 - y0, x1 - x0), np.float32)
        for (dx, tall, _), level in zip(self.tongues, flicker, strict=True):
            reach = s * tall * (0.45 + 0.85 * level) * (1.15 - abs(dx))
            cx = self.x + dx * s * 0.75 + 0.14 * s * (level - 0.5)
            up = np.clip((self.y - ys) / max(reach, 1), -0.4, 1.4)
            spread = 0.25 * s * np.clip(1.05 - up, 0.1, 1.2)
            body = np.exp(-(((xs - cx) / spread) ** 2)) * np.clip(1.1 - up, 0, 1)
            heat = np.maximum(heat, body * (up > -0.25))
        heat *= strength
        glow = strength * (0.7 + 0.3 * float(flicker.mean()))
        near = np.exp(-(((xs - self.x) / (1.3 * s)) ** 2 + ((ys - self.y) / (0.9 * s)) ** 2))
        part = frame[y0:y1, x0:x1]
        part += (near * glow * 46)[..., None] * np.array([1.0, 0.55, 0.16], np.float32)
        alpha = np.clip(heat * 1.5, 0, 1)[..., None]
        hot = np.clip(heat * 1.25, 0, 1)[..., None]
        colour = np.concatenate([190 + 62 * hot, 62 + 165 * hot**1.4, 18 + 130 * hot**3], axis=-1)
        part *= 1 - alpha
        part += alpha * colour
        self._smoke(frame, s, strength)
        return (self.x - 0.75 * s, self.y - 1.25 * s, self.x + 0.75 * s, self.y + 0.2 * s)

    def _smoke(self, frame: np.ndarray, s: float, strength: float) -> None:
        if self.rng.random() < 0.5 * strength:
            self.smoke.append(
                [self.x + self.rng.normal() * 0.2 * s, self.y - 1.1 * s, 0.4 * s, 0.0]
            )
        for puff in self.smoke:
            puff[0] += 0.06 * s + 0.05 * s * self.rng.normal()
            puff[1] -= 0.11 * s
            puff[2] += 0.05 * s
            puff[3] += 1
            fade = 0.42 * strength * max(0.0, 1 - puff[3] / 26)
            r = puff[2]
            x0, x1 = max(0, int(puff[0] - r)), min(frame.shape[1], int(puff[0] + r) + 1)
            y0, y1 = max(0, int(puff[1] - r)), min(frame.shape[0], int(puff[1] + r) + 1)
            if x0 >= x1 or y0 >= y1:
                continue
            dx = (np.arange(x0, x1, dtype=np.float32) - puff[0]) / r
            dy = (np.arange(y0, y1, dtype=np.float32) - puff[1]) / r
            alpha = fade * np.clip(1 - dx[None] ** 2 - dy[:, None] ** 2, 0, 1)[..., None]
            frame[y0:y1, x0:x1] += alpha * (72 - frame[y0:y1, x0:x1])
        self.smoke = [puff for puff in self.smoke if puff[3] < 26]


def _tone(colour: Colour, factor: float) -> Colour:
    return tuple(min(255, round(c * factor)) for c in colour)  # type: ignore[return-value]
