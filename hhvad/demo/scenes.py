"""Procedural street scenes: a fixed camera, ordinary life, and things that go wrong.

Everything is drawn with numpy from one random generator, frame by frame, in the order of the
frames: the same scene is the same pixels. Positions are fractions of the
picture, times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMAL_KINDS = ("walking", "traffic", "cyclists", "chatting", "bus", "headlights", "birds", "quiet")
ANOMALY_KINDS = (
    "collision",
    "explosion",
    "fight",
    "fall",
    "panic",
    "wrong-way",
    "loitering",
    "smoke",
    "fire",
)
# In no training clip and in no calibration or validation video.
UNSEEN_KIND = "fire"
# A street sweeper: odd but harmless, in no video of the plan. It passes in these seconds of each
# minute.
RECURRING_KIND = "sweeper"
RECURRING_SECONDS = (20.0, 30.0)
PLACES = ("left", "middle", "right")

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Happening:
    """One anomaly of a scene: its kind and the frames [start, end) in which it can be seen."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Scene:
    """All that a video shows.

    street: the seed of the street, None for `seed` itself. Scenes of one camera share it. light:
    how bright the picture is, 1 for the demo's own videos.
    """

    seed: int
    width: int
    height: int
    fps: float
    n_frames: int
    kinds: tuple[str, ...]  # ordinary life that goes on all the time
    happenings: tuple[Happening, ...] = ()
    street: int | None = None
    light: float = 1.0


@dataclass
class _Actor:
    shape: str  # person, car, bike, bus, bird, sweeper
    x: float
    y: float
    speed: float  # picture widths a second
    colour: NDArray[np.float32]
    phase: float
    scale: float = 1.0


def render(scene: Scene, wanted: list[int] | None = None) -> Iterator[NDArray[np.uint8]]:
    """The frames of a scene, uint8 [H, W, 3], or only `wanted` (increasing)."""
    rng = np.random.default_rng([scene.seed if scene.street is None else scene.street, 1])
    ground = _street(rng, scene.height, scene.width)
    if "headlights" in scene.kinds:
        ground *= 0.45
    actors = _actors(scene)
    details = [_details(scene, number) for number in range(len(scene.happenings))]
    drift = rng.uniform(0, 6.28)
    # Of the camera: each frame has another piece of one field, since fresh noise is slow to draw.
    grain = np.random.default_rng([scene.seed, 5]).standard_normal(3 * ground.size, np.float32)
    grain *= 4
    for index in range(scene.n_frames) if wanted is None else wanted:
        t = index / scene.fps
        noise = np.random.default_rng([scene.seed, 2, index])
        picture = ground.copy()
        active = [
            (h, d)
            for h, d in zip(scene.happenings, details, strict=True)
            if h.start <= index < h.end
        ]
        hidden = {"panic"} & {h.kind for h, _ in active}
        for actor in actors:
            if not (hidden and actor.shape == "person"):
                _draw(picture, actor, t, "headlights" in scene.kinds)
        for happening, detail in active:
            since = (index - happening.start) / scene.fps
            _happen(picture, happening.kind, detail, since, t, noise)
        picture *= np.float32(scene.light * (1 + 0.05 * np.sin(drift + t / 4)))
        offset = int(noise.integers(len(grain) - picture.size))
        picture += grain[offset : offset + picture.size].reshape(picture.shape)
        yield np.clip(picture, 0, 255, out=picture).astype(np.uint8)


def people(scene: Scene) -> int:
    """How many people take part in the ordinary life of a scene."""
    return sum(actor.shape in ("person", "bike") for actor in _actors(scene))


def place(scene: Scene, number: int) -> str:
    """Where the anomaly `number` of a scene is: left, middle or right."""
    x = _details(scene, number)["x"]
    return "left" if x < 0.42 else "right" if x > 0.58 else "middle"


def _actors(scene: Scene) -> list[_Actor]:
    rng = np.random.default_rng([scene.seed, 3])
    return [actor for kind in scene.kinds for actor in _cast(kind, rng)]


