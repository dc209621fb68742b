"""The four metrics against the official vectors and against one head at a time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.pairwise import rbf_kernel
from threadpoolctl import threadpool_limits

from hhvad.errors import ConfigError, DataError
from hhvad.methods.headhunt import saliency
from hhvad.methods.headhunt.saliency import METRICS, problems, score_heads
from hhvad.records import HeadId

CHECKED = settings(deadline=None, max_examples=40, derandomize=True)


# The references: METHOD's formulas, one head at a time. a, n: [samples, dim] of a class.


def lda(a, n):
    scatter = sum((len(x) - 1) * np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, n))
    scatter = scatter + 1e-6 * np.eye(a.shape[1])
    delta = a.mean(axis=0) - n.mean(axis=0)
    value = delta @ np.linalg.pinv(scatter) @ delta
    return value if value >= 1e-9 else 0.0


def lda_shrunk(a, n):
    centred = np.concatenate([x - x.mean(axis=0) for x in (a.astype(float), n.astype(float))])
    scatter = len(centred) * LedoitWolf(assume_centered=True).fit(centred).covariance_
    delta = a.mean(axis=0) - n.mean(axis=0)
    return delta @ np.linalg.solve(scatter + 1e-6 * np.eye(a.shape[1]), delta)


def kl(a, n):
    ridge = 1e-10 * np.eye(a.shape[1])
    p, q = (LedoitWolf().fit(x).covariance_ + ridge for x in (a, n))
    delta = a.mean(axis=0) - n.mean(axis=0)

    def directed(p, q):
        inverse = np.linalg.inv(q)
        logs = np.linalg.slogdet(q)[1] - np.linalg.slogdet(p)[1]
        return 0.5 * (logs - len(p) + np.trace(inverse @ p) + delta @ inverse @ delta)

    return float(np.clip((directed(p, q) + directed(q, p)) / 2, 0, 1e6))


def mmd(a, n):
    x = np.concatenate([a, n])
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    gamma = 1 / (2 * np.median(squared[squared > 0]))
    aa, nn, an = (rbf_kernel(p, q, gamma=gamma).mean() for p, q in ((a, a), (n, n), (a, n)))
    return float(max(aa + nn - 2 * an, 0))


def nmi(a, n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct rows than clusters
        kmeans = KMeans(n_clusters=2, random_state=42, n_init="auto")
        clusters = kmeans.fit_predict(np.concatenate([a, n]))
    return normalized_mutual_info_score(np.repeat([0, 1], [len(a), len(n)]), clusters)


REFERENCES = {"lda": lda, "kl": kl, "mmd": mmd, "nmi": nmi}


def reference(features, labels, metrics=tuple(METRICS)):
    """As score_heads, head by head."""
    labels = np.asarray(labels)
    layers, heads = features.shape[1:3]
    values = np.empty((len(metrics), layers, heads))
    with threadpool_limits(1):
        for i, name in enumerate(metrics):
            for layer, head in np.ndindex(layers, heads):
                x = features[:, layer, head]
                values[i, layer, head] = REFERENCES[name](x[labels == 1], x[labels == 0])
    return values


def assert_parity(ours, official):
    for i, name in enumerate(METRICS):
        if name == "nmi":
            assert np.array_equal(ours[i], official[i])
        else:
            np.testing.assert_allclose(ours[i], official[i], rtol=1e-6, atol=0, err_msg=name)


def made(seed, samples, dim, anomalous=None, layers=2, heads=3, shift=1.0, dtype=np.float32):
    """Features of heads that tell more or less, and labels in a random order."""
    random = np.random.default_rng(seed)
    labels = np.zeros(samples, dtype=int)
    labels[: anomalous if anomalous is not None else samples // 2] = 1
    random.shuffle(labels)
    features = random.normal(size=(samples, layers, heads, dim))
    features += shift * random.normal(size=(layers, heads, dim))
    effect = random.normal(size=(layers, heads, dim)) * random.uniform(size=(layers, heads, 1))
    features[labels == 1] += effect
    return features.astype(dtype), labels


@pytest.mark.parametrize("name", ["dev_small", "dev_singular"])
def test_official_vectors(shared, name):
    vectors = np.load(shared / "parity" / f"{name}.npz", allow_pickle=False)
    assert tuple(vectors["metric_names"]) == tuple(METRICS)
    for features, official in zip(vectors["features"], vectors["metrics"], strict=True):
        assert_parity(score_heads(features, vectors["labels"]), official)


@CHECKED
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.tuples(st.integers(3, 25), st.integers(3, 25)),
    dim=st.integers(2, 40),
    shift=st.sampled_from([0.0, 1.0, 10.0]),
)
def test_one_head_at_a_time(seed, classes, dim, shift):
    """N < d and N > d, balanced or not, centred or far from the origin."""
    features, labels = made(seed, sum(classes), dim, classes[0], shift=shift)
    assert_parity(score_heads(features, labels), reference(features, labels))


@pytest.mark.parametrize(
    ("samples", "dim", "anomalous"),
    [(16, 128, 8), (64, 128, 10), (160, 128, 80), (300, 16, 150), (290, 48, 40), (40, 1, 20)],
)
def test_sizes_of_real_studies(samples, dim, anomalous):
    features, labels = made(samples, samples, dim, anomalous)
    assert_parity(score_heads(features, labels), reference(features, labels))


@settings(CHECKED, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(6, 60), dim=st.integers(1, 12))
def test_kmeans_clusters_as_scikit_learn(seed, samples, dim):
    """The clusters themselves, also of data on a coarse grid, where distances are equal."""
    random = np.random.default_rng(seed)
    features = random.integers(-2, 3, (samples, 1, 4, dim)).astype(np.float32)
    features[:, :, 2:] += random.normal(size=(samples, 1, 2, dim)).astype(np.float32)
    labels = np.arange(samples) % 2
    usable = [h for h in range(4) if np.ptp(features[:, 0, h], axis=0).any()]
    ours = score_heads(features, labels, metrics=["nmi"])[0, 0]
    for head in usable:
        assert ours[head] == nmi(features[labels == 1, 0, head], features[labels == 0, 0, head])


def test_most_heads_need_no_scikit_learn(monkeypatch):
    asked = []
    original = saliency._sklearn_two_means
    monkeypatch.setattr(
        saliency, "_sklearn_two_means", lambda rows: asked.append(1) or original(rows)
    )
    features, labels = made(0, 64, 32, layers=4, heads=25)
    score_heads(features, labels, metrics=["nmi"])
    assert len(asked) <= 5


@pytest.mark.parametrize("total", range(4, 12))
def test_every_contingency_table(total):
    """Exactly scikit-learn's normalised mutual information."""
    tables, expected = [], []
    a = total // 2
    for p in range(a + 1):
        for q in range(total - a + 1):
            clusters = np.r_[np.arange(a) < p, np.arange(total - a) < q].astype(int)
            truth = np.repeat([0, 1], [a, total - a])
            tables.append([[a - p, p], [total - a - q, q]])
            expected.append(normalized_mutual_info_score(truth, clusters))
    ours = saliency._normalised_information(np.array(tables, dtype=float))
    assert ours.tolist() == expected


