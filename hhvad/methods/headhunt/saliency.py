"""How well each head separates anomalous from normal samples: LDA, KL, MMD and NMI.

The numbers are those of the official code (METHOD: Robust Head Identification), many heads at a
time. Three observations make it fast:

- With the rows of a head centred by class (C [N, D]) and the difference of the class means
  (delta [D]), all four metrics follow from W = C C^T [N, N], q = C delta [N] and |delta|^2: one
  matrix product a head. With fewer samples than dimensions the inverse of a D x D matrix becomes
  one of N x N (Woodbury).
- The scikit-learn k-means of a head needs only distances. Its random numbers depend on the seed
  and N alone, so that all heads take their steps together. Where rounding could decide (two
  distances nearly equal), scikit-learn itself is asked.
- NumPy's stacked linear algebra works on many heads in one call.

What cannot be computed is NaN, never 0; `problems` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad import registry
from hhvad.errors import DataError
from hhvad.records import HeadId

# Each takes a chunk of heads and the shrinkage, and gives a number per head, larger for heads that
# tell the classes apart. Other packages offer more as entry points of group `hhvad.saliency`.
METRICS = {
    "lda": "hhvad.methods.headhunt.saliency:lda",
    "kl": "hhvad.methods.headhunt.saliency:kl",
    "mmd": "hhvad.methods.headhunt.saliency:mmd",
    "nmi": "hhvad.methods.headhunt.saliency:nmi",
}
GROUP = "hhvad.saliency"
SHRINKAGES = (None, "ledoit-wolf")

LDA_RIDGE = 1e-6
KL_RIDGE = 1e-10
KL_LIMIT = 1e6
KMEANS_SEED = 42
KMEANS_TOLERANCE = 1e-4
KMEANS_ITERATIONS = 300

# Above this within-class scatter the ridge of LDA drowns in rounding, and what the official code
# returns is decided by the cut-off of its pseudo-inverse: such heads take that very path.
_LDA_SCATTER_LIMIT = 1e8
# What two correct computations of one float32 distance may differ by, relative to its terms.
_FLOAT32_NOISE = 5e-6
_CHUNK_BYTES = 6_000_000
_SMALL = 13  # rows of a matrix that LAPACK inverts faster than halves do
_NEAR = 1e8  # the trace of a matrix I + W whose inverse by halves has no large rounding
_ONE_AT_A_TIME = Lock()

Floats = NDArray[np.float64]


def score_heads(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    shrinkage: str | None = None,
    threads: int = 1,
) -> Floats:
    """The separability metrics of each head, float64 [metrics, layers, heads].

    features [samples, layers, heads, head_dim] (float64 is analysed as such, all else as float32),
    labels [samples]: 1 anomaly, 0 normal. `shrinkage="ledoit-wolf"` replaces LDA's within-class
    scatter, singular where samples are fewer than dimensions, by a Ledoit-Wolf estimate. NaN marks
    what cannot be computed: see `problems`. `threads` changes the time and never the result.

    Raises DataError for shapes that do not fit, labels other than 0 and 1, an unknown metric.
    """
    x, y = _checked(features, labels)
    if not metrics:
        raise DataError(f"metrics: none given; known: {', '.join(registry.names(METRICS, GROUP))}")
    functions = [registry.load(METRICS, name, GROUP, "metric") for name in metrics]
    if shrinkage not in SHRINKAGES:
        raise DataError(f"shrinkage is {shrinkage!r}; it is one of {SHRINKAGES}")
    if threads < 1:
        raise DataError(f"threads is {threads}; it must be at least 1")
    samples, layers, heads, dim = x.shape
    result = np.full((len(metrics), layers * heads), np.nan)
    if min(y.sum(), samples - y.sum()) >= 2:
        # Anomalous samples first, as in the official code: k-means depends on the order.
        order = np.argsort(1 - y, kind="stable")
        flat = x.reshape(samples, layers * heads, dim)
        usable = np.flatnonzero(~_unusable(flat))

        def fill(chunk: NDArray[np.intp], rows: NDArray[Any]) -> None:
            result[:, chunk] = _score(Heads(rows, int(y.sum())), functions, shrinkage)

        for_chunks(flat, usable, order, fill, threads, _CHUNK_BYTES)
    result[~np.isfinite(result)] = np.nan
    return result.reshape(len(metrics), layers, heads)


def for_chunks(
    flat: NDArray[Any],
    usable: NDArray[np.intp],
    order: NDArray[np.intp],
    fill: Callable[[NDArray[np.intp], NDArray[Any]], None],
    threads: int,
    size: int,
) -> None:
    """Call `fill` with some of the usable heads and their rows [h, N, D], for all in turn.

    flat: features [N, heads, D]; order: of the rows; size: bytes that a chunk's products take. One
    thread each, of BLAS too.
    """
    from threadpoolctl import threadpool_limits

    samples, _, dim = flat.shape
    step = max(1, int(size // (8 * samples * (samples + dim))))
    chunks = [usable[i : i + step] for i in range(0, len(usable), step)]

    def do(chunk: NDArray[np.intp]) -> None:
        rows = np.ascontiguousarray(flat[:, chunk].transpose(1, 0, 2)[:, order])
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            fill(chunk, rows)

    with threadpool_limits(1):
        if threads == 1:
            for chunk in chunks:
                do(chunk)
        else:
            # OpenMP counts its threads for each thread of ours: limit it in all of them.
            with ThreadPoolExecutor(threads, "", threadpool_limits, (1,)) as pool:
                list(pool.map(do, chunks))


def problems(
    features: ArrayLike,
    labels: ArrayLike,
    saliency: NDArray[Any] | None = None,
    metrics: Sequence[str] = tuple(METRICS),
) -> dict[HeadId, str]:
    """Why heads have no saliency, in the order of (layer, head); empty where all have.

    `saliency` [metrics, layers, heads] is what `score_heads` made of the same features; where it
    is not given, only what the features themselves tell is named. Raises DataError as above.
    """
    x, y = _checked(features, labels)
    samples, layers, heads, dim = x.shape
    flat = x.reshape(samples, layers * heads, dim)
    bad = ~np.isfinite(flat).all(axis=2)
    constant = (flat == flat[:1]).all(axis=(0, 2))
    found: dict[HeadId, str] = {}
    for index in range(layers * heads):
        head = HeadId(*divmod(index, heads))
        undefined = (
            []
            if saliency is None
            else [m for i, m in enumerate(metrics) if not np.isfinite(saliency[i][head])]
        )
        counts = int(samples - y.sum()), int(y.sum())
        if bad[:, index].any():
            found[head] = f"NaN or infinite features in {int(bad[:, index].sum())} samples"
        elif constant[index]:
            found[head] = "constant features"
        elif min(counts) < 2:
            found[head] = f"{counts[0]} normal and {counts[1]} anomalous samples; 2 of each needed"
        elif undefined:
            found[head] = f"{', '.join(undefined)} cannot be computed"
    return found


def is_singular(n_samples: int, head_dim: int) -> bool:
    """Whether LDA's within-class scatter is singular, so that its 1e-6 ridge rules the result."""
    return n_samples - 2 < head_dim


