"""Which frames of a video the model sees: segments and uniform sampling. Arrays only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError
from hhvad.records import VIEWS, Segment


def segments(n_frames: int, length: int = 48) -> list[Segment]:
    """Non-overlapping segments of `length` frames that cover a video; the last may be shorter."""
    if n_frames < 1 or length < 1:
        raise DataError(f"{n_frames} frames cannot be cut into segments of {length}")
    return [Segment(s, min(s + length, n_frames)) for s in range(0, n_frames, length)]


def uniform(start: int, end: int, count: int) -> NDArray[np.int64]:
    """The centres of `count` equal bins of frames [start, end): floor(start + (i + 0.5) width).

    In whole numbers, so that no rounding of floats moves a frame. A span shorter than `count`
    repeats frames. METHOD 1, uniform sampling.
    """
    if end <= start or count < 1:
        raise DataError(f"{count} frames cannot be sampled from [{start}, {end})")
    i = np.arange(count, dtype=np.int64)
    return start + (2 * i + 1) * (end - start) // (2 * count)


def plan(
    n_frames: int, view: str, frames: int = 16, segment_length: int = 48
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segments int64 [S, 2] of a view and the frames int64 [S, F] that are sampled from each.

    View `video` is one segment, the whole video; `segments` is the grid of `segment_length`.
    """
    if view not in VIEWS:
        raise DataError(f"view is {view!r}; it is one of {', '.join(VIEWS)}")
    cuts = [Segment(0, n_frames)] if view == "video" else segments(n_frames, segment_length)
    indices = [uniform(cut.start, cut.end, frames) for cut in cuts]
    return np.array(cuts, dtype=np.int64), np.stack(indices)