def test_shrunk_lda():
    for samples, dim in ((12, 30), (60, 8)):
        features, labels = made(samples, samples, dim)
        ours = score_heads(features, labels, metrics=["lda"], shrinkage="ledoit-wolf")[0]
        for layer, head in np.ndindex(2, 3):
            x = features[:, layer, head]
            expected = lda_shrunk(x[labels == 1], x[labels == 0])
            assert ours[layer, head] == pytest.approx(expected, rel=1e-6)


def test_huge_features_take_the_pseudo_inverse():
    """Where the ridge drowns in rounding, the official cut-off decides."""
    features, labels = made(1, 12, 40)
    features *= 1e7
    ours = score_heads(features, labels, metrics=["lda"])
    np.testing.assert_allclose(ours, reference(features, labels, ["lda"]), rtol=1e-6)


def test_float64_is_analysed_as_such():
    features, labels = made(2, 20, 12, dtype=np.float64)
    features += 1e4  # in float32 most digits would be lost
    ours = score_heads(features, labels)
    np.testing.assert_allclose(ours[1:3], reference(features, labels)[1:3], rtol=1e-6)
    shifted = score_heads(features - 1e4, labels)
    np.testing.assert_allclose(ours, shifted, rtol=1e-6)


def test_float16_and_integers_are_analysed_in_float32():
    features, labels = made(3, 14, 9)
    half = features.astype(np.float16)
    assert np.array_equal(score_heads(half, labels), score_heads(half.astype(np.float32), labels))
    whole = (features * 10).astype(np.int16)
    assert np.array_equal(score_heads(whole, labels), score_heads(whole.astype("f4"), labels))


@CHECKED
@given(seed=st.integers(0, 2**32 - 1), copies=st.integers(2, 5))
def test_duplicated_rows(seed, copies):
    """As in a bootstrap: equal rows have distance 0, whatever rounding says, and do not count."""
    features, labels = made(seed, 12, 10)
    rows = np.random.default_rng(seed).integers(0, 12, 12 * copies)
    rows[:12] = np.arange(12)
    features, labels = features[rows], labels[rows]
    assert_parity(score_heads(features, labels), reference(features, labels))


def test_order_of_samples_within_the_classes_is_kept():
    features, labels = made(4, 20, 8)
    grouped = np.argsort(1 - labels, kind="stable")
    ours = score_heads(features, labels)
    assert np.array_equal(ours, score_heads(features[grouped], labels[grouped]))