def _checked(features: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    x, y = np.asarray(features), np.asarray(labels)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise DataError(f"features have shape {x.shape}; [samples, layers, heads, dim] is needed")
    if y.shape != x.shape[:1]:
        raise DataError(f"labels have shape {y.shape}, but there are {x.shape[0]} samples")
    if x.dtype.kind not in "fiu":
        raise DataError(f"features are {x.dtype}; real numbers are needed")
    if not np.isin(y, (0, 1)).all():
        raise DataError("labels hold other values than 0 (normal) and 1 (anomaly)")
    return x if x.dtype == np.float64 else x.astype(np.float32, copy=False), y.astype(np.int64)


def _unusable(flat: NDArray[Any]) -> NDArray[np.bool_]:
    """Heads whose features [samples, heads, dim] are not finite or all the same: [heads]."""
    spread = flat.max(axis=0) - flat.min(axis=0)  # NaN or inf where a feature is
    unusable: NDArray[np.bool_] = ~np.isfinite(spread).all(axis=1) | (spread == 0).all(axis=1)
    return unusable


class Heads:
    """A chunk of heads with what their metrics share. h heads, N samples, first `a` anomalous."""

    def __init__(self, rows: NDArray[Any], a: int) -> None:
        self.rows = rows  # [h, N, D], float32 or float64
        self.a = a
        self.n = rows.shape[1] - a
        # Means in the precision of the features, as the official code takes them.
        self.delta: Floats = (rows[:, :a].mean(axis=1) - rows[:, a:].mean(axis=1)).astype(float)
        centred = rows.astype(np.float64)
        means = [centred[:, part].mean(axis=1, keepdims=True) for part in self.classes()]
        for part, mean in zip(self.classes(), means, strict=True):
            centred[:, part] -= mean
        self.gap: Floats = (means[0] - means[1])[:, 0]  # delta without its rounding
        self.centred = centred  # C
        self.gram: Floats = centred @ centred.transpose(0, 2, 1)  # W
        self.q: Floats = (centred @ self.delta[:, :, None])[:, :, 0]
        self.delta2: Floats = np.einsum("hd,hd->h", self.delta, self.delta)

    def classes(self) -> tuple[slice, slice]:
        """Where the anomalous and the normal samples are."""
        return slice(0, self.a), slice(self.a, None)

    @cached_property
    def kernel(self) -> Floats:
        """Scalar products of the rows, seen from their overall mean: [h, N, N]."""
        return _linear_kernel(self)

    @cached_property
    def squared(self) -> Floats:
        """Squared distances of the rows: [h, N, N]."""
        norms = np.einsum("hii->hi", self.kernel)
        squared = -2 * self.kernel
        squared += norms[:, :, None]
        squared += norms[:, None, :]
        return np.asarray(np.maximum(squared, 0, out=squared))


def _score(
    heads: Heads, functions: Sequence[Callable[[Heads, str | None], Floats]], shrinkage: str | None
) -> Floats:
    """The metrics of a chunk, [metrics, h]."""
    return np.stack([function(heads, shrinkage) for function in functions])


def lda(heads: Heads, shrinkage: str | None) -> Floats:
    """delta^T (b C^T C + c I)^-1 delta; b = 1 and c = 1e-6 unless shrunk. [h]"""
    n, dim = heads.centred.shape[1:]
    scatter = np.einsum("hii->h", heads.gram)
    b, c = np.ones(len(scatter)), np.full(len(scatter), LDA_RIDGE)
    if shrinkage:
        s, sphere = _ledoit_wolf(heads.centred)
        b, c = 1 - s, n * sphere + LDA_RIDGE
    if n <= dim:
        system = b[:, None, None] * heads.gram
        np.einsum("hii->hi", system)[:] += c[:, None]
        solved = _stacked(np.linalg.solve, system, heads.q[:, :, None])[:, :, 0]
        value = (heads.delta2 - b * np.einsum("hn,hn->h", heads.q, solved)) / c
    else:
        system = b[:, None, None] * (heads.centred.transpose(0, 2, 1) @ heads.centred)
        np.einsum("hii->hi", system)[:] += c[:, None]
        solved = _stacked(np.linalg.solve, system, heads.delta[:, :, None])[:, :, 0]
        value = np.einsum("hd,hd->h", heads.delta, solved)
    if not shrinkage:
        for i in np.flatnonzero((scatter > _LDA_SCATTER_LIMIT) & np.isfinite(scatter)):
            within = heads.centred[i].T @ heads.centred[i] + LDA_RIDGE * np.eye(dim)
            w = np.linalg.pinv(within) @ heads.delta[i]
            norm = w @ within @ w
            value[i] = (w @ heads.delta[i]) ** 2 / norm if norm >= 1e-9 else 0.0
    return np.asarray(np.where(value < 1e-9, 0.0, value))  # the official code's floor


def _stacked(function: Callable[..., Floats], *matrices: Floats) -> Floats:
    """A numpy.linalg function of stacks of matrices; NaN for those that are singular."""
    try:
        return function(*matrices)
    except np.linalg.LinAlgError:
        found = np.full(matrices[-1].shape, np.nan)
        for i, one in enumerate(zip(*matrices, strict=True)):
            with suppress(np.linalg.LinAlgError):
                found[i] = function(*one)
        return found


def _ledoit_wolf(rows: NDArray[Any]) -> tuple[Floats, Floats]:
    """Shrinkage of the Ledoit-Wolf covariance, and its multiple of the identity: [h] each.

    rows [h, n, D] are centred. The steps and the precision are scikit-learn's: in float32 the
    shrinkage of nearly spherical data is decided by rounding, and KL with it.
    """
    if rows.shape[2] == 1:
        return np.zeros(len(rows)), np.zeros(len(rows))
    found = [_ledoit_wolf_block(rows[i : i + 32]) for i in range(0, len(rows), 32)]  # in cache
    shrinkage, mean = (np.concatenate(part).astype(np.float64) for part in zip(*found, strict=True))
    return shrinkage, mean


def _ledoit_wolf_block(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    n, dim = rows.shape[1:]

    def total(matrices: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(matrices.reshape(len(matrices), -1).sum(axis=1))

    squares = rows**2
    variances = squares.sum(axis=1) / n
    mu = variances.sum(axis=1) / dim
    scatter = rows.transpose(0, 2, 1) @ rows
    trace = (np.einsum("hii->hi", scatter) / n).sum(axis=1)
    np.multiply(scatter, scatter, out=scatter)
    delta_ = total(scatter) / n**2
    beta = total(squares.transpose(0, 2, 1) @ squares)
    beta = 1.0 / (dim * n) * (beta / n - delta_)
    delta = (delta_ - 2.0 * mu * variances.sum(axis=1) + dim * mu**2) / dim
    beta = np.minimum(beta, delta)
    # Two samples have shrinkage 0; rounding must not make it negative, nor the covariance
    # indefinite (scikit-learn's is, and the official KL then 0 or 1e6 by chance).
    shrinkage = np.where(beta > 0, beta / delta, 0).astype(rows.dtype)
    return shrinkage, shrinkage * (trace / dim)


def kl(heads: Heads, shrinkage: str | None) -> Floats:
    """Symmetrised Kullback-Leibler divergence of two Gaussians, Ledoit-Wolf covariances. [h]

    A covariance is c I + b C^T C. Its logarithmic determinants cancel between the two directions.
    """
    dim = heads.centred.shape[2]
    parts = heads.classes()
    b, c = [], []
    for part in parts:
        rows = heads.rows[:, part]
        s, sphere = _ledoit_wolf(rows - rows.mean(axis=1, keepdims=True))
        b.append((1 - s) / rows.shape[1])
        c.append(sphere + KL_RIDGE)
    if max(heads.a, heads.n) <= dim:
        shared = (heads.gram, heads.q, heads.delta2, dim)
        terms = [_kl_dual(*shared, parts[i], parts[1 - i], b, c, i) for i in (0, 1)]
    else:
        terms = _kl_primal(heads, b, c)
    value = 0.25 * (terms[0] + terms[1]) - 0.5 * dim
    return np.asarray(np.clip(value, 0, KL_LIMIT))


def _kl_dual(
    gram: Floats,
    q: Floats,
    delta2: Floats,
    dim: int,
    own: slice,
    other: slice,
    b: list[Floats],
    c: list[Floats],
    i: int,
) -> Floats:
    """tr(S_i^-1 S_j) + delta^T S_i^-1 delta by the Woodbury identity, from W, q, |delta|^2. [h]"""
    inner, cross = gram[:, own, own], gram[:, own, other]
    n = inner.shape[1]
    ratio = b[i] / c[i]
    system = ratio[:, None, None] * inner
    np.einsum("hii->hi", system)[:] += 1
    near = np.einsum("hii->h", system).max() < _NEAR  # false for NaN
    inverse = _inverse(system) if near else _stacked(np.linalg.inv, system)
    for head in np.flatnonzero(np.isnan(inverse).any(axis=(1, 2)) & np.isfinite(ratio)):
        # The identity drowned in rounding (two samples: no shrinkage, only the 1e-10 ridge).
        values, vectors = np.linalg.eigh(inner[head])
        inverse[head] = (vectors / (1 + ratio[head] * np.maximum(values, 0))) @ vectors.T
    total = np.einsum("hii->h", gram[:, other, other])
    # tr(S^-1) = (dim - n + tr(inverse)) / c, and so on
    spread = c[1 - i] * (dim - n + np.einsum("hii->h", inverse))
    mixed = total - ratio * np.einsum("hij,hij->h", inverse @ cross, cross)
    mean = delta2 - ratio * np.einsum("hi,hij,hj->h", q[:, own], inverse, q[:, own])
    return np.asarray((spread + b[1 - i] * mixed + mean) / c[i])


def _inverse(systems: Floats) -> Floats:
    """Inverses of stacked symmetric positive definite matrices, by halves: products of matrices are
    many times faster than LAPACK on matrices of this size."""
    n = systems.shape[-1]
    if n <= _SMALL:
        return np.asarray(np.linalg.inv(systems))
    half = n // 2
    corner = systems[:, :half, half:]
    first = _inverse(systems[:, :half, :half])
    x = first @ corner
    last = _inverse(systems[:, half:, half:] - corner.transpose(0, 2, 1) @ x)
    found = np.empty(systems.shape)
    found[:, :half, half:] = -(x @ last)
    found[:, half:, :half] = found[:, :half, half:].transpose(0, 2, 1)
    found[:, :half, :half] = first - found[:, :half, half:] @ x.transpose(0, 2, 1)
    found[:, half:, half:] = last
    return found


def _kl_primal(heads: Heads, b: list[Floats], c: list[Floats]) -> list[Floats]:
    """As _kl_dual for both classes, from the covariance matrices themselves."""
    covariances = []
    for part, factor, ridge in zip(heads.classes(), b, c, strict=True):
        rows = heads.centred[:, part]
        covariance = factor[:, None, None] * (rows.transpose(0, 2, 1) @ rows)
        np.einsum("hii->hi", covariance)[:] += ridge[:, None]
        covariances.append(covariance)
    terms = []
    for i in (0, 1):
        inverse = _stacked(np.linalg.inv, covariances[i])
        mean = np.einsum("hd,hde,he->h", heads.delta, inverse, heads.delta)
        terms.append(np.einsum("hij,hij->h", inverse, covariances[1 - i]) + mean)
    return terms


def _linear_kernel(heads: Heads) -> Floats:
    """Scalar products of the rows, seen from their overall mean: [h, N, N].

    Row i is C_i + t_i gap, where t is the share of the other class, negative for normal samples.
    """
    total = heads.a + heads.n
    t = np.repeat([heads.n / total, -heads.a / total], [heads.a, heads.n])
    # x_i x_j = W_ij + u_i t_j + t_i u_j, with u = C gap + t |gap|^2 / 2
    u = (heads.centred @ heads.gap[:, :, None])[:, :, 0]
    u += 0.5 * np.einsum("hd,hd->h", heads.gap, heads.gap)[:, None] * t
    kernel: Floats = u[:, :, None] * t
    kernel += t[:, None] * u[:, None, :]
    kernel += heads.gram
    return kernel


def mmd(heads: Heads, shrinkage: str | None) -> Floats:
    """Biased squared maximum mean discrepancy, RBF kernel with the median heuristic. [h]

    The means are taken in the precision of the features, in the official order of summation: the
    difference of three numbers near 1 would show any other.
    """
    a = heads.a
    kernel = heads.squared.astype(heads.rows.dtype)
    median = _median_squared_distance(heads, kernel)
    gamma = np.where(median > 0, 1 / (2 * median), 1).astype(heads.rows.dtype)
    kernel *= -gamma[:, None, None]
    np.exp(kernel, out=kernel)

    def mean(block: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.ascontiguousarray(block).reshape(len(block), -1).mean(axis=1))

    value = mean(kernel[:, :a, :a]) + mean(kernel[:, a:, a:]) - 2 * mean(kernel[:, :a, a:])
    return np.where(np.isnan(median), np.nan, np.clip(value, 0, None).astype(np.float64))


def _median_squared_distance(heads: Heads, squared: NDArray[Any]) -> NDArray[Any]:
    """Median of the non-zero squared distances, in the precision of the features. [h]"""
    rows = heads.rows
    n = rows.shape[1]
    i, j = np.triu_indices(n, 1)
    pairs = squared.reshape(len(rows), -1).take(i * n + j, axis=1)
    # Equal rows: their distance is exactly zero, whatever the rounding of the Gram matrix.
    h, p = np.nonzero(pairs <= 1e-9 * np.einsum("hii->h", heads.gram)[:, None])
    equal = (rows[h, i[p]] == rows[h, j[p]]).all(axis=1)
    pairs[h[equal], p[equal]] = -1
    zeros = np.bincount(h[equal], minlength=len(rows))
    count = pairs.shape[1] - zeros
    low = zeros + (count - 1) // 2
    high = np.minimum(zeros + count // 2, pairs.shape[1] - 1)
    ordered = np.sort(pairs, axis=1)
    every = np.arange(len(rows))
    first, second = ordered[every, low], ordered[every, high]
    if rows.dtype == np.float32:
        # Around the middle, the distances as float32 subtraction and summation round them.
        lower = (first * np.float32(1 - _FLOAT32_NOISE))[:, None]
        upper = (second * np.float32(1 + _FLOAT32_NOISE))[:, None]
        h, p = np.nonzero((pairs >= lower) & (pairs <= upper))
        exact = ((rows[h, i[p]] - rows[h, j[p]]) ** 2).sum(axis=1)
        exact = exact[np.lexsort((exact, h))]
        start = np.searchsorted(h, every) - np.count_nonzero(pairs < lower, axis=1)
        first, second = exact[start + low], exact[start + high]
    median = (first + second) / first.dtype.type(2)
    return np.asarray(np.where(count > 0, median, np.nan), dtype=rows.dtype)


def nmi(heads: Heads, shrinkage: str | None) -> Floats:
    """Normalised mutual information of the classes and two k-means clusters. [h]"""
    a, n = heads.a, heads.n
    rows = heads.rows
    once = SampleWeights(np.ones(a + n), np.arange(a + n))
    clusters = _two_means(
        heads.kernel,
        heads.squared,
        once,
        rows.dtype,
        rows.shape[2],
        lambda head: _sklearn_two_means(rows[head]),
    )
    ones = np.stack([clusters[:, :a].sum(axis=1), clusters[:, a:].sum(axis=1)], axis=1)
    table = np.stack([np.array([a, n]) - ones, ones], axis=2).astype(np.float64)
    return _normalised_information(table)


def _normalised_information(table: Floats) -> Floats:
    """scikit-learn's normalized_mutual_info_score of contingency tables [h, classes, 2], exactly.

    Zero where all samples fell into one cluster, as there.
    """
    rows, columns, total = table.sum(axis=2), table.sum(axis=1), table[0].sum()

    def log(values: Floats) -> Floats:
        return np.log(np.where(values > 0, values, 1))

    share = table / total
    outer = -log(rows[:, :, None] * columns[:, None, :]) + 2 * log(np.asarray(total))
    terms = share * (log(table) - log(np.asarray(total))) + share * outer
    terms = np.where(np.abs(terms) < np.finfo(np.float64).eps, 0, terms).reshape(len(table), -1)
    information = np.clip(terms[:, 0] + terms[:, 1] + terms[:, 2] + terms[:, 3], 0, None)

    def entropy(counts: Floats) -> Floats:
        parts = (counts / total) * (log(counts) - log(np.asarray(total)))
        return np.asarray(-(parts[:, 0] + parts[:, 1]))

    mean = (entropy(rows) + entropy(columns)) / 2
    single = (columns == 0).any(axis=1)
    nmi = information / np.where(single, 1, mean)
    return np.where(single | (information == 0), 0.0, nmi)


class SampleWeights:
    """How often each of n samples is among N rows (weights [n]), and which one a row is [N]."""

    def __init__(self, weights: Floats, places: NDArray[np.int64]) -> None:
        self.weights, self.places = weights, places

    def anomalous(self, a: int) -> int:
        """How many rows the first `a` samples are."""
        return int(self.weights[:a].sum())


def _two_means(
    kernel: Floats,
    squared: Floats,
    rows: SampleWeights,
    dtype: Any,
    dim: int,
    ask: Callable[[int], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Cluster (0 or 1) of each sample as scikit-learn's KMeans of the rows finds it: [h, n].

    k-means++ and Lloyd's iterations of all heads at once, from scalar products and squared
    distances of the samples [h, n, n] alone; a head where a choice is within rounding is handed to
    scikit-learn by `ask`.
    """
    h = len(squared)
    n = len(rows.places)
    every = np.arange(h)
    norms = np.einsum("hii->hi", kernel)
    scale = norms.max(axis=1)
    tolerance = KMEANS_TOLERANCE * (norms @ rows.weights / n) / dim

    # k-means++: the first centre depends on n alone, the second is the better of two candidates,
    # drawn with probabilities that grow with the squared distance to the first.
    random = np.random.RandomState(KMEANS_SEED)
    equal = np.ones(n, dtype=dtype)
    first = int(rows.places[random.choice(n, p=equal / equal.sum())])
    closest = squared[:, first]
    cumulated = np.cumsum(closest[:, rows.places], axis=1)
    total = cumulated[:, -1]
    targets = random.uniform(size=2) * total[:, None]
    candidates = np.minimum((cumulated[:, None, :] < targets[:, :, None]).sum(axis=2), n - 1)
    gap = np.abs(cumulated[:, None, :] - targets[:, :, None]).min(axis=(1, 2))
    doubt = gap <= n * np.finfo(np.float32).eps * total  # a running sum gathers rounding
    candidates = rows.places[candidates]
    potentials = np.minimum(closest[:, None], squared[every[:, None], candidates]) @ rows.weights
    second = candidates[every, np.argmin(potentials, axis=1)]
    doubt |= (np.abs(potentials[:, 0] - potentials[:, 1]) <= _FLOAT32_NOISE * total) & (
        candidates[:, 0] != candidates[:, 1]
    )

    # Lloyd: a sample moves to cluster 1 where its squared distance to centre 0 is the larger. The
    # rows sum to zero, so that the sums of the two clusters are opposite: `pull`, products with the
    # sum of cluster 1, and `length`, that sum's square, give all distances.
    labels = np.zeros(norms.shape, dtype=np.int64)
    heads = np.flatnonzero(~doubt)
    k = kernel if len(heads) == h else kernel[heads]
    index = np.arange(len(heads))
    other = second[heads]
    difference = closest[heads] - squared[heads, other]
    old = np.full((len(heads), norms.shape[1]), 2.0)
    old_length = old_size = np.ones((2, len(heads)))
    settled = np.zeros(len(heads), dtype=bool)  # centres moved within tolerance: assign, then stop
    left = np.ones(len(heads), dtype=bool)
    for step in range(KMEANS_ITERATIONS):
        if not left.any():
            break
        new = (difference > 0).astype(np.float64)
        heavy = new * rows.weights
        ones = heavy.sum(axis=1)
        unsure = np.abs(difference).min(axis=1) <= _FLOAT32_NOISE * scale[heads]
        unsure |= (ones == 0) | (ones == n)  # scikit-learn moves a sample to an empty cluster
        size = np.maximum(np.stack([n - ones, ones]), 1)  # [2, heads]
        pull = (k @ heavy[:, :, None])[:, :, 0]
        length = np.einsum("hn,hn->h", heavy, pull)
        if step:
            crossed = np.einsum("hn,hn->h", old * rows.weights, pull)
            old_squares = old_length / old_size**2
        else:  # the old centres are two samples
            crossed = np.stack([-pull[:, first], pull[index, other]])
            old_squares = np.stack([norms[heads, first], norms[heads, other]])
        shift = (length / size**2 - 2 * crossed / (size * old_size) + old_squares).sum(axis=0)
        limit = tolerance[heads]
        same = (new == old).all(axis=1)
        unsure |= ~settled & ~same & (np.abs(shift - limit) <= 1e-3 * limit)
        done = left & (settled | same | unsure)
        labels[heads[done]] = new[done]
        doubt[heads[done & unsure]] = True
        left &= ~done
        inverse = 1 / size
        difference = (length * (inverse[0] ** 2 - inverse[1] ** 2))[:, None]
        difference = difference + 2 * pull * (inverse[0] + inverse[1])[:, None]
        settled = shift <= limit
        old, old_length, old_size = new, length, size
        if 2 * left.sum() < len(left):  # what is left is worth a copy
            heads, k, difference, old = heads[left], k[left], difference[left], old[left]
            old_length, old_size, settled = old_length[left], old_size[:, left], settled[left]
            left = left[left]
    doubt[heads[left]] = True
    for i in np.flatnonzero(doubt):
        labels[i] = ask(int(i))
    return labels


def _sklearn_two_means(rows: NDArray[Any]) -> NDArray[np.int64]:
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with _ONE_AT_A_TIME, warnings.catch_warnings():  # warning filters belong to all threads
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        kmeans = KMeans(n_clusters=2, random_state=KMEANS_SEED, n_init="auto")
        return np.asarray(kmeans.fit_predict(rows), dtype=np.int64)
