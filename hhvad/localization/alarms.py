"""Which runs of scores are shown as events: hysteresis, merging, short ones, pads, ignored hours.

All of it is off by default. In this order: an event starts above tau and lasts while it is above
`low`; events that are near each other are merged; short ones are dropped; what is left is padded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.artifacts.probe import Probe
from hhvad.artifacts.ranges import touches
from hhvad.errors import ConfigError, DataError
from hhvad.localization.locator import events
from hhvad.records import Event

_SPAN = re.compile(r"(\d{1,2})(?::(\d{2}))?-(\d{1,2})(?::(\d{2}))?")
_DAY = 24 * 60


@dataclass(frozen=True)
class Shape:
    """merge_gap, min_duration and pad are in seconds; low is a score, None for tau itself."""

    merge_gap: float = 0.0
    min_duration: float = 0.0
    pad: float = 0.0
    low: float | None = None

    def words(self) -> str:
        """The settings that are on, '' where none is."""
        seconds = ("merge_gap", "min_duration", "pad")
        found = [f"{name} {getattr(self, name):g} s" for name in seconds if getattr(self, name)]
        return ", ".join(found + ([] if self.low is None else [f"low {self.low:g}"]))

    def events(
        self, smoothed: ArrayLike, tau: ArrayLike, segments: ArrayLike, probe: Probe
    ) -> list[Event]:
        """The events of smoothed scores [T] of segments [T, 2]; tau is a number or [T].

        Raises DataError as `hhvad.localization.locator.events`.
        """
        found = events(smoothed, tau, segments)
        if self.low is not None and found:
            found = _lasting(found, events(smoothed, np.minimum(self.low, tau), segments))
        if self.merge_gap:
            found = _merged(found, probe, self.merge_gap)
        if self.min_duration:
            found = [one for one in found if _seconds(one, probe) >= self.min_duration]
        return _padded(found, probe, self.pad) if self.pad else found


def _lasting(found: Sequence[Event], lower: Sequence[Event]) -> list[Event]:
    """Events above tau, each prolonged to the end of the run above low in which it lies."""
    lasting: list[Event] = []
    for run in lower:
        inside = [one for one in found if run.start <= one.start < run.end]
        if inside:
            peak = max(one.peak for one in inside)
            lasting.append(Event(inside[0].start, run.end, peak))
    return lasting


def _merged(found: Sequence[Event], probe: Probe, gap: float) -> list[Event]:
    merged: list[Event] = []
    for one in found:
        is_near = bool(merged) and (
            probe.seconds(one.start) - probe.times.until(merged[-1].end) <= gap
        )
        if is_near and not touches(merged[-1].end, one.start, probe.damaged):
            last = merged[-1]
            merged[-1] = Event(last.start, one.end, max(last.peak, one.peak))
        else:
            merged.append(one)
    return merged


def _padded(found: Sequence[Event], probe: Probe, pad: float) -> list[Event]:
    """Events with `pad` seconds more on both sides, inside the video; joined where they touch."""
    padded: list[Event] = []
    for one in found:
        start = max(0, min(one.start, probe.frame(probe.seconds(one.start) - pad)))
        end = min(probe.frames, max(one.end, probe.frame(probe.times.until(one.end) + pad)))
        start = max([start, *(last for _, last in probe.damaged if last <= one.start)])
        end = min([end, *(first for first, _ in probe.damaged if first >= one.end)])
        if padded and start <= padded[-1].end:
            last = padded[-1]
            padded[-1] = Event(last.start, end, max(last.peak, one.peak))
        else:
            padded.append(Event(start, end, one.peak))
    return padded


def _seconds(event: Event, probe: Probe) -> float:
    return probe.times.until(event.end) - probe.seconds(event.start)


class Hours(NamedTuple):
    """Minutes of the day [start, end) in UTC; end is above 1440 where they pass midnight."""

    start: int
    end: int


def parse_hours(texts: Sequence[str], where: str) -> tuple[Hours, ...]:
    """`22-6` or `22:30-06:00` as minutes of the day.

    Raises ConfigError, which opens with `where`, for a malformed, empty or overlapping span.
    """
    spans: list[Hours] = []
    taken: set[int] = set()
    for text in texts:
        match = _SPAN.fullmatch(text.strip())
        first, last = (
            (60 * int(match[i]) + int(match[i + 1] or 0) for i in (1, 3)) if match else (-1, -1)
        )
        minutes = match is not None and all(int(match[i] or 0) < 60 for i in (2, 4))
        if not (minutes and 0 <= first < _DAY and 0 <= last <= _DAY and first != last):
            raise ConfigError(
                f"{where}: {text!r} is not a span of hours like 22-6 or 22:30-06:00 (UTC)"
            )
        span = Hours(first, last if last > first else last + _DAY)
        inside = {minute % _DAY for minute in range(span.start, span.end)}
        if taken & inside:
            raise ConfigError(f"{where}: {text!r} overlaps another span of hours; join them")
        taken |= inside
        spans.append(span)
    return tuple(spans)


def is_ignored(event: Event, probe: Probe, hours: Sequence[Hours]) -> bool:
    """Whether an event lies within ignored hours as a whole. False where no wall clock is known."""
    if probe.started is None or not hours:
        return False
    clock = probe.clock(probe.seconds(event.start))
    time = datetime.fromisoformat(str(clock))
    start = time.hour * 60 + time.minute + time.second / 60
    end = start + _seconds(event, probe) / 60
    return any(
        span.start <= start + day and end + day <= span.end for span in hours for day in (0, _DAY)
    )


def hours_of_day(segments: ArrayLike, probe: Probe) -> NDArray[np.int64]:
    """The hour of the day (UTC) at which each segment [T, 2] starts. DataError: no wall clock."""
    if probe.started is None:
        raise DataError("the wall clock of this video is not known")
    begun = datetime.fromisoformat(probe.started)
    first = begun.hour * 3600 + begun.minute * 60 + begun.second + begun.microsecond / 1e6
    bounds = np.asarray(segments, dtype=np.int64)
    seconds = probe.times.all_seconds(bounds[:, 0]) + first
    return np.asarray((seconds // 3600) % 24, dtype=np.int64)


def footage_seconds(segments: ArrayLike, probe: Probe) -> NDArray[np.float64]:
    """How long each segment [T, 2] is shown, in seconds [T], without the gaps in it."""
    bounds = np.asarray(segments, dtype=np.int64)
    seconds = np.diff(probe.times.all_seconds(bounds), axis=1)[:, 0]
    for gap in probe.times.gaps:
        inside = (bounds[:, 0] < gap.frame) & (gap.frame <= bounds[:, 1])
        seconds[inside] -= gap.end - gap.start
    return np.asarray(seconds)
