"""The share of anomalous phrases in a softmax over all phrases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError


def score_phrases(
    vectors: NDArray[np.float32],
    phrase_vectors: NDArray[np.float32],
    anomalous: NDArray[np.bool_],
    *,
    temperature: float,
) -> NDArray[np.float64]:
    """Scores [N]: softmax(cosines / temperature) over phrases, summed over the anomalous ones.

    vectors [N, D] of frames or windows and phrase_vectors [P, D] are unit vectors; anomalous [P].
    Raises DataError unless there are ordinary and anomalous phrases, or where widths differ.
    """
    if anomalous.all() or not anomalous.any():
        raise DataError("zero-shot needs ordinary and anomalous phrases; add the missing ones")
    if vectors.shape[-1] != phrase_vectors.shape[-1]:
        raise DataError(
            f"frame vectors have {vectors.shape[-1]} numbers and phrase vectors "
            f"{phrase_vectors.shape[-1]}: they are of two encoders"
        )
    logits = (vectors @ phrase_vectors.T).astype(np.float64) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights[:, anomalous].sum(axis=1) / weights.sum(axis=1))
