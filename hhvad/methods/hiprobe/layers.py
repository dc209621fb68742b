"""Which layer's hidden states tell normal from anomalous samples. Arrays only.

HiProbe-VAD (arXiv 2507.17394) ranks layers by Kullback-Leibler divergence, a linear discriminant
ratio and entropy, each standardised over the layers. Its code is not public: how each is computed
of many dimensions is our reading, a mean over dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError

BINS = 20
# Dimensions that hardly vary have no divergence worth the name: it would be that of rounding.
_FLOOR = 1e-2  # of a variance, relative to the layer's

Floats = NDArray[np.float64]


class Layers(NamedTuple):
    """Of every layer [L]: the three measures, and their sum of standard scores."""

    kl: Floats
    ldr: Floats
    entropy: Floats
    score: Floats

    @property
    def best(self) -> int:
        """The layer of the highest score, the first of equal ones."""
        return int(np.argmax(self.score))


def rank(states: NDArray[np.floating], labels: NDArray[np.int64]) -> Layers:
    """Rank layers by hidden states [N, L, D] of samples labelled 0 (normal) or 1 (anomaly) [N].

    kl: symmetric divergence of the classes' Gaussians; ldr: squared difference of their means over
    the sum of their variances; entropy: of a histogram of all samples in nats. Means over the
    dimensions, whose variances count as at least a hundredth of the layer's. The score is z(kl) +
    z(ldr) - z(entropy). Raises DataError for fewer than two
    samples of a class, and where numbers are not finite.
    """
    if min((labels == 0).sum(), (labels == 1).sum()) < 2:
        raise DataError("two samples of each class are needed to rank layers; add videos")
    if not np.isfinite(states).all():
        raise DataError("hidden states are not finite: take dtype bfloat16 or float32")
    x = states.astype(np.float64)
    normal, anomaly = x[labels == 0], x[labels == 1]
    floor = _FLOOR * (x.var(axis=(0, 2))[:, None] + np.finfo(float).tiny)
    variances = [np.maximum(part.var(axis=0), floor) for part in (normal, anomaly)]
    gap = (normal.mean(axis=0) - anomaly.mean(axis=0)) ** 2
    p, q = variances
    kl = ((p + gap) / q + (q + gap) / p - 2) / 2
    ldr = gap / (p + q)
    by_kl, by_ldr, by_entropy = kl.mean(axis=1), ldr.mean(axis=1), _entropy(x)
    score = _standard(by_kl) + _standard(by_ldr) - _standard(by_entropy)
    return Layers(by_kl, by_ldr, by_entropy, score)


def _entropy(x: Floats) -> Floats:
    """The mean over dimensions of the entropy of a histogram of the samples: [L]."""
    low, high = x.min(axis=0), x.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    bins = np.minimum((BINS * (x - low) / width).astype(np.int64), BINS - 1)
    found = np.zeros(x.shape[1:])
    for one in range(BINS):
        share = (bins == one).mean(axis=0)
        found -= share * np.log(np.where(share > 0, share, 1))
    return np.asarray(found.mean(axis=1))


def _standard(values: Floats) -> Floats:
    """Standard scores over the layers; zeros where all are equal."""
    spread = values.std()
    return np.zeros_like(values) if spread == 0 else np.asarray((values - values.mean()) / spread)
