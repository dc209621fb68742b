"""A study's files as the viewer reads them, made without running the workflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from probes import write_probe

from hhvad import sheet
from hhvad.artifacts import hdf5
from hhvad.files import read_json, write_json, write_tsv
from hhvad.localization.locator import Locator

FPS = 25


@dataclass
class Example:
    """One video: its scores follow `bumps`, (start, end, height) in frames."""

    name: str
    frames: int
    bumps: list[tuple[int, int, float]]
    label: str = ""
    split: str = "test"
    category: str = ""
    annotated: str = ""
    suffix: str = ".mp4"
    description: str = ""
    pictures: bool = True


def write_video(path: Path, frames: int, bumps=(), size=(320, 180)) -> None:
    """A clip whose sky brightens with time and in which a red box crosses during bumps."""
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(frames):
            picture = draw(number, frames, bumps, size)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def draw(number: int, frames: int, bumps, size) -> np.ndarray:
    width, height = size
    picture = np.full((height, width, 3), (120, 130, 140), np.uint8)
    picture[: height // 2] = (130, 160, 190 + 50 * number // frames)
    picture[height * 3 // 4 :, :, :] = (90, 90, 88)
    for start, end, _ in bumps:
        if start <= number < end:
            x = int((number - start) / (end - start) * (width * 0.85))
            picture[height // 2 : height * 4 // 5, x : x + width // 8] = (200, 60, 40)
    return picture


def scores_of(example: Example, segment: int, noise: float, rng) -> tuple[np.ndarray, np.ndarray]:
    starts = np.arange(0, example.frames, segment)
    bounds = np.stack([starts, np.minimum(starts + segment, example.frames)], axis=1)
    middles = bounds.mean(axis=1)
    score = rng.uniform(0.02, 0.02 + noise, len(bounds))
    for start, end, height in example.bumps:
        score[(middles >= start) & (middles < end)] += height - 0.1
    return bounds, np.clip(score, 0, 1)


def write_method(results: Path, name: str, example: Example, locator: Locator, segment, noise, rng):
    """Scores, localization and events of one video by one method."""
    bounds, score = scores_of(example, segment, noise, rng)
    smoothed = locator.smooth(score, bounds)
    write_tsv(
        results / f"localization/{name}/{example.name}.tsv",
        ("segment", "start_frame", "end_frame", "score", "smoothed", "anomalous"),
        [
            (i, *b, s, m, int(m > locator.tau))
            for i, (b, s, m) in enumerate(
                zip(bounds.tolist(), score.tolist(), smoothed.tolist(), strict=True)
            )
        ],
    )
    events = [
        {
            "start_frame": e.start,
            "end_frame": e.end,
            "start_seconds": e.start / FPS,
            "end_seconds": e.end / FPS,
            "peak_score": e.peak,
            **({"description": example.description} if example.description else {}),
        }
        for e in locator.events(score, bounds)
    ]
    write_json(
        results / f"events/{name}/{example.name}.json",
        {"video": example.name, "fps": FPS, "frames": example.frames, "events": events},
    )
    return events


def write_study(
    root: Path, examples: list[Example], methods=("headhunt",), *, videos=True, seed=0
) -> tuple[Path, Path]:
    """Sheet and results of a study under `root`; videos: real files that browsers can play."""
    rng = np.random.default_rng(seed)
    results = root / "results" / "study"
    locators = {
        name: Locator(1.0, 0.5 - 0.08 * i, "renormalise", i == 0, 0.8 if i == 0 else None, "test")
        for i, name in enumerate(methods)
    }
    for name, locator in locators.items():
        write_json(results / f"locator/{name}.json", locator.to_json())
    rows = []
    for number, example in enumerate(examples):
        path = f"videos/{example.name}{example.suffix}"
        rows.append(
            (example.name, path, example.split, example.label, example.category, example.annotated)
        )
        write_probe(results / f"probe/{example.name}.json", example.frames, FPS, example.name)
        set_probe(
            results / f"probe/{example.name}.json",
            fingerprint=f"{number:016x}",
            codec="vp8" if example.suffix == ".webm" else "h264",
        )
        for i, (name, locator) in enumerate(locators.items()):
            write_method(results, name, example, locator, 12 + 5 * i, 0.15 + 0.2 * i, rng)
        if videos:
            write_video(root / path, example.frames, example.bumps)
        if example.pictures and "thumbnails" in hdf5.SCHEMA_VERSIONS:
            at = np.linspace(0, example.frames - 1, 24).round().astype(np.int64)
            pictures = np.stack(
                [draw(int(i), example.frames, example.bumps, (320, 180)) for i in at]
            )
            hdf5.write(
                results / f"thumbnails/{example.name}.h5",
                "thumbnails",
                {"pictures": pictures, "frames": at, "seconds": at / FPS},
                {"video": example.name},
            )
    write_tsv(root / "videos.tsv", sheet.COLUMNS, rows)
    return root / "videos.tsv", results


def set_probe(path: Path, **values: object) -> None:
    """Change values of a probe file."""
    write_json(path, {**read_json(path), **values})
