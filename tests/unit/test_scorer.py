"""The scorer against the official vectors and scikit-learn; stored and restored exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from hhvad.artifacts import hdf5 as artifacts
from hhvad.errors import ArtifactError, ConfigError, DataError
from hhvad.methods.headhunt.scorer import KINDS, Scorer, fitting_samples

CHECKED = settings(deadline=None, max_examples=25, derandomize=True)


def made(seed=0, samples=24, experts=3, dim=4, effect=1.0):
    random = np.random.default_rng(seed)
    labels = np.arange(samples) % 2
    features = random.normal(size=(samples, experts, dim)).astype(np.float32)
    features[labels == 1] += np.float32(effect) * random.normal(size=(experts, dim))
    return features, labels


@pytest.mark.parametrize("name", ["dev_small", "dev_singular"])
def test_official_vectors(shared, name):
    vectors = np.load(shared / "parity" / f"{name}.npz", allow_pickle=False)
    layers, heads = vectors["experts"].T
    z = vectors["features"][0][:, layers, heads]
    scorer = Scorer().fit(z, vectors["labels"])
    np.testing.assert_allclose(
        scorer.predict_proba(z), vectors["scorer_probability"], rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(scorer.arrays()["coef"], vectors["scorer_coef"], atol=1e-12)
    assert scorer.arrays()["intercept"] == pytest.approx(float(vectors["scorer_intercept"]))


def test_a_share_of_the_samples_is_stratified_and_the_official_one():
    labels = np.repeat([0, 0, 0, 1, 1], 4)
    taken = fitting_samples(labels, 0.6, 42)
    official, _ = train_test_split(np.arange(20), test_size=0.4, random_state=42, stratify=labels)
    assert taken.tolist() == official.tolist()
    assert np.bincount(labels[taken]).tolist() == [7, 5]
    assert fitting_samples(labels, 1.0, 42).tolist() == list(range(20))
    with pytest.raises(DataError, match=r"share of 0\.9 of 4.*scorer\.share"):
        fitting_samples(np.array([0, 0, 1, 1]), 0.9, 42)


@CHECKED
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(4, 40), effect=st.floats(0, 5))
def test_logistic_is_scikit_learns(seed, samples, effect):
    z, y = made(seed, samples, effect=effect)
    flat = z.reshape(len(z), -1)
    model = LogisticRegression(solver="liblinear", C=1.0, max_iter=2000, random_state=42)
    expected = model.fit(flat, y).predict_proba(flat)[:, 1]
    np.testing.assert_allclose(Scorer().fit(z, y).predict_proba(z), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_and_is_deterministic(kind):
    features, labels = made(1, 90, effect=2)
    z, y = features[:60], labels[:60]
    scorer = Scorer(kind).fit(z, y)
    p = scorer.predict_proba(features[60:])
    assert ((p > 0) & (p < 1)).all()
    assert ((p > 0.5) == labels[60:]).mean() > 0.9
    assert scorer.n_fitted_ == (30, 30)
    assert scorer.converged_
    again = Scorer(kind).fit(z, y).arrays()
    assert all(np.array_equal(again[name], array) for name, array in scorer.arrays().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_scorer_is_restored_bit_for_bit(kind, tmp_path):
    z, y = made(2)
    scorer = Scorer(kind).fit(z, y)
    artifacts.write(tmp_path / "scorer.h5", "scorer", scorer.arrays(), {"kind": kind})
    file = artifacts.read(tmp_path / "scorer.h5", "scorer")
    restored = Scorer.from_arrays(file.provenance["kind"], file.arrays)
    for name, array in scorer.arrays().items():
        assert restored.arrays()[name].tobytes() == np.asarray(array).tobytes()
    assert restored.predict_proba(z).tobytes() == scorer.predict_proba(z).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_scores_as_among_others(kind):
    z, y = made(3)
    scorer = Scorer(kind).fit(z, y)
    every = scorer.predict_proba(z)
    single = np.concatenate([scorer.predict_proba(z[i : i + 1]) for i in range(len(z))])
    np.testing.assert_allclose(single, every, rtol=1e-12)


def test_svm_margin_is_scikit_learns_and_its_probability_is_calibrated():
    z, y = made(4, 80, effect=0.6)
    scorer = Scorer("svm").fit(z, y)
    flat = z.reshape(len(z), -1).astype(float)
    margin = SVC(kernel="linear", C=1.0).fit(flat, y).decision_function(flat)
    arrays = scorer.arrays()
    np.testing.assert_allclose(flat @ arrays["coef"] + arrays["intercept"], margin, atol=1e-9)
    assert arrays["platt"][0] > 0  # a larger margin is more probable
    p = scorer.predict_proba(z)
    assert (np.argsort(p) == np.argsort(margin)).all()
    assert abs(p.mean() - 0.5) < 0.1


def test_mlp_is_scikit_learns():
    z, y = made(5, 40)
    flat = z.reshape(len(z), -1).astype(float)
    flat = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    model = MLPClassifier((64,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=42)
    wanted = model.fit(flat, y).predict_proba(flat)[:, 1]
    np.testing.assert_allclose(Scorer("mlp").fit(z, y).predict_proba(z), wanted, atol=1e-9)


def test_separable_classes_do_not_run_away():
    z = np.r_[np.full((5, 2), -3.0), np.full((5, 2), 3.0)]
    for kind in KINDS:
        p = Scorer(kind).fit(z, [0] * 5 + [1] * 5).predict_proba(z)
        assert np.isfinite(p).all()
        assert (p[5:] > p[:5]).all()


def test_constant_features_say_nothing():
    z = np.ones((8, 3))
    for kind in KINDS:
        p = Scorer(kind).fit(z, [0, 1] * 4).predict_proba(z)
        np.testing.assert_allclose(p, 0.5, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_huge_margins_do_not_overflow(kind):
    z, y = made(5)
    p = Scorer(kind).fit(z, y).predict_proba(z * np.float32(1e6))
    assert ((p >= 0) & (p <= 1)).all()


def test_a_solver_that_gives_up_says_so(monkeypatch):
    import sklearn.linear_model as linear

    original = linear.LogisticRegression
    monkeypatch.setattr(
        linear, "LogisticRegression", lambda **options: original(**{**options, "max_iter": 1})
    )
    assert not Scorer().fit(*made(6)).converged_


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((4, 3)), [0, 1, 0], "labels"),
        (np.zeros((4, 3)), [0, 1, 2, 0], "labels"),
        (np.zeros((4, 3)), [0, 1, 0, 0], "3 normal and 1 anomalous"),
        (np.full((4, 3), np.nan), [0, 1, 0, 1], "sample 0"),
        (np.zeros(4), [0, 1, 0, 1], "shape"),
    ],
)
def test_bad_data(features, labels, message):
    with pytest.raises(DataError, match=message):
        Scorer().fit(features, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_features_are_an_error_never_a_score(kind):
    z, y = made(7)
    scorer = Scorer(kind).fit(z, y)
    bad = z.copy()
    bad[5, 0, 0] = np.inf
    with pytest.raises(DataError, match="sample 5"):
        scorer.predict_proba(bad)
    with pytest.raises(DataError, match="8 features per sample"):
        scorer.predict_proba(z[:, :2])


def test_unknown_kind():
    with pytest.raises(ConfigError, match="logistic, svm, mlp"):
        Scorer("forest")


def test_a_damaged_scorer_is_refused():
    arrays = Scorer().fit(*made(8)).arrays()
    with pytest.raises(ArtifactError, match="intercept"):
        Scorer.from_arrays("logistic", {"coef": arrays["coef"]})
    with pytest.raises(ArtifactError, match="coef"):
        Scorer.from_arrays("logistic", {**arrays, "coef": arrays["coef"] * np.nan})
