"""Metrics of resamples from shared products, against `score_heads` on the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhvad.methods.headhunt import rhi, saliency
from hhvad.methods.headhunt.resampled import Drawn, Part, Products, Room, score_resamples

CHECKED = settings(deadline=None, max_examples=40, derandomize=True)


def features(seed: int, samples: int, dim: int, dtype=np.float32, shift: float = 0.0):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(samples) % 2)
    x = random.standard_normal((samples, 2, 3, dim)).astype(dtype) + np.asarray(shift, dtype)
    x[labels == 1] += random.uniform(0, 2, (2, 3, 1)).astype(dtype)
    return x, labels


def rows_of(x, y, picks, **how):
    return np.stack([saliency.score_heads(x[pick], y[pick], **how) for pick in picks])


def require_same(found, wanted):
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    for name, a, b in zip(
        saliency.METRICS, found.swapaxes(0, 1), wanted.swapaxes(0, 1), strict=True
    ):
        tolerance = {"nmi": 0, "mmd": 2e-6}.get(name, 1e-4 * np.nanmax(np.abs(b)) + 1e-9)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=tolerance, err_msg=name)


@CHECKED
@given(
    st.integers(0, 10**6),
    st.integers(6, 24),
    st.integers(2, 48),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([0.0, 30.0]),
)
def test_as_on_the_rows(seed, samples, dim, dtype, shift):
    x, y = features(seed, samples, dim, dtype, shift)
    picks = list(rhi.resamples(y, 4, seed))
    require_same(score_resamples(x, y, picks), rows_of(x, y, picks))


def test_sizes_of_real_studies():
    x, y = features(1, 60, 64)
    picks = list(rhi.resamples(y, 10))
    assert all(len(np.unique(pick)) <= 64 for pick in picks)
    found = score_resamples(x, y, picks)
    require_same(found, rows_of(x, y, picks))
    np.testing.assert_array_equal(found, score_resamples(x, y, picks, threads=2))


def test_every_sample_once_is_no_resample():
    x, y = features(2, 12, 20)
    np.testing.assert_allclose(
        score_resamples(x, y, [np.arange(12)])[0], saliency.score_heads(x, y), rtol=1e-5, atol=1e-6
    )


def test_more_samples_than_dimensions_take_the_rows():
    x, y = features(3, 30, 4)
    picks = list(rhi.resamples(y, 3))
    np.testing.assert_array_equal(score_resamples(x, y, picks), rows_of(x, y, picks))


@pytest.mark.parametrize("how", [{"shrinkage": "ledoit-wolf"}, {"metrics": ["mmd", "lda"]}])
def test_other_settings(how):
    x, y = features(4, 16, 24)
    picks = list(rhi.resamples(y, 3))
    np.testing.assert_allclose(
        score_resamples(x, y, picks, **how), rows_of(x, y, picks, **how), rtol=1e-4, atol=1e-6
    )


def test_heads_that_cannot_be_scored():
    x, y = features(5, 16, 24)
    x[3, 0, 0] = np.nan
    x[:, 0, 1] = 7.0
    x[:, 1, 0] = 7.0
    x[0, 1, 0] = 8.0  # all the same in a resample without sample 0
    picks = [np.sort(np.append(np.flatnonzero(y == y[0])[1:], np.flatnonzero(y != y[0]))[:15])]
    found = score_resamples(x, y, picks)[0]
    assert np.isnan(found[:, 0, :2]).all()
    assert np.isnan(found[:, 1, 0]).all()
    assert np.isfinite(found[:, 1, 1:]).all()


def test_huge_features_take_the_pseudo_inverse():
    x, y = features(6, 12, 20)
    x *= 1e5
    picks = list(rhi.resamples(y, 2))
    np.testing.assert_allclose(
        score_resamples(x, y, picks, metrics=["lda"]),
        rows_of(x, y, picks, metrics=["lda"]),
        rtol=1e-6,
    )


@CHECKED
@given(st.integers(0, 10**6), st.integers(4, 40))
def test_the_median_is_that_of_the_rows_that_differ(seed, samples):
    random = np.random.default_rng(seed)
    rows = random.integers(0, 3, (3, samples, 2)).astype(np.float64)  # with many equal ones
    places = np.sort(random.choice(samples, samples))
    part = Part(Products(rows), Drawn(places, samples // 2, samples), Room())
    for head, median in enumerate(part.median()):
        drawn = rows[head, places]
        squared = ((drawn[:, None] - drawn[None]) ** 2).sum(axis=2)[np.triu_indices(samples, 1)]
        squared = squared[squared > 0]
        assert part.pairs[head] == len(squared)
        if len(squared):
            assert median == pytest.approx(np.median(squared))
        else:
            assert np.isnan(median)
