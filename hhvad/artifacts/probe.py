"""The probe of a video (`<results>/probe/{video}.json`): what the file is, and when its frames are.

The one way between frames and seconds: `Probe.seconds` and `Probe.frame`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from hhvad.errors import ArtifactError
from hhvad.files import read_json
from hhvad.media.time import FrameTimes

PROBE_VERSION = 3  # raised when the same file gives another probe: rule probe_video carries it


@dataclass(frozen=True)
class Probe:
    """What a video file is. Frames are those that decode; sizes are of the upright picture.

    fps: frames a second as the file claims them, where that is not far off; `times` is the truth.
    rotation, mirrored: degrees by which the stored picture is turned clockwise to stand upright,
    and whether it is then mirrored left to right.
    pixel_aspect: width to height of a pixel of the upright picture, as in "4/3"; "1" is square.
    bytes, fingerprint: the file's size, and a digest of its size and its two ends.
    started: when frame 0 was recorded, in UTC as ISO 8601; None where that is not known.
    """

    fps: float
    fps_fraction: str
    frames: int
    width: int
    height: int
    duration: float
    codec: str
    rotation: int
    mirrored: bool
    pixel_aspect: str
    decoder: str
    bytes: int
    fingerprint: str
    started: str | None
    times: FrameTimes

    def seconds(self, frame: int) -> float:
        """When a frame starts to be shown, in seconds; `frames` gives the end of the video."""
        return self.times.seconds(frame)

    def frame(self, seconds: float) -> int:
        """The frame whose start is nearest to a time in seconds."""
        return self.times.frame(seconds)

    def clock(self, seconds: float) -> str | None:
        """The wall clock that many seconds into the video, in UTC as ISO 8601; None: not known."""
        if self.started is None:
            return None
        time = datetime.fromisoformat(self.started) + timedelta(seconds=seconds)
        return time.isoformat(timespec="seconds")

    def to_json(self, video: str) -> dict[str, Any]:
        """The content of a probe file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "schema_version": PROBE_VERSION,
            "video": video,
            **values,
            "times": self.times.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Probe:
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError, ZeroDivisionError."""
        if data["schema_version"] != PROBE_VERSION:
            raise ValueError(f"schema_version is {data['schema_version']}, not {PROBE_VERSION}")
        given = {field.name: data[field.name] for field in fields(cls)}
        for field in fields(cls):
            if not isinstance(given[field.name], _KINDS[str(field.type)]):
                raise TypeError(f"{field.name} is {given[field.name]!r}")
        if Fraction(given["fps_fraction"]) <= 0 or given["frames"] < 1:
            raise ValueError(f"fps is {given['fps_fraction']}, frames {given['frames']}")
        if given["started"]:
            datetime.fromisoformat(given["started"])
        return cls(**given | {"times": FrameTimes.from_json(given["times"], given["frames"])})


_KINDS: dict[str, Any] = {
    "float": (int, float),
    "int": int,
    "str": str,
    "str | None": (str, type(None)),
    "bool": bool,
    "FrameTimes": dict,
}


def read(path: str | Path) -> Probe:
    """Read a probe file. Raises ArtifactError where it is absent, damaged or of another hhvad."""
    data = read_json(path)
    try:
        return Probe.from_json(data)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        what = f"{error.args[0]} is absent" if isinstance(error, KeyError) else error
        raise ArtifactError(
            f"{path}: not a probe of this hhvad ({what}); delete it and rerun"
        ) from error
