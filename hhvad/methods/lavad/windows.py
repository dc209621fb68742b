"""The windows of a video, and the frames that stand for each. All in frames, 0-based."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts.ranges import Ranges, outside
from hhvad.errors import DataError
from hhvad.media.samplers import segments, undamaged
from hhvad.media.time import FrameTimes

Ints = NDArray[np.int64]


class Windows(NamedTuple):
    """Per window its centre and its sampled frames."""

    centres: Ints  # [C]: 0, stride, 2 stride, ... below the number of frames, without damaged ones
    frames: list[Ints]  # C arrays of 1 to `samples` frames, increasing

    def wanted(self) -> Ints:
        """Every frame that some window needs, increasing."""
        return np.unique(np.concatenate(self.frames))


def grid(n_frames: int, stride: int, damaged: Ranges = ()) -> Ints:
    """The multiples of `stride` below `n_frames`: window centres, and the captioned frames.

    Without those of whose `stride` frames some are damaged.
    """
    if n_frames < 1 or stride < 1:
        raise DataError(
            f"{n_frames} frames at a stride of {stride} give no window; both must be at least 1"
        )
    return undamaged(segments(n_frames, stride), damaged)[:, 0]


def windows(
    n_frames: int,
    rate: float,
    *,
    stride: int,
    seconds: float,
    samples: int,
    on: str,
    times: FrameTimes | None = None,
    damaged: Ranges = (),
) -> Windows:
    """Windows of `seconds` around every grid frame, each with at most `samples` frames.

    A window is [c - h, c + h) cut to the video, h being half of its frames at `rate` per second.
    Where that rate is not constant, `times` say which frames are half a window away.
    on: `exact` samples among all frames of the window, as the official code does. `grid` samples
    among the multiples of `stride` in it, so that one picture is embedded per stride.
    damaged: frames that are in no window.

    Raises DataError for a video, stride, window or number of samples below one frame.
    """
    centres = grid(n_frames, stride, damaged)
    usable = outside(n_frames, damaged) if on == "exact" else centres
    half = int(seconds * rate) // 2
    if half < 1 or samples < 1:
        raise DataError(
            f"a window of {seconds:g} s at {rate:g} frames per second with {samples} samples "
            "holds no frame; make lavad's window or samples larger"
        )
    found = []
    for centre in centres.tolist():
        low, high = centre - half, centre + half
        if times is not None and not times.is_constant:
            at = times.seconds(centre)
            low, high = times.all_frames([at - seconds / 2, at + seconds / 2]).tolist()
            low, high = min(low, centre), max(high, centre + 1)
        low, high = max(low, 0), min(high, n_frames)
        inside = usable[slice(*np.searchsorted(usable, [low, high]))]
        if len(inside) > samples:
            inside = inside[np.linspace(0, len(inside) - 1, samples, dtype=np.int64)]
        found.append(inside)
    return Windows(centres, found)
