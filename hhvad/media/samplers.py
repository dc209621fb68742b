"""Which frames of a video the models see: the views, each a cut into segments. Arrays only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.artifacts.ranges import Ranges, apart, outside
from hhvad.errors import DataError
from hhvad.records import Segment


def segments(n_frames: int, length: int) -> list[Segment]:
    """Non-overlapping segments of `length` frames that cover a video; the last may be shorter."""
    if n_frames < 1 or length < 1:
        raise DataError(f"{n_frames} frames cannot be cut into segments of {length}")
    return [Segment(s, min(s + length, n_frames)) for s in range(0, n_frames, length)]


def uniform(start: int, end: int, count: int) -> NDArray[np.int64]:
    """The centres of `count` equal bins of frames [start, end): floor(start + (i + 0.5) width).

    In whole numbers, so that no rounding of floats moves a frame. A span shorter than `count`
    repeats frames.
    """
    if end <= start or count < 1:
        raise DataError(f"{count} frames cannot be sampled from [{start}, {end})")
    i = np.arange(count, dtype=np.int64)
    return start + (2 * i + 1) * (end - start) // (2 * count)


def uniform_of(undamaged: NDArray[np.int64], start: int, end: int, count: int) -> NDArray[np.int64]:
    """`uniform` over those frames of [start, end) that are in `undamaged`, which are in order."""
    first, last = np.searchsorted(undamaged, [start, end]).tolist()
    if first == last:
        raise DataError(f"all frames of [{start}, {end}) are damaged")
    return undamaged[uniform(first, last, count)]


def leading(start: int, end: int, count: int) -> NDArray[np.int64]:
    """The first `count` frames of [start, end); a shorter span repeats its last one."""
    if end <= start or count < 1:
        raise DataError(f"{count} frames cannot be sampled from [{start}, {end})")
    return np.minimum(start + np.arange(count, dtype=np.int64), end - 1)


def but_last(start: int, end: int, count: int) -> NDArray[np.int64]:
    """`uniform` over all frames but the last, as the official HeadHunt code samples a video."""
    return uniform(start, max(end - 1, start + 1), count)


def whole(n_frames: int, length: int) -> list[Segment]:
    """One segment, the whole video."""
    return [Segment(0, n_frames)]


class View(NamedTuple):
    """How a video of n frames is cut, at a given length, and which frames of a cut are taken."""

    cut: Callable[[int, int], list[Segment]]
    pick: Callable[[int, int, int], NDArray[np.int64]]


# In `grid` the length is the stride: with one frame per segment, frames 0, stride, 2 stride, ...
VIEWS = {
    "video": View(whole, uniform),
    "video-but-last": View(whole, but_last),
    "segments": View(segments, uniform),
    "grid": View(segments, leading),
}


def plan(
    n_frames: int, view: str, frames_per_segment: int, segment_length: int, damaged: Ranges = ()
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segments int64 [S, 2] of a view and the frames int64 [S, F] that are sampled from each.

    damaged: frames [start, end) that are lost. Segments that touch them are left out; of a whole
    video, frames are taken from the others. Raises DataError where nothing is left.
    """
    if view not in VIEWS:
        raise DataError(f"view is {view!r}; it is one of {', '.join(VIEWS)}")
    cut, pick = VIEWS[view]
    cuts = np.array(cut(n_frames, segment_length), dtype=np.int64)
    if damaged and cut is whole:
        frames = outside(n_frames, damaged)
        return cuts, frames[pick(0, len(frames), frames_per_segment)][None]
    cuts = undamaged(cuts, damaged)
    indices = [pick(start, end, frames_per_segment) for start, end in cuts.tolist()]
    return cuts, np.stack(indices)


def undamaged(cuts: ArrayLike, damaged: Ranges) -> NDArray[np.int64]:
    """Those of the segments [S, 2] that touch no damaged frames. Raises DataError for none left."""
    bounds = apart(cuts, damaged)
    if not len(bounds):
        raise DataError("no segment of the video is without damage")
    return bounds
