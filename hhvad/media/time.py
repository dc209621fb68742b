"""When the frames of a video are shown: the one way between frames and seconds.

Second 0 is where a player starts the file. A frame is shown until the next one, or until a gap: a
time of which nothing was recorded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GAP_SECONDS = 1.0  # a frame that is shown for longer, and far longer than both neighbours
GAP_TIMES = 3
_ROUNDED = Fraction(1, 1000)  # seconds; Matroska and others round times to these
_STEPS = re.compile(r"\d+(\*\d+)?( \d+(\*\d+)?)*")


class Gap(NamedTuple):
    """A time in seconds [start, end) of which nothing was recorded, before the frame `frame`."""

    frame: int
    start: float
    end: float


@dataclass(frozen=True)
class FrameTimes:
    """The presentation times of `count` frames.

    rate: frames a second.  start: seconds at which frame 0 is shown.
    steps: how long each frame is shown, in units of `unit` seconds: "512*300 5120*30" is 300 frames
    of 512 units, then 30 of 5120. Where it is empty, each frame is shown for 1 / rate.
    """

    count: int
    rate: Fraction
    start: Fraction = Fraction(0)
    unit: Fraction = Fraction(1)
    steps: str = ""

    def __post_init__(self) -> None:
        if self.count < 1 or self.rate <= 0 or self.unit <= 0:
            raise ValueError(f"{self.count} frames, {self.rate} a second, in units of {self.unit}")
        if self.steps and not (_STEPS.fullmatch(self.steps) and len(self._steps) == self.count):
            raise ValueError(f"the times are not those of {self.count} frames")

    @classmethod
    def of(
        cls, stamps: ArrayLike, unit: Fraction, rate: Fraction, start: Fraction = Fraction(0)
    ) -> FrameTimes:
        """The times of frames shown at `stamps` [N], in units of `unit` seconds, in their order.

        A clock that steps back starts a new piece: its first frame follows the frame before after a
        step of the usual length. Stamps that a constant rate explains, to a rounding, become one.
        """
        usual = max(1, round(1 / (rate * unit)))
        ticks = _without_steps_back(np.asarray(stamps, dtype=np.int64), usual)
        count = len(ticks)
        # Where a unit is coarser than that, files count in frames or mean what they say.
        rounded = max(1, float(_ROUNDED / unit)) if unit <= _ROUNDED else 0
        rates = [rate]
        if count > 1 and ticks[-1]:
            measured = (count - 1) / (int(ticks[-1]) * unit)
            rates.append(measured.limit_denominator(1_000_000))
        for constant in rates:
            ideal = np.arange(count) * float(1 / constant / unit)
            if np.abs(ticks - ideal).max() <= rounded + 1e-6:
                return cls(count, constant, start)
        steps = np.diff(ticks)
        usual = int(np.median(steps))
        # What the last frame's duration is, files do not agree on: that of the one before it.
        last = usual if _is_gap(_exact(steps, unit, Fraction(0)))[-1] else int(steps[-1])
        return cls(count, rate, start, unit, _pack([*steps.tolist(), max(1, last)]))

    @property
    def is_constant(self) -> bool:
        """Whether each frame is shown for 1 / rate."""
        return not self.steps

    @cached_property
    def _steps(self) -> Ints:
        runs = [token.partition("*") for token in self.steps.split(" ")]
        lengths = np.array([int(length) for length, _, _ in runs], dtype=np.int64)
        return np.repeat(lengths, [int(times or 1) for _, _, times in runs])

    @cached_property
    def _starts(self) -> Floats:
        """When each frame starts, and when the last one ends, in seconds [count + 1]."""
        ticks = np.append(0, np.cumsum(self._steps))
        return _exact(ticks, self.unit, self.start)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """The times of which nothing was recorded, in order."""
        if self.is_constant:
            return ()
        shown = _exact(self._steps, self.unit, Fraction(0))
        ends = self._starts[:-1] + _longer_neighbour(shown)
        return tuple(
            Gap(int(k) + 1, float(ends[k]), float(self._starts[k + 1]))
            for k in np.flatnonzero(_is_gap(shown))
        )

    def seconds(self, frame: int) -> float:
        """When a frame starts to be shown; the number of frames gives the end of the last one."""
        return float(self.all_seconds([frame])[0])

    def frame(self, seconds: float) -> int:
        """The frame whose start is nearest to a time; in a gap, the frame after it."""
        return int(self.all_frames([seconds])[0])

    def until(self, frame: int) -> float:
        """When the frame before `frame` ceases to be shown: earlier than `seconds` after a gap."""
        return next((gap.start for gap in self.gaps if gap.frame == frame), self.seconds(frame))

    def between(self, spans: Sequence[tuple[int, int]]) -> float:
        """How many seconds lie from the first to the second frame of each span, all together."""
        first, second = np.array(spans, dtype=np.int64).reshape(-1, 2).T
        if self.is_constant:
            return float((second - first).sum() / float(self.rate))
        return float((self.all_seconds(second) - self.all_seconds(first)).sum())

    def all_seconds(self, frames: ArrayLike) -> Floats:
        """`seconds` of each of an array of frames, of any shape."""
        index = np.asarray(frames, dtype=np.int64)
        if self.is_constant:
            return _exact(index, 1 / self.rate, self.start)
        inside = np.clip(index, 0, self.count)
        return np.asarray(self._starts[inside] + (index - inside) / float(self.rate))

    def in_segments(self, frames: ArrayLike, segments: ArrayLike) -> Floats:
        """When frames [S, F] are shown, in seconds to a ms from the starts of segments [S, 2]."""
        starts = self.all_seconds(np.asarray(segments)[:, :1])
        return np.asarray(np.round(self.all_seconds(frames) - starts, 3))

    def all_frames(self, seconds: ArrayLike) -> Ints:
        """`frame` of each of an array of times, of any shape."""
        time = np.asarray(seconds, dtype=np.float64)
        if self.is_constant:
            return np.rint((time - float(self.start)) * float(self.rate)).astype(np.int64)
        # A gap belongs to the frame after it: that frame's bound reaches from its start to its end.
        edges = np.append(self._starts, [gap.start for gap in self.gaps])
        owner = np.append(np.arange(self.count + 1), [gap.frame for gap in self.gaps])
        order = np.argsort(edges, kind="stable")
        edges, owner = edges[order], owner[order]
        found = owner[np.searchsorted((edges[:-1] + edges[1:]) / 2, time, side="left")]
        before, after = edges[0] - time, time - edges[-1]
        outside = np.rint((np.maximum(after, 0) - np.maximum(before, 0)) * float(self.rate))
        return np.asarray(found + outside.astype(np.int64), dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads, beside the number of frames."""
        data = {"rate": str(self.rate), "start": str(self.start)}
        return {**data, "unit": str(self.unit), "steps": self.steps} if self.steps else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], count: int) -> FrameTimes:
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError, ZeroDivisionError."""
        rate, start = Fraction(str(data["rate"])), Fraction(str(data["start"]))
        unit, steps = Fraction(str(data.get("unit", 1))), str(data.get("steps", ""))
        return cls(count, rate, start, unit, steps)


def _exact(ticks: Ints, unit: Fraction, start: Fraction) -> Floats:
    """start + ticks * unit, rounded once."""
    scale = math.lcm(start.denominator, unit.denominator)
    return np.asarray((int(start * scale) + ticks * int(unit * scale)) / scale, dtype=np.float64)


def _without_steps_back(stamps: Ints, usual: int) -> Ints:
    """Stamps from 0 on that never fall: a piece that starts earlier is moved behind the last."""
    steps = np.diff(stamps)
    forward = steps[steps > 0]
    step = int(np.median(forward)) if len(forward) else usual
    return np.append(0, np.cumsum(np.where(steps < 0, step, steps)))


def _is_gap(shown: Floats) -> NDArray[np.bool_]:
    """Whether each frame is shown for so many seconds [N] that a gap must follow it."""
    return (shown > GAP_SECONDS) & (shown > GAP_TIMES * _longer_neighbour(shown))


def _longer_neighbour(shown: Floats) -> Floats:
    padded = np.pad(shown, 1)
    return np.asarray(np.maximum(padded[:-2], padded[2:]))


def _pack(steps: list[int]) -> str:
    runs = [(step, len(list(same))) for step, same in groupby(steps)]
    return " ".join(str(step) if times == 1 else f"{step}*{times}" for step, times in runs)
