"""From the log-probabilities of two answers to the scores of a video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hhvad.errors import DataError
from hhvad.localization.locator import Locator


def score(
    logprobs: NDArray[np.float64], bounds: NDArray[np.int64], sigma: float | None
) -> NDArray[np.float64]:
    """Scores [S] from log-probabilities [S, K, 2] of no and yes at K thresholds.

    p_k is the probability of yes where these are the only answers; the score is the mean over k,
    the expected severity where thresholds are equally far apart. (The paper first makes p_k fall
    with k by pooling adjacent violators, which replaces values by means and leaves their mean.)
    bounds [S, 2]: frames of the segments; smoothing with `sigma` segments restarts after a gap.
    Raises DataError for other shapes and numbers that are not finite.
    """
    if logprobs.ndim != 3 or logprobs.shape[2] != 2 or not np.isfinite(logprobs).all():
        raise DataError(
            f"log-probabilities have shape {list(logprobs.shape)} or are not finite; [segments, "
            "thresholds, 2] finite numbers are needed: ask again, with dtype bfloat16 or float32"
        )
    scores: NDArray[np.float64] = expit(logprobs[..., 1] - logprobs[..., 0]).mean(axis=1)
    return scores if sigma is None else Locator(sigma, 0.5).smooth(scores, bounds)
