"""Ranges of frames [start, end), such as the damaged ones of a video: what touches them or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ranges = Sequence[tuple[int, int]]


def touches(start: int, end: int, ranges: Ranges) -> bool:
    """Whether frames [start, end) and the ranges have some in common."""
    return any(first < end and start < last for first, last in ranges)


def outside(n_frames: int, ranges: Ranges) -> NDArray[np.int64]:
    """The frames of a video that are in none of the ranges, in order."""
    kept = np.ones(n_frames, dtype=bool)
    for start, end in ranges:
        kept[start:end] = False
    return np.flatnonzero(kept)


def apart(segments: ArrayLike, ranges: Ranges) -> NDArray[np.int64]:
    """Those of the segments [S, 2] that touch none of the ranges."""
    bounds = np.asarray(segments, dtype=np.int64)
    for start, end in ranges:
        bounds = bounds[(bounds[:, 1] <= start) | (end <= bounds[:, 0])]
    return bounds
