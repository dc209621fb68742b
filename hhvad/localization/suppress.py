"""Events that look like one that a person marked false: shown as suppressed, never deleted.

An event's vector is the mean of its segments' features, centred and scaled by ordinary footage and
brought to length 1. An event is suppressed where its cosine with an event marked false is at least
`similarity` and above its cosines with all events marked true. Arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError

Floats = NDArray[np.float64]


class Ordinary(NamedTuple):
    """Mean and standard deviation [D] of the features of ordinary footage."""

    centre: Floats
    spread: Floats


class Match(NamedTuple):
    """The mark that suppresses an event, by its number, and their cosine."""

    mark: int
    cosine: float


def ordinary(features: ArrayLike) -> Ordinary:
    """From features [N, D]; what does not vary is not scaled. Raises DataError for N = 0."""
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise DataError(f"features of ordinary footage have shape {values.shape}, not [N, D]")
    spread = values.std(axis=0)
    return Ordinary(values.mean(axis=0), np.where(spread > 0, spread, 1.0))


def vectors(
    features: ArrayLike, bounds: ArrayLike, spans: Sequence[tuple[int, int]], usual: Ordinary
) -> Floats:
    """The unit vectors [E, D] of events in frames [start, end).

    features [T, D] are those of the segments bounds [T, 2]; all that an event touches count. An
    event without one, or that is just as usual, has zeros: it is like nothing.
    """
    values = (np.asarray(features, dtype=np.float64) - usual.centre) / usual.spread
    segments = np.asarray(bounds, dtype=np.int64)
    found = np.zeros((len(spans), len(usual.centre)))
    for row, (start, end) in enumerate(spans):
        touched = (segments[:, 0] < end) & (start < segments[:, 1])
        if touched.any():
            found[row] = values[touched].mean(axis=0)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(lengths > 0, lengths, 1.0)


def suppressed(
    events: Floats, marks: Floats, is_false: NDArray[np.bool_], similarity: float
) -> list[Match | None]:
    """For each event [E, D] the false mark of [M, D] that suppresses it, or None.

    is_false [M]: which marks are; the others are marked true. Of equal cosines, the true mark wins,
    and the first of the false ones.
    """
    cosines = np.round(events @ marks.T, 12)  # an event is no less like itself by rounding
    false = np.where(is_false, cosines, -np.inf)
    true = np.where(is_false, -np.inf, cosines)
    found: list[Match | None] = []
    for of_false, of_true in zip(false, true, strict=True):
        best = int(of_false.argmax()) if len(marks) else 0
        hit = len(marks) > 0 and of_false[best] >= similarity and of_false[best] > of_true.max()
        found.append(Match(best, float(of_false[best])) if hit else None)
    return found
