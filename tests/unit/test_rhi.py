"""Normalisation, RSS, experts, and how stable the choice is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import MinMaxScaler

from hhvad.errors import DataError
from hhvad.methods.headhunt import rhi

CHECKED = settings(deadline=None, max_examples=60, derandomize=True)
METRICS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 4), st.integers(2, 4)),
    elements=st.floats(-1e6, 1e6),
)


@pytest.mark.parametrize("name", ["dev_small", "dev_singular"])
def test_official_vectors(shared, name):
    vectors = np.load(shared / "parity" / f"{name}.npz", allow_pickle=False)
    normalised = rhi.normalise(vectors["metrics"])
    np.testing.assert_allclose(normalised, vectors["saliency"], rtol=0, atol=1e-12)
    rss = rhi.robust_saliency(normalised)
    np.testing.assert_allclose(rss, vectors["rss"], rtol=0, atol=1e-12)
    assert rhi.top_heads(rss) == [tuple(head) for head in vectors["experts"].tolist()]


@CHECKED
@given(METRICS)
def test_normalise_is_the_mean_of_min_max_scaled_metrics(metrics):
    ours = rhi.normalise(metrics)
    for prompt, values in enumerate(metrics):
        scaled = [MinMaxScaler().fit_transform(one.reshape(-1, 1)).ravel() for one in values]
        expected = np.mean(scaled, axis=0).reshape(values.shape[1:])
        np.testing.assert_allclose(ours[prompt], expected, rtol=0, atol=1e-9)
    assert (ours > -1e-9).all()
    assert (ours < 1 + 1e-9).all()


def test_a_constant_metric_becomes_zero():
    metrics = np.stack([np.full((2, 3), 7.0), np.arange(6.0).reshape(2, 3)])[None]
    np.testing.assert_allclose(rhi.normalise(metrics)[0].ravel(), np.arange(6) / 10, atol=1e-15)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_head_without_a_metric_is_excluded_and_does_not_shift_the_others(value):
    metrics = np.random.default_rng(0).normal(size=(2, 3, 2, 4))
    spoilt = metrics.copy()
    spoilt[1, 2, 0, 1] = value
    ours = rhi.normalise(spoilt)
    assert np.isnan(ours[1, 0, 1])
    assert np.isfinite(np.delete(ours.ravel(), 8 + 1)).all()
    others = np.delete(metrics[1, 2].ravel(), 1)
    low, high = others.min(), others.max()
    expected = metrics[1].copy()
    expected[2] = (expected[2] - low) / (high - low)
    for i in (0, 1):
        expected[i] = (expected[i] - expected[i].min()) / np.ptp(expected[i])
    keep = np.ones((2, 4), dtype=bool)
    keep[0, 1] = False
    np.testing.assert_allclose(ours[1][keep], expected.mean(axis=0)[keep], atol=1e-12)
    rss = rhi.robust_saliency(ours)
    assert np.isnan(rss[0, 1])
    assert (0, 1) not in rhi.top_heads(rss, 7)


def test_no_head_with_a_metric():
    assert np.isnan(rhi.normalise(np.full((2, 4, 2, 2), np.nan))).all()


@CHECKED
@given(hnp.arrays(np.float64, (3, 2, 4), elements=st.floats(0, 1)), st.floats(0, 5))
def test_robust_saliency(values, penalty):
    ours = rhi.robust_saliency(values, penalty)
    for layer, head in np.ndindex(2, 4):
        s = values[:, layer, head]
        mean = sum(s) / 3
        spread = (sum((x - mean) ** 2 for x in s) / 3) ** 0.5
        assert ours[layer, head] == pytest.approx(mean - penalty * spread, abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3, 2, 2), (2, 0, 2, 2)])
def test_metrics_of_another_shape(shape):
    with pytest.raises(DataError, match="prompts, metrics, layers, heads"):
        rhi.normalise(np.zeros(shape))


@pytest.mark.parametrize(
    ("values", "penalty", "message"),
    [
        (np.zeros((1, 2, 2)), 0.5, "2 or more prompts"),
        (np.zeros((2, 2)), 0.5, "shape"),
        (np.zeros((2, 2, 2)), -1, "penalty"),
        (np.zeros((2, 2, 2)), np.nan, "penalty"),
    ],
)
def test_bad_saliency(values, penalty, message):
    with pytest.raises(DataError, match=message):
        rhi.robust_saliency(values, penalty)


@CHECKED
@given(hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 0.25, 1.0, np.nan])))
def test_ties_go_by_layer_then_head_and_nan_is_never_chosen(rss):
    order = sorted(
        (head for head in np.ndindex(3, 4) if np.isfinite(rss[head])),
        key=lambda head: (-rss[head], head),
    )
    for k in range(1, len(order) + 1):
        assert rhi.top_heads(rss, k) == order[:k]
    with pytest.raises(DataError, match=f"{len(order)} of 12 heads"):
        rhi.top_heads(rss, len(order) + 1)


@pytest.mark.parametrize("k", [0, -1])
def test_no_experts(k):
    with pytest.raises(DataError, match="experts"):
        rhi.top_heads(np.zeros((2, 2)), k)


def test_sweep_is_the_single_choice_at_each_setting():
    values = np.random.default_rng(1).uniform(size=(3, 4, 5))
    found = rhi.sweep(values, [0, 0.5, 2], [1, 3])
    assert len(found) == 6
    for (penalty, k), heads in found.items():
        assert heads == rhi.top_heads(rhi.robust_saliency(values, penalty), k)


def test_resamples_stay_within_their_class():
    labels = np.array([0, 1, 1, 0, 0, 1, 1])
    drawn = rhi.resamples(labels, 50, seed=2)
    assert drawn.shape == (50, 7)
    assert (labels[drawn] == labels).all()
    assert np.array_equal(drawn, rhi.resamples(labels, 50, seed=2))
    assert not np.array_equal(drawn, rhi.resamples(labels, 50, seed=3))
    for row in drawn:
        assert len(set(row[labels == 0])) >= 2
        assert len(set(row[labels == 1])) >= 2
    with pytest.raises(DataError, match="class 1"):
        rhi.resamples([0, 0, 1], 2)


def test_selection_frequency_is_a_count_over_resamples():
    random = np.random.default_rng(3)
    labels = np.arange(12) % 2
    features = random.normal(size=(2, 12, 2, 3, 5)).astype(np.float32)
    features[:, labels == 1, 1, 2] += 3
    often = rhi.selection_frequency(features, labels, k=2, count=10, seed=4)
    assert often.shape == (2, 3)
    assert often[1, 2] == 1
    assert often.sum() == pytest.approx(2)
    again = rhi.selection_frequency(features, labels, k=2, count=10, seed=4, threads=2)
    assert np.array_equal(often, again)


def test_selection_frequency_needs_the_same_shapes():
    with pytest.raises(DataError, match="different shapes"):
        rhi.selection_frequency([np.zeros((4, 1, 2, 3)), np.zeros((4, 2, 2, 3))], [0, 1, 0, 1])
