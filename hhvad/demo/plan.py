"""The demo's videos: forty scenes, their splits and events, decided by one seed."""

from __future__ import annotations

import numpy as np

from hhvad.demo.scenes import ANOMALY_KINDS, NORMAL_KINDS, UNSEEN_KIND, Happening, Scene
from hhvad.records import Interval, Video

SIZES = ((192, 144), (208, 160), (256, 144), (240, 180))
FRAME_RATES = (24.0, 25.0, 30000 / 1001, 30.0)
# (split, normal videos, anomalous videos)
SPLITS = (("calibration", 8, 8), ("validation", 4, 4), ("test", 8, 8))


def scenes(seed: int = 0) -> dict[str, tuple[str, Scene]]:
    """Split and scene of each video, by id, in the order of the sheet."""
    found: dict[str, tuple[str, Scene]] = {}
    for split_number, (split, normal, anomalous) in enumerate(SPLITS):
        for number in range(normal + anomalous):
            rng = np.random.default_rng([seed, split_number, number])
            kind = None
            if number >= normal:
                kind = _anomaly(split, number - normal, rng)
            scene = make_scene(rng, kind, longest=90.0 if (split, number) == ("test", 0) else 30.0)
            name = f"{split}-{number + 1:02d}-{kind or 'normal'}"
            found[name] = split, scene
    return found


def _anomaly(split: str, number: int, rng: np.random.Generator) -> str:
    """Test has every kind in turn; the others every kind but the unseen one."""
    if split == "test":
        return (UNSEEN_KIND, *(k for k in ANOMALY_KINDS if k != UNSEEN_KIND))[number % 8]
    seen = [kind for kind in ANOMALY_KINDS if kind != UNSEEN_KIND]
    return seen[number % len(seen)]


def make_scene(
    rng: np.random.Generator, kind: str | None, *, shortest: float = 10.0, longest: float = 30.0
) -> Scene:
    """A scene of 1-3 kinds of ordinary life, and of one anomaly kind (once or twice) if given."""
    width, height = SIZES[rng.integers(len(SIZES))]
    fps = FRAME_RATES[rng.integers(len(FRAME_RATES))]
    seconds = longest if longest > 30 else rng.uniform(shortest, longest)
    n_frames = int(seconds * fps)
    ordinary = rng.choice(NORMAL_KINDS[:-1], size=rng.integers(1, 4), replace=False)
    kinds = tuple(str(k) for k in ordinary) if rng.random() > 0.1 else ("quiet",)
    happenings: list[Happening] = []
    if kind is not None:
        count = 2 if seconds > 20 and rng.random() < 0.3 else 1
        for part in range(count):
            low, high = n_frames * part // count, n_frames * (part + 1) // count
            length = int((high - low) * rng.uniform(0.35, 0.6))
            start = int(rng.integers(low + 5, high - length - 5))
            happenings.append(Happening(kind, start, start + length))
    return Scene(int(rng.integers(2**31)), width, height, fps, n_frames, kinds, tuple(happenings))


def videos(seed: int = 0, folder: str = "resources/demo") -> list[Video]:
    """The rows of the demo's sheet."""
    rows = []
    for name, (split, scene) in scenes(seed).items():
        events = tuple(Interval(h.start, h.end) for h in scene.happenings)
        label = "anomaly" if events else "normal"
        category = scene.happenings[0].kind if events else ""
        rows.append(Video(name, f"{folder}/{name}.mp4", split, label, category, events))
    return rows