def test_threads_and_neighbours_do_not_change_the_result(monkeypatch):
    features, labels = made(5, 40, 16, layers=5, heads=8)
    one = score_heads(features, labels)
    monkeypatch.setattr(saliency, "_CHUNK_BYTES", 60_000)
    assert np.array_equal(one, score_heads(features, labels, threads=3))
    assert np.array_equal(one[:, 2:3, 4:5], score_heads(features[:, 2:3, 4:5], labels))


def test_threads_are_as_quiet_as_one():
    """Overflows and clusters of equal rows warn in no thread."""
    features, labels = made(15, 12, 4, heads=40)
    features[:, 0, ::3] *= 1e30
    features[:, 1, ::3] = (np.arange(12) % 3 == 0)[:, None, None]
    one = score_heads(features, labels)
    assert np.array_equal(one, score_heads(features, labels, threads=4), equal_nan=True)


def test_metrics_are_picked_in_the_given_order():
    features, labels = made(6, 12, 5)
    every = score_heads(features, labels)
    assert np.array_equal(score_heads(features, labels, metrics=["nmi", "kl"]), every[[3, 1]])


# What cannot be computed.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_head_is_named_and_the_others_stay(value):
    features, labels = made(7, 12, 5)
    expected = score_heads(features, labels)
    features[3:5, 1, 2, 0] = value
    ours = score_heads(features, labels)
    assert np.isnan(ours[:, 1, 2]).all()
    ours[:, 1, 2] = expected[:, 1, 2]
    assert np.array_equal(ours, expected)
    assert problems(features, labels) == {HeadId(1, 2): "NaN or infinite features in 2 samples"}


def test_a_constant_head_has_no_saliency():
    features, labels = made(8, 12, 5)
    features[:, 0, 1] = 3.25
    ours = score_heads(features, labels)
    assert np.isnan(ours[:, 0, 1]).all()
    assert np.isfinite(np.delete(ours.reshape(4, -1), 1, axis=1)).all()
    assert problems(features, labels, ours) == {HeadId(0, 1): "constant features"}


def test_constant_dimensions_and_a_constant_class_are_fine():
    features, labels = made(9, 14, 6)
    features[:, 0, 0, 2:4] = -1
    features[labels == 1, 0, 1] = 0.5
    assert_parity(score_heads(features, labels), reference(features, labels))


@pytest.mark.parametrize("anomalous", [0, 1, 7, 8])
def test_fewer_than_two_of_a_class(anomalous):
    features, labels = made(10, 8, 5, anomalous)
    ours = score_heads(features, labels)
    assert ours.shape == (4, 2, 3)
    assert np.isnan(ours).all()
    reasons = set(problems(features, labels, ours).values())
    assert reasons == {
        f"{8 - anomalous} normal and {anomalous} anomalous samples; 2 of each needed"
    }


@pytest.mark.parametrize("scale", [1, 1e6])
def test_two_of_a_class_are_enough(scale):
    """Two samples have no shrinkage: KL is at its limit, in every run and for every head."""
    features, labels = made(11, 10, 16, 2)
    ours = score_heads(features * np.float32(scale), labels)
    assert (ours[1] == 1e6).all()
    assert np.isfinite(ours).all()


def test_a_singular_head_does_not_touch_its_neighbours():
    """Two samples of a class, in one head so large that the ridge is nothing beside them."""
    features, labels = made(14, 10, 16, 2)
    expected = score_heads(features, labels)
    features[:, 0, 1] = np.float32(1e12) * np.round(features[:, 0, 1])
    ours = score_heads(features, labels)
    ours[:, 0, 1] = expected[:, 0, 1]
    assert np.array_equal(ours, expected)


def test_a_metric_that_overflows_is_named():
    features, labels = made(12, 10, 4)
    features[:, 1, 0] *= 1e30
    ours = score_heads(features, labels)
    found = problems(features, labels, ours)
    assert list(found) == [HeadId(1, 0)]
    assert "cannot be computed" in found[HeadId(1, 0)]
    assert not (ours[:, 1, 0] == 0).any()


def test_empty_of_problems():
    features, labels = made(13, 10, 4)
    assert problems(features, labels, score_heads(features, labels)) == {}


def test_singular_scatter_is_told():
    assert saliency.is_singular(128, 128)
    assert not saliency.is_singular(130, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((4, 2, 3))}, "shape"),
        ({"features": np.zeros((4, 2, 0, 3))}, "shape"),
        ({"features": np.zeros((4, 2, 3, 3), dtype=complex)}, "complex"),
        ({"labels": [0, 1, 0]}, "labels have shape"),
        ({"labels": [0, 1, 2, 0]}, "other values"),
        ({"labels": [0, 1, np.nan, 0]}, "other values"),
        ({"metrics": ["lda", "auc"]}, "auc"),
        ({"metrics": []}, "none given"),
        ({"shrinkage": "oas"}, "oas"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"features": np.zeros((4, 2, 3, 3)), "labels": [0, 1, 0, 1], **change}
    features, labels = arguments.pop("features"), arguments.pop("labels")
    with pytest.raises((DataError, ConfigError), match=message):
        score_heads(features, labels, **arguments)
