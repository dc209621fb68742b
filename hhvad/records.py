"""The few records that the whole package speaks in. Frozen, plain, without behaviour of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hhvad.artifacts.probe import Probe

SPLITS = ("calibration", "validation", "test", "reference")
ONE_CAMERA = "default"  # the camera of a video whose row names none
LABELS = ("normal", "anomaly")


class HeadId(NamedTuple):
    """One attention head: 0-based decoder layer and 0-based head in it."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"({self.layer},{self.head})"


class Segment(NamedTuple):
    """Frames [start, end) of a video, 0-based and half-open."""

    start: int
    end: int


@dataclass(frozen=True)
class Interval:
    """An annotated anomaly as the sheet gives it: [start, end) in frames or in seconds."""

    start: float
    end: float
    unit: str = "frames"  # or "seconds"

    def frames(self, probe: Probe) -> tuple[int, int]:
        """The interval in frames [start, end) of a video; seconds become the nearest frame."""
        if self.unit == "frames":
            return int(self.start), int(self.end)
        return probe.frame(self.start), probe.frame(self.end)


@dataclass(frozen=True)
class Video:
    """One row of the sample sheet.

    label is None for an unlabelled video (scored and localised, left out of the metrics); events
    is None when the video has no frame annotation, () when it is annotated as having none.
    Videos of one camera share a threshold where it follows from a budget of alarms.
    """

    video: str
    path: str
    split: str
    label: str | None = None
    category: str = ""
    events: tuple[Interval, ...] | None = None
    camera: str = ONE_CAMERA


@dataclass(frozen=True)
class Event:
    """A detected anomaly: frames [start, end) and the highest smoothed score inside."""

    start: int
    end: int
    peak: float
