"""ROC and precision-recall curves over frames, with bands over resampled videos."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.evaluation.metrics import Ranking, resamples

Floats = NDArray[np.float64]

GRID = np.linspace(0, 1, 201)


class Band(NamedTuple):
    """The middle 95 % of resampled curves: y from `low` to `high` at each x; all [len(GRID)]."""

    x: Floats
    low: Floats
    high: Floats


def points(frames: Ranking, weights: Floats | None = None) -> dict[str, tuple[Floats, Floats]]:
    """x and y [G + 1] of `roc` and `pr`, a point for each distinct score.

    weights: how often each video [V] counts; without them, once.
    """
    tp, fp = frames.counts(weights)
    called = tp + fp
    precision = np.divide(tp, called, out=np.ones_like(tp), where=called > 0)
    recall = np.append(0, tp / max(tp[-1], 1))
    return {
        "roc": (np.append(0, fp / max(fp[-1], 1)), recall),
        "pr": (recall, np.append(precision[0], precision)),
    }


def bands(frames: Ranking, videos: int, count: int, seed: int) -> dict[str, Band]:
    """Bands of `roc` and `pr` over `count` resamples of the videos.

    The resamples are those of `metrics.bootstrap`. One without a normal or without an anomalous
    frame has no curve; of fewer than two curves there is no band, and the result is empty.
    """
    roc, pr = [], []
    for weights in resamples(videos, count, seed):
        tp, fp = frames.counts(weights)
        if not tp[-1] or not fp[-1]:
            continue
        drawn = points(frames, weights)
        roc.append(np.interp(GRID, *drawn["roc"]))
        recall, precision = drawn["pr"]
        reached = np.searchsorted(recall, GRID - 1e-12)  # the first threshold of each recall
        pr.append(precision[np.minimum(reached, len(precision) - 1)])
    if len(roc) < 2:
        return {}
    found = {"roc": roc, "pr": pr}
    return {name: Band(GRID, *np.percentile(ys, (2.5, 97.5), axis=0)) for name, ys in found.items()}
