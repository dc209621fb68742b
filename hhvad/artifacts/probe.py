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

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts.ranges import outside
from hhvad.errors import ArtifactError
from hhvad.files import read_json
from hhvad.media.time import FrameTimes

SKIP = "skip-to-keyframe"  # what becomes of a damaged video; otherwise it fails
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
    damaged: frames [start, end) that are lost, in order, where the rest of the video counts. They
    have numbers and times, so that those of the other frames are as if nothing were lost.
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
    damaged: tuple[tuple[int, int], ...] = ()

    def seconds(self, frame: int) -> float:
        """When a frame starts to be shown, in seconds; `frames` gives the end of the video."""
        return self.times.seconds(frame)

    def frame(self, seconds: float) -> int:
        """The frame whose start is nearest to a time in seconds."""
        return self.times.frame(seconds)

    def undamaged(self) -> NDArray[np.int64]:
        """The frames that are not damaged, in order."""
        return outside(self.frames, self.damaged)

    def damaged_seconds(self) -> list[list[float]]:
        """From when to when damaged frames would be shown, in seconds to a ms."""
        spans = self.times.all_seconds(self.damaged).reshape(-1, 2)
        return [[float(start), float(end)] for start, end in spans.round(3).tolist()]

    def clock(self, seconds: float) -> str | None:
        """The wall clock that many seconds into the video, in UTC as ISO 8601; None: not known."""
        if self.started is None:
            return None
        time = datetime.fromisoformat(self.started) + timedelta(seconds=seconds)
        return time.isoformat(timespec="seconds")

    def to_json(self, video: str) -> dict[str, Any]:
        """The content of a probe file."""
        names = (field.name for field in fields(self) if field.name != "damaged")
        values = {name: getattr(self, name) for name in names}
        data = {
            "schema_version": PROBE_VERSION,
            "video": video,
            **values,
            "times": self.times.to_json(),
        }
        if self.damaged:
            data["damaged"] = [list(span) for span in self.damaged]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Probe:
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError, ZeroDivisionError."""
        if data["schema_version"] != PROBE_VERSION:
            raise ValueError(f"schema_version is {data['schema_version']}, not {PROBE_VERSION}")
        required = [field for field in fields(cls) if field.name != "damaged"]
        given = {field.name: data[field.name] for field in required}
        for field in required:
            if not isinstance(given[field.name], _KINDS[str(field.type)]):
                raise TypeError(f"{field.name} is {given[field.name]!r}")
        if Fraction(given["fps_fraction"]) <= 0 or given["frames"] < 1:
            raise ValueError(f"fps is {given['fps_fraction']}, frames {given['frames']}")
        if given["started"]:
            datetime.fromisoformat(given["started"])
        times = FrameTimes.from_json(given["times"], given["frames"])
        damaged = _ranges(data.get("damaged", []), given["frames"])
        return cls(**given | {"times": times, "damaged": damaged})


def _ranges(spans: Any, frames: int) -> tuple[tuple[int, int], ...]:
    """Ranges of frames from JSON: in order, apart from each other, not all frames of the video."""
    found = tuple((int(start), int(end)) for start, end in spans)
    edges = [edge for span in found for edge in span]
    if edges != sorted(set(edges)) or (edges and not 0 <= edges[0] < edges[-1] <= frames):
        raise ValueError(f"damaged is {spans}")
    if found == ((0, frames),):
        raise ValueError("all its frames are damaged")
    return found


_KINDS: dict[str, Any] = {
    "float": (int, float),
    "int": int,
    "str": str,
    "str | None": (str, type(None)),
    "bool": bool,
    "FrameTimes": dict,
}


def has_damage(path: str | Path) -> bool:
    """Whether a file is a probe that lists damaged frames; quick, for thousands of files."""
    try:
        return '"damaged":' in Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


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
