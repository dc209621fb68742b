"""Which frames a description looks at: more of them where the anomaly scores are high.

Source: the anomaly-focused temporal sampler (ATS) of Holmes-VAU. Every 16th frame of a video is a
dense frame with a score in [0, 1]. A floor is added to the scores, they are summed up over time,
and frames are taken at equal steps of that sum. Two differences from the paper are on by default:

| | paper | default |
|---|---|---|
| floor | 0.1 per dense frame: outweighs a short event in a long video | a share of all mass |
| a frame chosen twice | stays | moves to the nearest frame that is free |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError

FLOORS = ("share", "absolute")
STRIDE = 16  # frames from one dense frame to the next

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Floor(NamedTuple):
    """What is added to every score. share: of the mass of scores and floor together, below 1."""

    kind: str = "share"
    value: float = 0.2


class Focus(NamedTuple):
    """The frames that were chosen: index among the dense frames (-1: none), frame, score, all [N].

    The score is that of the segment that holds the frame.
    """

    dense: Ints
    frames: Ints
    scores: Floats


def uniform(n_frames: int, count: int) -> Ints:
    """`count` frames of a video, evenly spaced: int(width / 2 + round(width * j)).

    width = (n_frames - 1) / count, rounded half to even, as in the official code. Raises DataError
    for an empty video or count.
    """
    _require(n_frames, count)
    width = (n_frames - 1) / count
    return np.array([int(width / 2 + round(width * j)) for j in range(count)], dtype=np.int64)


def density(
    scores: ArrayLike, count: int, floor: Floor | None = None, *, distinct: bool = True
) -> Ints:
    """Indices [count] of the dense frames to look at, rising, from their scores [T].

    Evenly spaced where there are no more dense frames than wanted or the scores sum to less than 1.
    distinct: no index twice, where T allows it. Raises DataError for scores outside [0, 1], an
    unknown floor or a bad value of it.
    """
    values = np.asarray(scores)
    if values.dtype != np.float32:  # the official code adds float32 scores up in float32
        values = values.astype(np.float64)
    if values.ndim != 1:
        raise DataError(f"scores have shape {values.shape}; one number per dense frame is needed")
    _require(len(values), count)
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(bad):
        raise DataError(f"score {bad[0]} is {values[bad[0]]}; a score is from 0 to 1")
    kind, value = floor or Floor()
    least = _floor(values, kind, value)
    total = len(values)
    if total <= count or values.cumsum()[-1] < 1:
        chosen = np.rint(np.linspace(0, total - 1, count)).astype(np.int64)
    else:
        mass = np.concatenate(([0.0], np.cumsum(values + values.dtype.type(least))))
        if kind == "absolute":
            wanted = np.linspace(1, np.round(mass[-1]), count)
        else:  # the centres of equal parts: also where the mass is hardly more than 1
            wanted = (np.arange(count) + 0.5) * (mass[-1] / count)
        chosen = np.clip(_invert(mass, wanted).astype(np.int64), 0, total - 1)
    return _spread(chosen, total) if distinct else chosen


def _floor(values: NDArray[np.floating], kind: str, value: float) -> float:
    """The floor under every score."""
    if kind not in FLOORS:
        raise DataError(f"focus.floor.kind is {kind!r}; it is one of {', '.join(FLOORS)}")
    if not 0 <= value < (1 if kind == "share" else np.inf):
        raise DataError(
            f"focus.floor.value is {value}; it is at least 0, and below 1 for the kind share"
        )
    return value if kind == "absolute" else float(value / (1 - value) * values.mean())


def _invert(mass: Floats, wanted: Floats) -> Floats:
    """Where the rising, piecewise linear mass [T + 1] reaches each wanted value.

    The first and last piece go on beyond their ends.
    """
    piece = np.clip(np.searchsorted(mass, wanted), 1, len(mass) - 1)
    low, high = mass[piece - 1], mass[piece]
    return np.asarray((wanted - low) / np.where(high > low, high - low, 1.0) + (piece - 1))


def _spread(chosen: Ints, total: int) -> Ints:
    """The same indices, a repeated one moved to the nearest that is free (the earlier of two)."""
    free = np.ones(total, dtype=bool)
    moved = []
    for index in chosen.tolist():
        if not free.any():
            moved.append(index)  # more wanted than there are
            continue
        candidates = np.flatnonzero(free)
        nearest = int(candidates[np.argmin(np.abs(candidates - index))])
        free[nearest] = False
        moved.append(nearest)
    return np.sort(np.array(moved, dtype=np.int64))


def choose(
    bounds: ArrayLike,
    scores: ArrayLike,
    span: tuple[int, int],
    count: int,
    floor: Floor | None = None,
    *,
    distinct: bool = True,
    stride: int = STRIDE,
) -> Focus:
    """The `count` frames of a span [start, end) to look at.

    bounds [S, 2]: the frames [start, end) of each scored segment, in order; scores [S]. Only frames
    with a score are chosen, evenly where there are no more than stride * count. Raises DataError
    where there are none.
    """
    start, end = span
    _require(end - start, count)
    edges = np.asarray(bounds, dtype=np.int64).reshape(-1, 2)
    values = np.asarray(scores, dtype=np.float64)
    if len(edges) != len(values):
        raise DataError(f"{len(edges)} segments, but {len(values)} scores")
    inside = np.arange(start, end)
    inside = inside[_segment_at(edges, inside) >= 0]
    if not len(inside):
        raise DataError(f"no frame of {start}-{end} has a score; score the whole video")
    if len(inside) <= stride * count:
        frames = inside[uniform(len(inside), count)]
        dense = np.full(count, -1, dtype=np.int64)
    else:
        grid = inside[::stride]
        dense = density(_score_at(edges, values, grid), count, floor, distinct=distinct)
        frames = grid[dense]
    return Focus(dense, frames, _score_at(edges, values, frames))


def _score_at(bounds: Ints, scores: Floats, frames: Ints) -> Floats:
    """The score of the segment that holds each frame."""
    return np.asarray(scores[_segment_at(bounds, frames)])


def _segment_at(bounds: Ints, frames: Ints) -> Ints:
    """The number of the segment that holds each frame; -1 for none."""
    segment = np.searchsorted(bounds[:, 0], frames, side="right") - 1
    outside = (segment < 0) | (frames >= bounds[np.maximum(segment, 0), 1])
    return np.where(outside, -1, segment)


def _require(n_frames: int, count: int) -> None:
    if n_frames < 1 or count < 1:
        raise DataError(f"{count} of {n_frames} frames cannot be chosen; both are at least 1")
