"""Events that look like one that a person marked false: shown as suppressed, never deleted.

An event's vector is the mean of its segments' features, centred and scaled by ordinary footage (by
all of its covariance, so that what always varies together counts once) and brought to length 1. An
event is suppressed where its cosine with an event marked false is at least `similarity` and above
its cosines with all events marked true. One that is clearly longer than the marked event is not:
something else may have happened beside what was marked. Arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FLOOR = 1e-6  # of the mean variance
LONGER = 1.25  # times as many segments as the marked event, or one more


class Ordinary(NamedTuple):
    """Mean [D] of the features of ordinary footage, and scale [D, D], which makes them as varied in
    every direction: the covariance of (features - centre) @ scale is the identity.
    """

    centre: Floats
    scale: Floats


class Vectors(NamedTuple):
    """The unit vectors [E, D] of events, and how many segments each touches [E]."""

    units: Floats
    segments: Ints


class Match(NamedTuple):
    """The mark that suppresses an event, by its number, and their cosine."""

    mark: int
    cosine: float


def ordinary(features: ArrayLike) -> Ordinary:
    """From features [N, D], with the covariance shrunk as Ledoit and Wolf (2004) do.

    Without any variation they are not scaled. Raises DataError for N = 0.
    """
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise DataError(f"features of ordinary footage have shape {values.shape}, not [N, D]")
    centre = values.mean(axis=0)
    usual = values.var(axis=0).mean()
    if not usual > 0:
        return Ordinary(centre, np.eye(len(centre)))
    from sklearn.covariance import ledoit_wolf

    # What never varies has a variance all the same: little, so that a change in it is seen.
    covariance = ledoit_wolf(values)[0] + FLOOR * usual * np.eye(len(centre))
    return Ordinary(centre, np.linalg.inv(np.linalg.cholesky(covariance)).T)


def vectors(
    features: ArrayLike, bounds: ArrayLike, spans: Sequence[tuple[int, int]], usual: Ordinary
) -> Vectors:
    """Of events in frames [start, end).

    features [T, D] are those of the segments bounds [T, 2]; all that an event touches count. An
    event without one, or that is just as usual, has zeros: it is like nothing.
    """
    values = (np.asarray(features, dtype=np.float64) - usual.centre) @ usual.scale
    segments = np.asarray(bounds, dtype=np.int64)
    found = np.zeros((len(spans), len(usual.centre)))
    counts = np.zeros(len(spans), dtype=np.int64)
    for row, (start, end) in enumerate(spans):
        touched = (segments[:, 0] < end) & (start < segments[:, 1])
        counts[row] = touched.sum()
        if touched.any():
            found[row] = values[touched].mean(axis=0)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return Vectors(found / np.where(lengths > 0, lengths, 1.0), counts)


def suppressed(
    events: Vectors, marks: Vectors, is_false: NDArray[np.bool_], similarity: float
) -> list[Match | None]:
    """For each event the false mark that suppresses it, or None.

    is_false [M]: which marks are; the others are marked true. Of equal cosines, the true mark wins,
    and the first of the false ones.
    """
    cosines = np.round(events.units @ marks.units.T, 12)  # an event is no less itself by rounding
    longest = np.maximum(LONGER * marks.segments, marks.segments + 1)
    alike = is_false & (events.segments[:, None] <= longest)
    false = np.where(alike, cosines, -np.inf)
    true = np.where(is_false, -np.inf, cosines)
    found: list[Match | None] = []
    for of_false, of_true in zip(false, true, strict=True):
        best = int(of_false.argmax()) if len(of_false) else 0
        hit = len(of_false) > 0 and of_false[best] >= similarity and of_false[best] > of_true.max()
        found.append(Match(best, float(of_false[best])) if hit else None)
    return found
