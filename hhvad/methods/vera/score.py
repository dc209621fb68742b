"""From answers about windows to the scores of a video: arrays only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hhvad.errors import DataError

Scores = NDArray[np.float64]


def answered(logprobs: NDArray[np.float64], *, rounded: bool = False) -> Scores:
    """Scores [C] from log-probabilities [C, 1, 2] of the answers no and yes.

    The probability of yes where these are the only answers; `rounded` makes it 0 or 1, as the
    answer that a model gives would be. Raises DataError for other shapes and what is not finite.
    """
    if logprobs.shape[1:] != (1, 2) or not np.isfinite(logprobs).all():
        raise DataError(
            f"log-probabilities have shape {list(logprobs.shape)} or are not finite; [windows, 1, "
            "2] finite numbers are needed: ask again, with dtype bfloat16 or float32"
        )
    likely: Scores = expit(logprobs[:, 0, 1] - logprobs[:, 0, 0])
    return (likely > 0.5).astype(np.float64) if rounded else likely


def smoothed(scores: Scores, bounds: NDArray[np.int64], *, points: int, sigma: float) -> Scores:
    """Scores [C] averaged with weights exp(-x^2 / (2 sigma^2)) over `points` windows.

    bounds [C, 2]: the frames to which each applies; a kernel ends at a gap and at the ends of the
    video, where the weights that are left sum to 1.
    """
    half = points // 2
    offsets = np.arange(-half, points - half)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    breaks = np.flatnonzero(bounds[1:, 0] != bounds[:-1, 1]) + 1
    found = []
    for run in np.split(scores, breaks):
        sums = np.zeros(len(run))
        mass = np.zeros(len(run))
        for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
            to = slice(max(0, -offset), min(len(run), len(run) - offset))
            of = slice(max(0, offset), min(len(run), len(run) + offset))
            if to.start < to.stop:
                sums[to] += weight * run[of]
                mass[to] += weight
        found.append(sums / mass)
    return np.concatenate(found)


def by_position(scores: Scores) -> Scores:
    """Scores [C] times a Gaussian over the video's length, 1 in its middle (the paper's step 3).

    Its sigma is half of the windows. This is a prior on where events lie.
    """
    places = np.arange(len(scores))
    sigma = max(1.0, len(scores) // 2)
    middle = (len(scores) - 1) / 2
    return np.asarray(scores * np.exp(-((places - middle) ** 2) / (2 * sigma**2)))
