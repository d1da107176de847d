"""Where the people of a synthetic clip are, frame by frame: ordinary life and its accidents.

Lengths are in pixels, times in frames, speeds in body heights per frame, so that they mean the same
near and far from the camera. At 12 frames a second a walker makes about 0.07, a runner 0.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from vad.data.synthetic.actors import Look, Pose
from vad.data.synthetic.scenes import Scene

DEPTH = 0.55  # a step away from the camera shows this much shorter than one across the picture
WALK = (0.055, 0.088)
RUN = (0.19, 0.26)


@dataclass
class Person:
    """One person's whole clip: state i belongs to frame `start + i`."""

    look: Look
    start: int
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.x)

    def put(self, x: float, y: float, pose: Pose) -> None:
        self.x.append(x)
        self.y.append(y)
        self.poses.append(pose)

    def visible(self, scene: Scene, frame: int) -> bool:
        """Whether the body's middle is inside the picture in this frame."""
        i = frame - self.start
        return 0 <= i < len(self.x) and 0 <= self.x[i] <= scene.width


@dataclass(frozen=True)
class Stop:
    """A place on a way: arrive there, then stay for a while."""

    x: float
    y: float
    stay: int = 0
    crouch: bool = False


def follow(
    person: Person,
    scene: Scene,
    stops: list[Stop],
    speed: float,
    rng: np.random.Generator,
    *,
    carries: bool = False,
    stride: float | None = None,
) -> None:
    """Extend a person's clip: move from the last state (or the first stop) along the stops."""
    if not person.x:
        person.put(stops[0].x, stops[0].y, Pose(carries=carries, phase=float(rng.random())))
        stops = stops[1:]
    x, y, phase = person.x[-1], person.y[-1], person.poses[-1].phase
    gait = stride if stride is not None else (1.7 if speed > 0.12 else 1.0)
    turn_length = 0.85 if gait <= 1.1 else 1.35  # ground covered by two steps, in body heights
    sway, rhythm = rng.uniform(0, 2 * math.pi), rng.uniform(0.03, 0.07)
    lean = 0.06 if gait <= 1.1 else 0.22
    facing = 1.0
    for stop in stops:
        for _ in range(2000):  # a way is never longer; guards against standing still for ever
            dx, dy = stop.x - x, (stop.y - y) / DEPTH
            left = math.hypot(dx, dy)
            step = speed * scene.person_height(y) * (1 + 0.08 * math.sin(sway))
            sway += rhythm * 2 * math.pi
            if left <= step:
                break
            facing = dx / left
            x += step * dx / left
            y += step * dy / left * DEPTH
            phase += step / (turn_length * scene.person_height(y))
            person.put(x, y, Pose(phase, gait, facing, lean, carries=carries))
        for i in range(stop.stay):
            down = min(1.0, i / 4, (stop.stay - 1 - i) / 4) * 0.8 if stop.crouch else 0.0
            idle = 0.06 * math.sin(0.25 * i + sway)
            arms = None if stop.crouch else (0.1 + idle, 0.35 + 2 * idle)
            person.put(x, y, Pose(phase, 0.0, facing, 0.5 * down, down, arms, carries))


def passer_by(scene: Scene, start: int, rng: np.random.Generator) -> Person:
    """Somebody who crosses the picture, now and then pausing or carrying something."""
    person = Person(Look.draw(rng), start)
    side = int(rng.integers(2))
    edge = scene.person_height(scene.bottom) * 0.5
    x0, x1 = (-edge, scene.width + edge) if side == 0 else (scene.width + edge, -edge)
    y0, y1 = rng.uniform(scene.top, scene.bottom, 2)
    if rng.random() < 0.6:  # most keep roughly to their line
        y1 = float(np.clip(y0 + rng.normal() * 0.12 * scene.height, scene.top, scene.bottom))
    stops = [Stop(x0, float(y0))]
    if rng.random() < 0.18:
        share = rng.uniform(0.25, 0.75)
        stops.append(
            Stop(
                x0 + share * (x1 - x0),
                float(y0 + share * (y1 - y0)),
                int(rng.integers(10, 50)),
                bool(rng.random() < 0.35),
            )
        )
    stops.append(Stop(x1, float(y1)))
    speed = float(rng.uniform(*WALK))
    follow(person, scene, stops, speed, rng, carries=bool(rng.random() < 0.22))
    return person


def standing_group(scene: Scene, length: int, rng: np.random.Generator) -> list[Person]:
    """Two or three people who talk, with slow gestures, for the whole clip."""
    size = int(rng.integers(2, 4))
    cx = rng.uniform(0.2, 0.8) * scene.width
    cy = rng.uniform(scene.top + 4, scene.bottom)
    people = []
    for i in range(size):
        y = float(np.clip(cy + (0, 1.5, -2.5)[i], scene.top, scene.bottom))
        height = scene.person_height(y)
        x = float(cx + (-0.32, 0.32, 0.05)[i] * height * rng.uniform(0.9, 1.3))
        facing = (1.0, -1.0, 0.3)[i]
        person = Person(Look.draw(rng), 0)
        speed, offset = rng.uniform(0.05, 0.16), rng.uniform(0, 6)
        for t in range(length):
            talk = max(0.0, math.sin(0.045 * t + offset))  # now one gestures, then another
            arm = 0.2 + 0.75 * talk * (0.5 + 0.5 * math.sin(speed * t * 2.6 + offset))
            sway = 0.35 * math.sin(0.07 * t + offset)
            person.put(x + sway, y, Pose(0.0, 0.0, facing, 0.03, 0.0, (0.12, arm)))
        people.append(person)
    return people