def _street(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Houses above, a pavement, a road with lane marks."""
    picture = np.empty((height, width, 3), np.float32)
    tone = rng.uniform(0.8, 1.15)
    picture[: int(0.45 * height)] = rng.uniform(110, 170, 3)
    edge = 0.0
    while edge < 1:
        end = edge + rng.uniform(0.12, 0.3)
        _box(picture, edge, rng.uniform(0.0, 0.12), end, 0.45, rng.uniform(70, 190, 3))
        for row in (0.16, 0.28):
            for column in np.arange(edge + 0.03, min(end, 1) - 0.03, 0.07):
                _box(picture, column, row, column + 0.03, row + 0.06, rng.uniform(30, 120, 3))
        edge = end
    _box(picture, 0, 0.45, 1, 0.6, np.full(3, rng.uniform(140, 175)))
    _box(picture, 0, 0.6, 1, 1, np.full(3, rng.uniform(60, 95)))
    for column in np.arange(0.02, 1, 0.16):
        _box(picture, column, 0.79, column + 0.08, 0.805, np.full(3, 210.0))
    texture = rng.normal(0, 6, (height, width, 1)).astype(np.float32)
    return picture * np.float32(tone) + texture


def _cast(kind: str, rng: np.random.Generator) -> list[_Actor]:
    """Who takes part in a kind of ordinary life."""

    def actor(shape: str, y: float, speed: float, scale: float = 1.0) -> _Actor:
        colour = rng.uniform(40, 230, 3).astype(np.float32)
        return _Actor(shape, rng.uniform(0, 1.2), y, speed, colour, rng.uniform(0, 6.28), scale)

    def way() -> float:
        return float(rng.choice([-1, 1]))

    if kind == "walking":
        return [
            actor("person", rng.uniform(0.5, 0.58), way() * rng.uniform(0.03, 0.06))
            for _ in range(rng.integers(2, 6))
        ]
    if kind in ("traffic", "headlights"):
        # Right-hand traffic: the upper lane drives left, the lower one right.
        lanes = [(0.7, -1.0), (0.9, 1.0)]
        return [
            actor("car", y, sign * rng.uniform(0.12, 0.3))
            for y, sign in lanes
            for _ in range(rng.integers(1, 3))
        ]
    if kind == "cyclists":
        return [
            actor("bike", rng.uniform(0.6, 0.63), way() * rng.uniform(0.08, 0.14)) for _ in range(2)
        ]
    if kind == "chatting":
        place = rng.uniform(0.2, 0.8)
        friends = [actor("person", 0.55, 0.0) for _ in range(rng.integers(2, 4))]
        for number, friend in enumerate(friends):
            friend.x = place + 0.045 * number
        return friends
    if kind == "bus":
        return [actor("bus", 0.9, rng.uniform(0.2, 0.35), 1.0)]
    if kind == "birds":
        return [
            actor("bird", rng.uniform(0.05, 0.3), rng.uniform(0.25, 0.4), rng.uniform(0.7, 1.2))
            for _ in range(rng.integers(6, 12))
        ]
    if kind == RECURRING_KIND:
        return [actor("sweeper", 0.62, 0.12)]
    return []


def _draw(picture: Picture, actor: _Actor, t: float, night: bool) -> None:
    if actor.shape == "sweeper":
        _sweeper(picture, actor, t)
        return
    x = (actor.x + actor.speed * t) % 1.3 - 0.15
    y, s = actor.y, actor.scale
    bob = (
        0.006 * np.sin(actor.phase + 9 * t) if actor.speed else 0.002 * np.sin(actor.phase + 2 * t)
    )
    if actor.shape == "person":
        _person(picture, x, y + bob, actor.colour, s)
    elif actor.shape == "bike":
        _box(picture, x - 0.03, y - 0.02, x + 0.03, y, np.full(3, 30.0))
        _person(picture, x, y - 0.02 + bob, actor.colour, 0.9 * s)
    elif actor.shape == "bird":
        wing = 0.006 + 0.006 * np.sin(actor.phase + 14 * t)
        _box(picture, x - 0.01, y - wing, x + 0.01, y + 0.004, np.full(3, 25.0))
    else:
        _vehicle(picture, x, y, actor.colour, 2.0 if actor.shape == "bus" else 1.0)
        if night:
            front = x + 0.1 * np.sign(actor.speed)
            _glow(picture, front, y - 0.03, 0.07, np.array([250.0, 240.0, 190.0]), 0.9)


def _sweeper(picture: Picture, actor: _Actor, t: float) -> None:
    """A yellow vehicle on the pavement with flashing lights and a cloud of dust behind it."""
    start, end = RECURRING_SECONDS
    if not start <= t % 60 < end:
        return
    x = actor.speed * (t % 60 - start) - 0.1
    _glow(picture, x - 0.16, actor.y - 0.02, 0.07, [200, 195, 180], 0.8)
    _vehicle(picture, x, actor.y, np.array([235.0, 190.0, 20.0]), 1.4)
    if int(4 * t) % 2:
        _glow(picture, x, actor.y - 0.17, 0.04, [255, 150, 0], 0.9)


def _vehicle(picture: Picture, x: float, y: float, colour: Any, size: float) -> None:
    half, tall = 0.08 * size**0.8, 0.07 * size
    _box(picture, x - half, y - tall, x + half, y, colour)
    _box(picture, x - 0.6 * half, y - 1.6 * tall, x + 0.6 * half, y - tall, 0.7 * colour)
    _box(picture, x - 0.5 * half, y - 1.5 * tall, x + 0.5 * half, y - 1.05 * tall, [160, 190, 210])
    for wheel in (-0.6, 0.6):
        _box(
            picture,
            x + (wheel - 0.12) * half,
            y - 0.02,
            x + (wheel + 0.12) * half,
            y + 0.02,
            [20] * 3,
        )


def _person(picture: Picture, x: float, y: float, colour: Any, scale: float = 1.0) -> None:
    _box(picture, x - 0.012 * scale, y - 0.1 * scale, x + 0.012 * scale, y - 0.04 * scale, colour)
    _box(picture, x - 0.01 * scale, y - 0.04 * scale, x + 0.01 * scale, y, [45, 45, 70])
    _box(
        picture,
        x - 0.008 * scale,
        y - 0.13 * scale,
        x + 0.008 * scale,
        y - 0.1 * scale,
        [215, 170, 140],
    )


def _box(picture: Picture, x0: float, y0: float, x1: float, y1: float, colour: Any) -> None:
    height, width = picture.shape[:2]
    top, bottom = int(y0 * height + 0.5), int(y1 * height + 0.5)
    left, right = int(x0 * width + 0.5), int(x1 * width + 0.5)
    picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour


def _glow(picture: Picture, x: float, y: float, radius: float, colour: Any, weight: float) -> None:
    """A soft round light, mixed into the picture."""
    height, width = picture.shape[:2]
    top, bottom = max(int((y - 2 * radius) * height), 0), max(int((y + 2 * radius) * height), 0)
    left, right = max(int((x - 2 * radius) * width), 0), max(int((x + 2 * radius) * width), 0)
    part = picture[top:bottom, left:right]
    if part.size == 0:
        return
    rows = (np.arange(top, top + part.shape[0])[:, None] / height - y) / radius
    columns = (np.arange(left, left + part.shape[1])[None] / width - x) / radius
    mix = (weight * np.exp(-(rows**2 + columns**2)))[..., None].astype(np.float32)
    part[:] = part * (1 - mix) + np.asarray(colour, np.float32) * mix


def _details(scene: Scene, number: int) -> dict[str, Any]:
    """What is drawn once for an anomaly: place, colours, who takes part."""
    rng = np.random.default_rng([scene.seed, 4, number])
    return {
        "x": rng.uniform(0.25, 0.75),
        "colours": rng.uniform(40, 230, (8, 3)),
        "offsets": rng.uniform(-0.3, 0.3, 8),
        "speeds": rng.uniform(0.25, 0.5, 8) * rng.choice([-1, 1], 8),
        "rows": rng.uniform(0.52, 0.95, 8),
        "sign": float(rng.choice([-1, 1])),
    }


def _happen(
    picture: Picture,
    kind: str,
    d: dict[str, Any],
    since: float,
    t: float,
    noise: np.random.Generator,
) -> None:
    """Draw an anomaly `since` seconds after its onset."""
    x, colours = d["x"], d["colours"]
    if kind == "collision":
        # Two wrecks, one across the other, with debris and blinking lights.
        shake = 0.01 * np.exp(-since) * noise.normal()
        _vehicle(picture, x - 0.07 + shake, 0.83, colours[0], 1.1)
        _box(picture, x + 0.0, 0.66, x + 0.07, 0.92, colours[1])
        _box(picture, x + 0.01, 0.7, x + 0.06, 0.78, [160, 190, 210])
        for number in range(8):
            at = x + d["offsets"][number] * 0.6
            _box(
                picture, at, 0.86 + 0.012 * number, at + 0.015, 0.872 + 0.012 * number, [30, 30, 30]
            )
        if int(3 * t) % 2:
            _glow(picture, x - 0.13, 0.8, 0.025, [255, 150, 0], 0.9)
            _glow(picture, x + 0.035, 0.66, 0.025, [255, 150, 0], 0.9)
    elif kind == "explosion":
        grow = min(1.0, 0.4 + since)
        for number in range(5):
            off = d["offsets"][number]
            flicker = noise.uniform(0.8, 1.2)
            radius = 0.12 * grow * flicker
            _glow(picture, x + 0.2 * off, 0.55 + 0.2 * off, radius, [255, 200, 80], 0.9)
        _glow(picture, x, 0.4 - 0.03 * min(since, 5), 0.13 * grow, [60, 55, 50], 0.8)
    elif kind == "fire":
        for number in range(7):
            at = x + 0.25 * d["offsets"][number]
            flame = 0.04 + 0.03 * noise.random()
            _glow(picture, at, 0.42 - flame, flame, [255, 110 + 90 * noise.random(), 20], 0.9)
        _glow(picture, x, 0.15, 0.13, [50, 50, 50], 0.6)
    elif kind == "smoke":
        for number in range(6):
            rise = (0.12 * since + 0.15 * number) % 0.7
            at = x + 0.2 * d["offsets"][number] + 0.03 * np.sin(t + number)
            _glow(picture, at, 0.6 - rise, 0.06 + 0.1 * rise, [205, 205, 205], 0.75)
    elif kind == "fight":
        # Two people lunge at each other, again and again.
        for number in range(2):
            side = 1 - 2 * number
            lunge = 0.025 + 0.02 * np.sin(11 * t + 3 * number)
            body = 0.02 * np.sin(17 * t + number)
            _person(picture, x + side * lunge, 0.68 + body, colours[number], 1.5)
            ends = sorted((x + side * lunge, x - side * 0.02 * np.sin(13 * t)))
            _box(picture, ends[0], 0.57 + body, ends[1], 0.585 + body, [215, 170, 140])
    elif kind == "fall":
        # Somebody lies on the road, another bends over.
        _box(picture, x - 0.07, 0.73, x + 0.04, 0.76, colours[0])
        _box(picture, x + 0.04, 0.728, x + 0.06, 0.76, [215, 170, 140])
        _person(picture, x - 0.09, 0.76 + 0.006 * np.sin(5 * t), colours[1], 1.1)
    elif kind == "panic":
        # A crowd runs the same way, fast, over the road too.
        for number in range(8):
            speed = abs(d["speeds"][number]) * d["sign"]
            at = (x + d["offsets"][number] * 2 + speed * since) % 1.2 - 0.1
            jump = 0.015 * abs(np.sin(12 * t + number))
            _person(picture, at, d["rows"][number] - jump, colours[number], 1.3)
            _person(picture, at + 0.05, d["rows"][number] + 0.02 - jump, colours[-number], 1.3)
    elif kind == "wrong-way":
        # A car on the pavement, against the lane's direction, swerving.
        at = (x + 0.35 * since) % 1.3 - 0.15
        _vehicle(picture, at, 0.62 + 0.03 * np.sin(3 * t), colours[0], 1.0)
        _glow(picture, at + 0.1, 0.58, 0.04, [250, 240, 190], 0.8)
    elif kind == "loitering":
        # A hooded figure paces at a door, a crowbar in hand, larger than passers-by.
        at = x + 0.03 * np.sin(1.5 * t)
        _box(picture, x - 0.03, 0.3, x + 0.03, 0.46, [70, 40, 20])
        _person(picture, at, 0.52, [15, 15, 15], 1.6)
        _box(picture, at - 0.016, 0.3, at + 0.016, 0.36, [15, 15, 15])
        _box(
            picture,
            at + 0.02,
            0.4 + 0.02 * np.sin(4 * t),
            at + 0.06,
            0.415 + 0.02 * np.sin(4 * t),
            [200] * 3,
        )
