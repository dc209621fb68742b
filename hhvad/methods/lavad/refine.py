"""Steps 6 and 7: each window's score is corrected by those of similar summaries or windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts.ranges import Ranges
from hhvad.errors import DataError
from hhvad.media import samplers
from hhvad.media.samplers import undamaged
from hhvad.methods.lavad.clean import rows_of
from hhvad.methods.lavad.index import Floats, unit
from hhvad.methods.lavad.windows import Windows

Scores = NDArray[np.float64]


class Neighbours(NamedTuple):
    """Per window its K nearest entries, best first."""

    rows: NDArray[np.int64]  # [C, K]
    cosines: NDArray[np.float32]  # [C, K]


def window_vectors(
    windows: Windows, frames: NDArray[np.int64], frame_vectors: Floats, *, of: str = "mean"
) -> Floats:
    """The unit mean of the unit vectors of each window's frames: [C, D].

    frames [G], frame_vectors [G, D]: as in clean.nearest_captions.
    of: `mean`, all its frames; `ends`, the first and the last, all that the official code sees.
    """
    rows = [rows_of(wanted, frames) for wanted in windows.frames]
    if of == "ends":
        rows = [found[[0, -1]] for found in rows]
    means = [frame_vectors[found].mean(axis=0) for found in rows]
    return unit(np.stack(means), "window vectors")


def nearest(queries: Floats, entries: Floats, k: int) -> Neighbours:
    """The k entries [U, D] of largest cosine for each query [C, D]; all where there are fewer.

    Both are unit vectors. Equal cosines: the earlier entry.
    """
    if queries.shape[-1] != entries.shape[-1]:
        raise DataError(
            f"window vectors have {queries.shape[-1]} numbers and summary vectors "
            f"{entries.shape[-1]}: they are of two encoders"
        )
    cosines = (queries @ entries.T).astype(np.float32)
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, len(entries))]
    return Neighbours(rows.astype(np.int64), np.take_along_axis(cosines, rows, axis=1))


def by_summaries(
    queries: Floats, entries: Floats, entry_scores: Scores, *, k: int, temperature: float
) -> Scores:
    """Refined scores [C] from the k summaries nearest to each window.

    queries [C, D]: window vectors. entries [U, D]: vectors of unique summaries, with the score of
    the first window that has each as entry_scores [U]. The paper: k 10, temperature 1.
    """
    return _weigh(nearest(queries, entries, k), entry_scores, temperature)


def by_windows(queries: Floats, scores: Scores, *, share: float, temperature: float) -> Scores:
    """Refined scores [C] from the most similar windows, itself among them.

    queries [C, D]: window vectors. share: of the windows, at least one is taken.
    """
    k = max(1, int(share * len(queries)))
    return _weigh(nearest(queries, queries, k), scores, temperature)


def _weigh(neighbours: Neighbours, scores: Scores, temperature: float) -> Scores:
    """The mean of the neighbours' scores, weighted by softmax(cosines / temperature)."""
    cosines = neighbours.cosines.astype(np.float64)
    weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights * scores[neighbours.rows]).sum(axis=1))


def segments(n_frames: int, stride: int, damaged: Ranges = ()) -> NDArray[np.int64]:
    """The frames [start, end) to which the score of each window applies: [C, 2].

    Without those that touch damaged frames.
    """
    return undamaged(samplers.segments(n_frames, stride), damaged)


def frame_scores(scores: Scores, n_frames: int, stride: int) -> Scores:
    """The score of every frame [n_frames]: each window's, repeated `stride` times and cut."""
    return np.repeat(scores, stride)[:n_frames]
