"""From the experts' features to a probability: logistic regression, linear SVM, two-layer MLP.

Fitting uses scikit-learn; predicting needs only NumPy and the fitted arrays, so that scoring a
video starts at once and nothing is ever unpickled. What `arrays()` returns is all there is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad import registry
from hhvad.errors import ArtifactError, DataError

# Other packages offer more as entry points of group `hhvad.scorers`.
KINDS = {
    "logistic": "hhvad.methods.headhunt.scorer:Logistic",
    "svm": "hhvad.methods.headhunt.scorer:LinearSVM",
    "mlp": "hhvad.methods.headhunt.scorer:MLP",
}
GROUP = "hhvad.scorers"

Floats = NDArray[np.float64]


class Kind(Protocol):
    """A kind of classifier, as functions on its arrays."""

    arrays: tuple[str, ...]  # the names of all that it is made of

    def fit(self, z: Floats, y: NDArray[np.int64], seed: int) -> tuple[dict[str, Floats], bool]:
        """The arrays fitted to features [N, d] and labels [N], and whether the solver converged."""
        ...

    def probability(self, z: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """Probability of anomaly [N] of features [N, d]."""
        ...

    def width(self, arrays: Mapping[str, Floats]) -> int:
        """d, the number of features that it was fitted on."""
        ...


class Scorer:
    """p = the probability of anomaly of z, the K experts' features one behind the other.

    - logistic: liblinear, C = 1 ; p = sigmoid(z w + b);
    - svm: linear, hinge loss, C = 1; the margin calibrated by Platt's sigmoid, which is fitted to
      margins from cross-validation, so that it does not trust the training margins;
    - mlp: one hidden layer of 64 ReLU units on standardised features, L-BFGS.

    After `fit`: `arrays_` (the parameters), `n_fitted_` (samples by class, normal first) and
    `converged_` (False where the solver gave up at its limit of iterations).
    """

    def __init__(self, kind: str = "logistic", seed: int = 42) -> None:
        self._kind: Kind = registry.load(KINDS, kind, GROUP, "kind of scorer")()
        self.kind = kind
        self.seed = seed

    def fit(self, features: ArrayLike, labels: ArrayLike) -> Scorer:
        """Learn from features [N, K, D] or [N, K * D] and labels [N] (1 anomaly, 0 normal).

        Raises DataError for non-finite features, other labels, or fewer than two of a class.
        """
        z = _checked(features)
        y = np.asarray(labels)
        if y.shape != z.shape[:1] or not np.isin(y, (0, 1)).all():
            raise DataError(f"labels: {len(z)} of 0 (normal) and 1 (anomaly) are needed")
        y = y.astype(np.int64)
        counts = int((y == 0).sum()), int((y == 1).sum())
        if min(counts) < 2:
            raise DataError(
                f"{counts[0]} normal and {counts[1]} anomalous samples: a scorer needs two of each"
            )
        self.arrays_, self.converged_ = self._kind.fit(z, y, self.seed)
        self.n_fitted_ = counts
        return self

    def predict_proba(self, features: ArrayLike) -> Floats:
        """Probability of anomaly [N] of features [N, K, D] or [N, K * D].

        Raises DataError for a feature that is not finite or another number of them.
        """
        z = _checked(features)
        wanted = self._kind.width(self.arrays_)
        if z.shape[1] != wanted:
            raise DataError(
                f"{z.shape[1]} features per sample, but the scorer was fitted on {wanted}"
            )
        return self._kind.probability(z, self.arrays_)

    def arrays(self) -> dict[str, Floats]:
        """The parameters, for an artifact; `from_arrays` with the same kind restores them."""
        return dict(self.arrays_)

    @classmethod
    def from_arrays(cls, kind: str, arrays: Mapping[str, NDArray[Any]], seed: int = 42) -> Scorer:
        """A fitted scorer from its arrays; ArtifactError where one is absent or not finite."""
        scorer = cls(kind, seed)
        for name in scorer._kind.arrays:
            if name not in arrays or not np.isfinite(arrays[name]).all():
                raise ArtifactError(
                    f"scorer of kind {kind}: array {name!r} is absent or not finite; fit it again"
                )
        names = scorer._kind.arrays
        scorer.arrays_ = {name: np.asarray(arrays[name], np.float64) for name in names}
        return scorer


def fitting_samples(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.intp]:
    """The samples on which a scorer is fitted: all in order, or a stratified share of them.

    Raises DataError where the share leaves no sample of a class on one of the two sides.
    """
    everyone = np.arange(len(labels))
    if share == 1:
        return everyone
    from sklearn.model_selection import train_test_split

    try:
        chosen, _ = train_test_split(
            everyone, test_size=1 - share, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(
            f"a share of {share} of {len(labels)} calibration samples cannot be drawn from both "
            f"classes ({error}); set scorer.share to 1 or add calibration videos"
        ) from error
    return np.asarray(chosen, dtype=np.intp)


def _checked(features: ArrayLike) -> Floats:
    """Features as float64 [N, K * D]."""
    z = np.asarray(features)
    if z.ndim not in (2, 3):
        raise DataError(f"features have shape {z.shape}; [samples, experts, dim] is needed")
    z = z.reshape(len(z), -1).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
    if len(bad):
        raise DataError(f"features of sample {int(bad[0])} hold NaN or infinity; capture it again")
    return z


def _sigmoid(margin: Floats) -> Floats:
    """1 / (1 + exp(-margin)) without overflow."""
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1 / (1 + small), small / (1 + small))


class Logistic:
    """Logistic regression: liblinear, C = 1."""

    arrays: tuple[str, ...] = ("coef", "intercept")

    def fit(self, z: Floats, y: NDArray[np.int64], seed: int) -> tuple[dict[str, Floats], bool]:
        """As `Kind` says."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(solver="liblinear", C=1.0, max_iter=2000, random_state=seed)
        converged = _fit(model, z, y)
        arrays = {"coef": model.coef_[0].copy(), "intercept": np.array(model.intercept_[0])}
        return arrays, converged

    def probability(self, z: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """As `Kind` says."""
        return _sigmoid(z @ arrays["coef"] + arrays["intercept"])

    def width(self, arrays: Mapping[str, Floats]) -> int:
        """As `Kind` says."""
        return len(arrays["coef"])


class LinearSVM(Logistic):
    """Linear SVM, hinge loss, C = 1, its margin calibrated by Platt's sigmoid."""

    arrays = ("coef", "intercept", "platt")

    def fit(self, z: Floats, y: NDArray[np.int64], seed: int) -> tuple[dict[str, Floats], bool]:
        """As `Kind` says."""
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import SVC

        def fitted(rows: NDArray[np.intp]) -> Any:
            return SVC(kernel="linear", C=1.0).fit(z[rows], y[rows])

        folds = min(5, int(np.bincount(y).min()))
        margins = np.empty(len(y))
        for train, held_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(z, y):
            margins[held_out] = fitted(train).decision_function(z[held_out])
        everything = fitted(np.arange(len(y)))
        arrays = {
            "coef": everything.coef_[0].copy(),
            "intercept": np.array(everything.intercept_[0]),
            "platt": _platt(margins, y),
        }
        return arrays, True  # libsvm has no limit of iterations here

    def probability(self, z: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """As `Kind` says."""
        slope, offset = arrays["platt"]
        return _sigmoid(slope * (z @ arrays["coef"] + arrays["intercept"]) + offset)


class MLP:
    """One hidden layer of 64 ReLU units on standardised features, L-BFGS."""

    arrays: tuple[str, ...] = ("mean", "scale", "hidden", "hidden_bias", "coef", "intercept")

    def fit(self, z: Floats, y: NDArray[np.int64], seed: int) -> tuple[dict[str, Floats], bool]:
        """As `Kind` says."""
        from sklearn.neural_network import MLPClassifier

        mean, scale = z.mean(axis=0), z.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        model = MLPClassifier((64,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=seed)
        converged = _fit(model, (z - mean) / scale, y)
        arrays = {
            "mean": mean,
            "scale": scale,
            "hidden": model.coefs_[0],
            "hidden_bias": model.intercepts_[0],
            "coef": model.coefs_[1][:, 0].copy(),
            "intercept": np.array(model.intercepts_[1][0]),
        }
        return arrays, converged

    def probability(self, z: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """As `Kind` says."""
        z = (z - arrays["mean"]) / arrays["scale"]
        z = np.maximum(z @ arrays["hidden"] + arrays["hidden_bias"], 0)
        return _sigmoid(z @ arrays["coef"] + arrays["intercept"])

    def width(self, arrays: Mapping[str, Floats]) -> int:
        """As `Kind` says."""
        return len(arrays["mean"])


def _platt(margins: Floats, y: NDArray[np.int64]) -> Floats:
    """Slope and offset of Platt's sigmoid (Platt 1999, smoothed targets), by Newton's method."""
    n1, n0 = int(y.sum()), int(len(y) - y.sum())
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    design = np.stack([margins, np.ones(len(margins))], axis=1)

    def loss(weights: Floats) -> float:
        m = design @ weights
        return float(np.sum(np.logaddexp(0, m) - target * m))

    weights = np.array([0.0, np.log((n1 + 1) / (n0 + 1))])
    for _ in range(100):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-10:
            size /= 2
        weights = weights - size * step
        if np.abs(gradient).max() < 1e-10:
            break
    return weights


def _fit(model: Any, z: Floats, y: NDArray[np.int64]) -> bool:
    """Fit a scikit-learn model; whether its solver converged."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(z, y)
    return not any(issubclass(one.category, ConvergenceWarning) for one in caught)
