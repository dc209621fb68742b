"""ROC and precision-recall curves, and their bands over resampled videos."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from hhvad.evaluation import curves, metrics

RNG = np.random.default_rng(3)
VIDEO = np.repeat(np.arange(6), 8)
SCORES = RNG.integers(0, 12, 48) / 12
POSITIVE = RNG.integers(0, 3, 48).astype(float)
FRAMES = metrics.rank(VIDEO, SCORES, POSITIVE, 2 - POSITIVE)


def frame_by_frame(weights):
    """Truth, scores and weights of single frames, of videos that count at all."""
    truth = np.concatenate([[1] * int(p) + [0] * int(2 - p) for p in POSITIVE])
    each = np.repeat(weights[VIDEO], 2)
    chosen = each > 0
    return truth[chosen], np.repeat(SCORES, 2)[chosen], each[chosen]


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1, 1], [0, 3, 1, 0, 2, 0]])
def test_points_are_scikit_learns(weights):
    weights = np.array(weights, dtype=float)
    found = curves.points(FRAMES, weights)
    truth, scores, each = frame_by_frame(weights)
    x, y, _ = roc_curve(truth, scores, sample_weight=each, drop_intermediate=False)
    for ours, theirs in zip(found["roc"], (x, y), strict=True):
        assert np.unique(ours) == pytest.approx(np.unique(theirs))
    precision, recall, _ = precision_recall_curve(truth, scores, sample_weight=each)
    wanted = {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)}
    recall, precision = found["pr"]
    points = zip(recall[1:], precision[1:], strict=True)
    assert {(round(r, 9), round(p, 9)) for r, p in points} <= wanted


def test_bands_are_percentiles_of_the_bootstraps_curves():
    bands = curves.bands(FRAMES, 6, 40, seed=5)
    drawn = [curves.points(FRAMES, weights) for weights in metrics.resamples(6, 40, 5)]
    at = 60  # of the grid: 0.3
    assert curves.GRID[at] == pytest.approx(0.3)
    rates = [np.interp(0.3, *one["roc"]) for one in drawn]
    assert [bands["roc"].low[at], bands["roc"].high[at]] == pytest.approx(
        np.percentile(rates, (2.5, 97.5))
    )
    levels = [p[np.argmax(r >= 0.3)] for r, p in (one["pr"] for one in drawn)]
    assert [bands["pr"].low[at], bands["pr"].high[at]] == pytest.approx(
        np.percentile(levels, (2.5, 97.5))
    )
    for band in bands.values():
        assert (band.low <= band.high).all()


def test_no_band_without_two_curves():
    assert curves.bands(FRAMES, 6, 1, seed=0) == {}
    normal = metrics.rank(VIDEO, SCORES, 0 * POSITIVE, 2 + 0 * POSITIVE)
    assert curves.bands(normal, 6, 20, seed=0) == {}
