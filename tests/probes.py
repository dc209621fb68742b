"""Probe files for tests that need no video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from hhvad.artifacts.probe import Probe
from hhvad.files import write_json


def write_probe(path: Path, frames: int, fps: str | float = 30, video: str = "video") -> Probe:
    """A probe of a video that does not exist, written to `path`."""
    rate = Fraction(fps).limit_denominator(100_000)
    probe = Probe(
        fps=float(rate),
        fps_fraction=str(rate),
        frames=frames,
        width=64,
        height=48,
        duration=float(frames / rate),
        codec="h264",
        rotation=0,
        decoder="pyav",
        bytes=1000,
        fingerprint="0" * 16,
    )
    write_json(path, probe.to_json(video))
    return probe
