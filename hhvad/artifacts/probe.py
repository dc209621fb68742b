"""The probe of a video (`<results>/probe/{video}.json`): what the file is, and when its frames are.

The one way between frames and seconds: `Probe.seconds` and `Probe.frame`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from hhvad.errors import ArtifactError
from hhvad.files import read_json


@dataclass(frozen=True)
class Probe:
    """What a video file is. Frames are those that decode; sizes are of the upright picture.

    rotation: degrees by which the stored picture is turned clockwise to stand upright.
    bytes, fingerprint: the file's size, and a digest of its size and its two ends.
    """

    fps: float
    fps_fraction: str
    frames: int
    width: int
    height: int
    duration: float
    codec: str
    rotation: int
    decoder: str
    bytes: int
    fingerprint: str

    def seconds(self, frame: int) -> float:
        """When a frame starts to be shown, in seconds; `frames` gives the end of the video."""
        return float(frame / Fraction(self.fps_fraction))

    def frame(self, seconds: float) -> int:
        """The frame whose start is nearest to a time in seconds."""
        return round(seconds * self.fps)

    def to_json(self, video: str) -> dict[str, Any]:
        """The content of a probe file."""
        return {"video": video, **asdict(self)}


def read(path: str | Path) -> Probe:
    """Read a probe file. Raises ArtifactError where it is absent, damaged or of another hhvad."""
    data = read_json(path)
    kinds = {"float": (int, float), "int": (int,), "str": (str,)}
    try:
        probe = Probe(**{field.name: data[field.name] for field in fields(Probe)})
        for field in fields(Probe):
            if not isinstance(data[field.name], kinds[str(field.type)]):
                raise TypeError(f"{field.name} is {data[field.name]!r}")
        if Fraction(probe.fps_fraction) <= 0 or probe.frames < 1:
            raise ValueError(f"fps is {probe.fps_fraction}, frames {probe.frames}")
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ArtifactError(
            f"{path}: not a probe of this hhvad ({error}); delete it and rerun"
        ) from error
    return probe
