"""One synthetic clip: ordinary life in a scene, perhaps an anomaly, and what the camera adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vad.data.manifest import Track
from vad.data.synthetic import motion
from vad.data.synthetic.actors import (
    Box,
    Colour,
    Fire,
    Look,
    draw_bag,
    draw_cart,
    draw_person,
)
from vad.data.synthetic.scenes import MARGIN, Scene, make_scene

CLASSES = ("Runner", "Fight", "Vehicle", "Fire", "Abandoned")
KEYFRAME_EVERY = 4
_BAGS: tuple[Colour, ...] = ((34, 34, 38), (130, 40, 40), (36, 62, 104), (200, 150, 40))
_FLEET: tuple[Colour, ...] = ((176, 176, 168), (58, 104, 78), (150, 54, 44), (64, 84, 128))


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """What a clip will show. `kind` is a class of `CLASSES`, or empty for a normal clip."""

    key: str
    split: str
    scene: str
    kind: str
    num_frames: int
    width: int
    height: int
    fps: int


@dataclass
class Event:
    """An anomaly: frames [start, end), and the box around it in each of them."""

    start: int
    end: int
    boxes: dict[int, Box] = field(default_factory=dict)

    def note(self, frame: int, box: Box) -> None:
        if not self.start <= frame < self.end:
            return
        if frame in self.boxes:
            old = self.boxes[frame]
            box = (
                min(old[0], box[0]),
                min(old[1], box[1]),
                max(old[2], box[2]),
                max(old[3], box[3]),
            )
        self.boxes[frame] = box


# draws itself into a frame: (frame picture, frame number, light)
Draw = Callable[[np.ndarray, int, float], None]


class Clip:
    """Renders a plan. The same plan and generator state give the same frames."""

    def __init__(self, plan: ClipPlan, scene_seed: list[int], rng: np.random.Generator) -> None:
        self.plan = plan
        self.rng = rng
        self.scene: Scene = make_scene(
            plan.scene, plan.width, plan.height, np.random.default_rng(scene_seed)
        )
        self.events: list[Event] = []
        self._mirrored = bool(rng.random() < 0.5)
        # (feet row, first frame, end, draw): drawn from the back to the front
        self._things: list[tuple[Callable[[int], float], int, int, Draw]] = []
        for person in motion.crowd(self.scene, plan.num_frames, rng):
            self._add_person(person)
        if plan.kind:
            builders = {
                "Runner": self._runner,
                "Fight": self._fight,
                "Vehicle": self._vehicle,
                "Fire": self._fire,
                "Abandoned": self._abandoned,
            }
            builders[plan.kind]()
        self._camera = _Camera(plan, rng)

    def frames(self) -> Iterator[np.ndarray]:
        """The pictures in order, uint8 [H, W, 3]."""
        scene = self.scene
        for t in range(self.plan.num_frames):
            picture = scene.background.copy()
            self._scenery(picture, t)
            alive = [(at(t), draw) for at, first, end, draw in self._things if first <= t < end]
            for _, draw in sorted(alive, key=lambda thing: thing[0]):
                draw(picture, t, 1.0)
            if self._mirrored:
                picture = picture[:, ::-1]
            yield self._camera.take(picture, t)

    def tracks(self) -> tuple[Track, ...]:
        """The truth's boxes, clipped to the picture; known once all frames were drawn."""
        tracks = []
        for event in self.events:
            frames = sorted(event.boxes)
            if not frames:
                continue
            chosen = sorted({*frames[::KEYFRAME_EVERY], frames[-1]})
            keyframes = tuple((f, *self._clip_box(event.boxes[f])) for f in chosen)
            tracks.append(
                Track(
                    start_frame=frames[0],
                    end_frame=frames[-1] + 1,
                    keyframes=keyframes,
                    name=self.plan.kind,
                )
            )
        return tuple(tracks)

    def intervals(self) -> tuple[tuple[int, int], ...]:
        """Frames [start, end) with an anomaly, sorted and disjoint."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted((e.start, e.end) for e in self.events):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return tuple(merged)

    def _clip_box(self, box: Box) -> Box:
        width, height = self.plan.width, self.plan.height
        x0, y0, x1, y1 = box
        if self._mirrored:
            x0, x1 = width - x1, width - x0
        x0, x1 = float(np.clip(x0, 0, width)), float(np.clip(x1, 0, width))
        y0, y1 = float(np.clip(y0, 0, height)), float(np.clip(y1, 0, height))
        return (round(x0, 1), round(y0, 1), round(x1, 1), round(y1, 1))

    def _start(self, low: float = 0.12, high: float = 0.6) -> int:
        return int(self.rng.uniform(low, high) * self.plan.num_frames)

    def _add_person(self, person: motion.Person, event: Event | None = None) -> None:
        scene = self.scene

        def draw(picture: np.ndarray, t: int, light: float) -> None:
            i = t - person.start
            x, y = person.x[i], person.y[i]
            height = scene.person_height(y)
            box = draw_person(
                picture, x + MARGIN, y + MARGIN, height, person.look, person.poses[i], light
            )
            if event is not None:
                event.note(t, _moved(box))

        self._things.append((lambda t: person.y[t - person.start], person.start, person.end, draw))

    def _runner(self) -> None:
        start = self._start(0.1, 0.5)
        for i in range(int(self.rng.integers(2, 4))):
            person = motion.runner(self.scene, start + 7 * i, self.rng)
            seen = [
                t
                for t in range(person.start, min(person.end, self.plan.num_frames))
                if person.visible(self.scene, t)
            ]
            event = Event(seen[0], seen[-1] + 1)
            self.events.append(event)
            self._add_person(person, event)

    def _fight(self) -> None:
        lasts = int(self.rng.uniform(55, 110))
        start = self._start(0.2, 0.55)
        people, first = motion.fighters(self.scene, start, lasts, self.rng)
        event = Event(first, min(first + lasts, self.plan.num_frames))
        self.events.append(event)
        for person in people:
            self._add_person(person, event)

    def _vehicle(self) -> None:
        rng, scene = self.rng, self.scene
        start = self._start(0.1, 0.5)
        van, colour = bool(rng.random() < 0.5), _FLEET[rng.integers(len(_FLEET))]
        sign = 1.0 if rng.random() < 0.5 else -1.0
        y0 = float(rng.uniform(scene.top + 0.1 * scene.height, scene.bottom - 2))
        y1 = float(np.clip(y0 + rng.normal() * 4, scene.top + 4, scene.bottom))
        edge = 0.95 * scene.person_height(scene.bottom)
        x, x1 = (-edge, scene.width + edge) if sign > 0 else (scene.width + edge, -edge)
        speed = rng.uniform(0.09, 0.16)
        pause_at = scene.width * rng.uniform(0.3, 0.7) if rng.random() < 0.2 else None
        pause, way, places, pace = int(rng.integers(10, 30)), abs(x1 - x), [], 1.0
        x0, gone = x, 0.0
        while gone < way:
            y = y0 + (y1 - y0) * gone / way
            near = pause_at is not None and abs(x - pause_at) < 0.5 * scene.person_height(y)
            if near and pause > 0:
                pace = max(0.0, pace - 0.25)
                pause -= pace == 0.0
            else:
                pace = min(1.0, pace + 0.2)
            gone += max(speed * scene.person_height(y) * pace, 0.0)
            x = x0 + sign * gone
            places.append((x, y, gone))
        seen = [start + i for i, (px, _, _) in enumerate(places) if 0 <= px <= scene.width]
        end = min(seen[-1] + 1, self.plan.num_frames)
        event = Event(seen[0], end)
        self.events.append(event)

        def draw(picture: np.ndarray, t: int, light: float) -> None:
            px, py, travelled = places[t - start]
            height = scene.person_height(py)
            shift = px + MARGIN, py + MARGIN
            box = draw_cart(picture, *shift, height, sign, travelled, colour, van, light)
            event.note(t, _moved(box))

        self._things.append((lambda t: places[t - start][1], start, start + len(places), draw))

    def _fire(self) -> None:
        rng, scene, length = self.rng, self.scene, self.plan.num_frames
        start = self._start(0.15, 0.6)
        end = length if rng.random() < 0.6 else min(length, start + int(rng.uniform(60, 140)))
        y = float(rng.uniform(scene.top + 2, scene.bottom - 4))
        x = float(rng.uniform(0.15, 0.85) * scene.width)
        fire = Fire(
            x + MARGIN,
            y + MARGIN,
            float(rng.uniform(0.35, 0.6) * scene.person_height(y)),
            np.random.default_rng(rng.integers(2**31)),
        )
        event = Event(start, end)
        self.events.append(event)

        def draw(picture: np.ndarray, t: int, light: float) -> None:
            strength = min(1.0, 0.15 + (t - start) / 24)
            if end < length:
                strength = min(strength, max(0.1, (end - t) / 12))
            event.note(t, _moved(fire.draw(picture, strength)))

        self._things.append((lambda t: y, start, end, draw))

    def _abandoned(self) -> None:
        rng, scene, length = self.rng, self.scene, self.plan.num_frames
        x = float(rng.uniform(0.2, 0.8) * scene.width)
        y = float(rng.uniform(scene.top + 3, scene.bottom - 3))
        person = motion.Person(Look.draw(rng), 0)
        side = 1 if rng.random() < 0.5 else -1
        edge = scene.person_height(scene.bottom) * 0.5
        far = scene.width / 2 + side * (scene.width / 2 + edge)
        speed = float(rng.uniform(*motion.WALK))
        motion.follow(
            person,
            scene,
            [motion.Stop(far, y - 3), motion.Stop(x, y, 10, True)],
            speed,
            rng,
            carries=True,
        )
        arrived = len(person.x)
        away = far if rng.random() < 0.5 else scene.width - far
        motion.follow(person, scene, [motion.Stop(away, y + 4)], speed, rng)
        start = max(self._start(0.25, 0.55), 20)
        person.start = start - arrived
        event = Event(start, length)
        self.events.append(event)
        self._add_person(person)
        colour = _BAGS[rng.integers(len(_BAGS))]

        def draw(picture: np.ndarray, t: int, light: float) -> None:
            height = scene.person_height(y) * 1.45
            event.note(t, _moved(draw_bag(picture, x + MARGIN, y + MARGIN, height, colour, light)))

        self._things.append((lambda t: y - 0.5, start, length, draw))

    def _scenery(self, picture: np.ndarray, t: int) -> None:
        """What moves though nobody does: leaves in the wind, a sign that blinks."""
        if self.scene.tree is not None:
            x0, y0, x1, y1 = self.scene.tree
            shift = 1.6 * math.sin(0.31 * t) * math.sin(0.043 * t + 1)
            whole, part = math.floor(shift), shift - math.floor(shift)
            old = self.scene.background[y0:y1, x0:x1]
            a, b = np.roll(old, whole, axis=1), np.roll(old, whole + 1, axis=1)
            picture[y0:y1, x0 + 2 : x1 - 2] = ((1 - part) * a + part * b)[:, 2:-2]
        if self.scene.sign is not None:
            x0, y0, x1, y1 = (n + MARGIN for n in self.scene.sign)
            picture[y0:y1, x0:x1] *= 1.6 if (t // 11) % 3 else 0.9


class _Camera:
    """Exposure that drifts and steps, flickering lamps, shaking, sensor noise, the caption."""

    def __init__(self, plan: ClipPlan, rng: np.random.Generator) -> None:
        n = plan.num_frames
        self._plan = plan
        t = np.arange(n)
        gain = rng.uniform(0.85, 1.15) + rng.uniform(0, 0.1) * np.sin(
            2 * np.pi * t / rng.uniform(150, 500) + rng.uniform(0, 6)
        )
        for _ in range(int(rng.integers(0, 3))):  # a cloud, the automatic exposure
            at, lasts = rng.uniform(0, n), rng.uniform(2, 12)
            gain += rng.uniform(-0.14, 0.14) / (1 + np.exp(-(t - at) / lasts * 4))
        if rng.random() < 0.06:  # a lamp about to fail
            at, lasts = int(rng.integers(0, n)), int(rng.integers(30, 90))
            gain[at : at + lasts] += rng.normal(size=len(gain[at : at + lasts])) * 0.025
        self._gain = gain.astype(np.float32)
        self._cast = rng.uniform(0.94, 1.06, 3).astype(np.float32)
        self._shift = np.zeros((n, 2), dtype=np.int64)
        if rng.random() < 0.08:  # wind on the mast, a lorry passing
            for _ in range(int(rng.integers(1, 4))):
                at, lasts = int(rng.integers(0, n)), int(rng.integers(12, 60))
                part = self._shift[at : at + lasts]
                part[:] = np.clip(np.round(rng.normal(size=part.shape) * 0.8), -2, 2)
        sigma = rng.uniform(2.0, 5.0)
        shape = (plan.height + 32, plan.width + 32, 1)
        grey = rng.normal(size=(3, *shape)).astype(np.float32)
        colour = rng.normal(size=(3, *shape[:2], 3)).astype(np.float32)
        self._noise = sigma * (0.85 * grey + 0.4 * colour)
        self._jumps = rng.integers(0, 32, size=(n, 2))
        self._which = rng.integers(0, 3, size=n)
        self._clock = int(rng.integers(6 * 3600, 20 * 3600))
        self._caption: tuple[int, np.ndarray] | None = None
        self._number = int(rng.integers(1, 9))

    def take(self, picture: np.ndarray, t: int) -> np.ndarray:
        """From the scene with its margin to the frame as it is recorded."""
        height, width = self._plan.height, self._plan.width
        dy, dx = self._shift[t] + MARGIN
        jy, jx = self._jumps[t]
        frame = picture[dy : dy + height, dx : dx + width] * (self._gain[t] * self._cast)
        frame += self._noise[self._which[t], jy : jy + height, jx : jx + width]
        if height >= 90:
            mask = self._text(t // self._plan.fps)
            top = frame[: len(mask)]
            top += mask[..., None] * (235 - top)
        return np.clip(frame, 0, 255).astype(np.uint8)

    def _text(self, second: int) -> np.ndarray:
        """The caption's opacity, [rows, W]; drawn anew once a second."""
        if self._caption is None or self._caption[0] != second:
            now = self._clock + second
            clock = f"{now // 3600:02d}:{now // 60 % 60:02d}:{now % 60:02d}"
            image = Image.new("L", (self._plan.width, 11), 0)
            draw = ImageDraw.Draw(image)
            font = ImageFont.load_default_imagefont()
            draw.text((3, 0), f"CAM {self._number}", fill=215, font=font)
            draw.text((self._plan.width - 51, 0), clock, fill=215, font=font)
            self._caption = (second, np.asarray(image, dtype=np.float32) / 255)
        return self._caption[1]


def _moved(box: Box) -> Box:
    """From the picture with its margin to frame pixels."""
    return (box[0] - MARGIN, box[1] - MARGIN, box[2] - MARGIN, box[3] - MARGIN)