def crowd(scene: Scene, length: int, rng: np.random.Generator) -> list[Person]:
    """Ordinary life: passers-by at a changing rate, and sometimes people who stand and talk."""
    people: list[Person] = []
    base = float(rng.choice([0.006, 0.014, 0.022, 0.032], p=[0.2, 0.3, 0.3, 0.2]))
    rate = np.full(length + 90, base)
    for _ in range(int(rng.integers(0, 2))):  # a tram arrives, a lesson ends
        at, lasts = int(rng.integers(0, length + 60)), int(rng.integers(20, 60))
        rate[at : at + lasts] += rng.uniform(0.04, 0.10)
    for i in np.flatnonzero(rng.random(len(rate)) < rate):
        people.append(passer_by(scene, int(i) - 90, rng))
    if rng.random() < 0.3:
        people += standing_group(scene, length, rng)
    return people


def runner(scene: Scene, start: int, rng: np.random.Generator) -> Person:
    """Somebody who runs to and fro across the walkway and out again."""
    person = Person(Look.draw(rng), start)
    side = int(rng.integers(2))
    edge = scene.person_height(scene.bottom) * 0.5
    stops = [Stop((-edge, scene.width + edge)[side], float(rng.uniform(scene.top, scene.bottom)))]
    for _ in range(int(rng.integers(3, 7))):
        side = 1 - side
        x = scene.width * (rng.uniform(0.65, 0.95) if side else rng.uniform(0.05, 0.35))
        stops.append(Stop(float(x), float(rng.uniform(scene.top, scene.bottom))))
    side = 1 - side
    stops.append(
        Stop((-edge, scene.width + edge)[side], float(rng.uniform(scene.top, scene.bottom)))
    )
    follow(person, scene, stops, float(rng.uniform(*RUN)), rng)
    return person


def fighters(
    scene: Scene, start: int, lasts: int, rng: np.random.Generator
) -> tuple[list[Person], int]:
    """Two people who meet, fight and part. Returns them and the first frame of the fight.

    Args:
        start: when the fight should begin; they enter the picture before.
        lasts: frames that it lasts.
    """
    cx = float(rng.uniform(0.28, 0.72) * scene.width)
    cy = float(rng.uniform(scene.top + 4, scene.bottom - 2))
    height = scene.person_height(cy)
    edge = scene.person_height(scene.bottom) * 0.5
    people = [Person(Look.draw(rng), 0), Person(Look.draw(rng), 0)]
    for person, side in zip(people, (-1, 1), strict=True):
        x0 = -edge if side < 0 else scene.width + edge
        way = [Stop(x0, cy + rng.uniform(-6, 6)), Stop(cx + side * 0.3 * height, cy)]
        follow(person, scene, way, float(rng.uniform(*WALK)), rng)
    approach = max(len(p.x) for p in people)
    for person, side in zip(people, (-1, 1), strict=True):
        wait = approach - len(person.x)
        follow(person, scene, [Stop(person.x[-1], person.y[-1], wait)], WALK[0], rng)
        person.start = start - approach
        _brawl(person, -side, height, lasts, rng)
    for person, side in zip(people, (1, -1) if rng.random() < 0.5 else (-1, 1), strict=True):
        x1 = -edge if side < 0 else scene.width + edge
        follow(person, scene, [Stop(x1, cy + rng.uniform(-8, 8))], float(rng.uniform(*WALK)), rng)
    return people, start


def _brawl(
    person: Person, facing: float, height: float, lasts: int, rng: np.random.Generator
) -> None:
    """Strikes, kicks, stumbles: targets that change every two or three frames."""
    x, y = person.x[-1], person.y[-1]
    home_x, home_y = x, y
    arms, goal = np.array([0.3, 0.5]), np.array([1.6, 0.4])
    lean, lean_goal, stride, phase, crouch = 0.1, 0.3, 0.3, 0.0, 0.0
    step = np.zeros(2)
    for i in range(lasts):
        if i % int(rng.integers(2, 4)) == 0:
            goal = rng.uniform(-0.5, 2.5, 2)
            lean_goal = float(rng.uniform(-0.4, 0.6))
            stride = float(rng.uniform(0.2, 1.8))
            crouch = float(rng.choice([0.0, 0.0, 0.25, 0.6]))
            step = rng.normal(size=2) * (0.10 * height, 0.035 * height)
            if rng.random() < 0.12:
                facing = -facing
        arms = arms + 0.7 * (goal - arms)
        lean += 0.6 * (lean_goal - lean)
        x += 0.6 * step[0] + 0.10 * (home_x - x)
        y += 0.6 * step[1] + 0.12 * (home_y - y)
        phase += float(rng.uniform(0.02, 0.2))
        person.put(
            x, y, Pose(phase, stride, facing, lean, crouch, (float(arms[0]), float(arms[1])))
        )
