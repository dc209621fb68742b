"""Probe files for tests that need no video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from hhvad.artifacts.probe import Probe
from hhvad.files import write_json
from hhvad.media.time import FrameTimes


def make_probe(
    frames: int, fps: str | float = 30, times: FrameTimes | None = None, **values: Any
) -> Probe:
    """A probe of a video that does not exist; by default its frame rate is constant."""
    rate = Fraction(fps).limit_denominator(100_000)
    times = times or FrameTimes(frames, rate)
    given = {
        "fps": float(rate),
        "fps_fraction": str(rate),
        "frames": frames,
        "width": 64,
        "height": 48,
        "duration": times.seconds(frames),
        "codec": "h264",
        "rotation": 0,
        "mirrored": False,
        "pixel_aspect": "1",
        "decoder": "pyav",
        "bytes": 1000,
        "fingerprint": "0" * 16,
        "started": None,
        "times": times,
    }
    return Probe(**given | values)


def write_probe(
    path: Path, frames: int, fps: str | float = 30, video: str = "video", **values: Any
) -> Probe:
    """Such a probe, written to `path`."""
    probe = make_probe(frames, fps, **values)
    write_json(path, probe.to_json(video))
    return probe
