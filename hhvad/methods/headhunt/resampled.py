"""The metrics of `saliency` under many resamples of the samples, for the price of few.

A resample draws some samples several times and a third not at all. All its metrics follow from the
scalar products of the samples that are in it, each with a weight: they are computed once per head,
and a resample takes a part of them. The numbers are those of `saliency.score_heads` on the
resample's rows, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.methods.headhunt import saliency
from hhvad.methods.headhunt.saliency import (
    KL_LIMIT,
    KL_RIDGE,
    LDA_RIDGE,
    METRICS,
    Floats,
    SampleWeights,
)

Ints = NDArray[np.int64]
_CHUNK_BYTES = 24_000_000
_BLOCK = 128  # pairs whose weights are added up before the one is looked for that holds the median


def score_resamples(
    features: ArrayLike,
    labels: ArrayLike,
    picks: Sequence[Ints],
    *,
    metrics: Sequence[str] = tuple(METRICS),
    shrinkage: str | None = None,
    threads: int = 1,
) -> Floats:
    """The metrics of heads under each resample, float64 [resamples, metrics, layers, heads].

    features, labels and the other arguments are those of `saliency.score_heads`; picks: the samples
    of each resample, sorted, both classes with two different ones at least. `threads` changes the
    time and never the result. Resamples with more different samples than dimensions, metrics of
    other packages and shrinkage take `score_heads` itself.
    """
    x, y = saliency._checked(features, labels)
    samples, layers, heads, dim = x.shape
    result = np.full((len(picks), len(metrics), layers * heads), np.nan)
    order = np.argsort(1 - y, kind="stable")  # anomalous samples first, as `score_heads` has them
    rank = np.empty_like(order)
    rank[order] = np.arange(samples)
    known = [_FUNCTIONS[name] for name in metrics if name in _FUNCTIONS]
    drawn: dict[int, Drawn] = {}
    for number, pick in enumerate(picks):
        places = rank[pick]
        places = places[np.argsort(places >= y.sum(), kind="stable")]
        one = Drawn(places, int(y.sum()), samples)
        if len(one.different) <= dim and len(known) == len(metrics) and shrinkage is None:
            drawn[number] = one
        else:
            found = saliency.score_heads(
                x[pick], y[pick], metrics=metrics, shrinkage=shrinkage, threads=threads
            )
            result[number] = found.reshape(len(metrics), -1)
    flat = x.reshape(samples, layers * heads, dim)
    usable = np.flatnonzero(~saliency._unusable(flat)) if drawn else np.empty(0, np.intp)

    def fill(chunk: NDArray[np.intp], rows: NDArray[Any]) -> None:
        whole, room = Products(rows), Room()
        for number, one in drawn.items():
            part = Part(whole, one, room)
            values = np.stack([function(part) for function in known])
            values[:, part.pairs == 0] = np.nan  # all its rows are the same
            result[number][:, chunk] = values

    saliency.for_chunks(flat, usable, order, fill, threads, _CHUNK_BYTES)
    result[~np.isfinite(result)] = np.nan
    return result.reshape(len(picks), len(metrics), layers, heads)


class Drawn(SampleWeights):
    """A resample: its different samples (anomalous first), how often each is in it, its rows."""

    def __init__(self, places: Ints, a: int, samples: int) -> None:
        """From the samples' places, of which the first `a` are anomalous, with repetitions."""
        counts = np.bincount(places, minlength=samples)
        self.different: Ints = np.flatnonzero(counts)  # [n] of the N samples
        position = np.cumsum(counts > 0) - 1
        super().__init__(counts[self.different].astype(np.float64), position[places])
        self.a = int((self.different < a).sum())  # so many of them are anomalous
        # Weights that give the mean of each class.
        self.share = np.zeros((len(self.different), 2))
        for kind, part in enumerate((slice(0, self.a), slice(self.a, None))):
            self.share[part, kind] = self.weights[part] / self.weights[part].sum()
        # How often each of the N (N - 1) / 2 pairs is in it; 0 at the end.
        i, j = np.triu_indices(samples, 1)
        pairs = np.append(counts[i] * counts[j], 0)
        self.pair_weights = pairs.astype(np.uint8 if pairs.max() < 256 else np.int32)
        # Where the products of its samples are in a flat [N * N].
        self.flat: Ints = (self.different[:, None] * samples + self.different).ravel()


class Products:
    """What all resamples of a chunk of heads share."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows = rows  # [h, N, D]
        count, samples, self.dim = rows.shape
        centred = rows.astype(np.float64)
        centred -= centred.mean(axis=1, keepdims=True)
        products = centred @ centred.transpose(0, 2, 1)
        norms = np.einsum("hii->hi", products)
        squared = norms[:, :, None] + norms[:, None, :] - 2 * products
        np.maximum(squared, 0, out=squared)
        self.products = products.reshape(count, -1)  # [h, N * N]
        i, j = np.triu_indices(samples, 1)
        pairs = squared.reshape(count, -1).take(i * samples + j, axis=1)
        h, p = np.nonzero(pairs <= 1e-9 * norms.sum(axis=1)[:, None])
        equal = (rows[h, i[p]] == rows[h, j[p]]).all(axis=1)
        pairs[h[equal], p[equal]] = 0
        squared[h[equal], i[p[equal]], j[p[equal]]] = 0
        squared[h[equal], j[p[equal]], i[p[equal]]] = 0
        self.squared = squared.reshape(count, -1).astype(rows.dtype)
        order = np.argsort(pairs, axis=1, kind="stable")
        self.sorted = np.take_along_axis(pairs, order, axis=1)  # [h, N (N - 1) / 2]
        # and behind them pairs of no weight, up to whole blocks
        room = -order.shape[1] % _BLOCK
        self.order = np.pad(order, ((0, 0), (0, room)), constant_values=order.shape[1])
        self.zeros = np.bincount(h[equal], minlength=count)


class Room:
    """Memory for the large arrays of one resample after the other: fresh pages cost more than what
    is computed in them."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """An array of this shape, of any content, in the place of the last one of this name."""
        size = int(np.prod(shape))
        known = self._buffers.get(name)
        if known is None or known.size < size or known.dtype != dtype:
            known = self._buffers[name] = np.empty(size, dtype)
        return known[:size].reshape(shape)


class Part:
    """A resample of a chunk of heads: the part of `Heads` that the metrics take."""

    def __init__(self, whole: Products, drawn: Drawn, room: Room) -> None:
        self.whole, self.drawn, self.room = whole, drawn, room
        self.dim = whole.dim
        self.heads, n = len(whole.rows), len(drawn.different)
        self.shape = (self.heads, n, n)
        products = self._taken(whole.products, "products", np.float64)
        toward = products @ drawn.share  # [h, n, 2]: products with the class means
        means = drawn.share.T @ toward  # [h, 2, 2]: of the class means themselves
        kind = np.zeros((n, 2))
        kind[: drawn.a, 0] = kind[drawn.a :, 1] = 1
        # x_i x_j - x_i m_j - m_i x_j + m_i m_j, with m the mean of a sample's class
        left = np.concatenate([toward, np.broadcast_to(kind, toward.shape)], axis=2)
        right = np.concatenate([np.broadcast_to(kind, toward.shape), toward - kind @ means], axis=2)
        self.gram: Floats = room.array("gram", self.shape)
        np.matmul(left, right.transpose(0, 2, 1), out=self.gram)
        np.subtract(products, self.gram, out=self.gram)
        root = np.sqrt(drawn.weights)
        self.gram *= root[:, None] * root
        self.q: Floats = (toward[:, :, 0] - toward[:, :, 1]) * root
        self.q -= ((means[:, :, 0] - means[:, :, 1]) @ kind.T) * root
        self.delta2: Floats = means[:, 0, 0] - 2 * means[:, 0, 1] + means[:, 1, 1]
        # seen from the mean of all rows, in the place of the products
        share = np.array([drawn.weights[own].sum() for own in self.classes()])
        share /= share.sum()
        u = toward @ share - 0.5 * np.einsum("hij,i,j->h", means, share, share)[:, None]
        both = np.stack([u, np.ones_like(u)], axis=2)
        shift = room.array("work", self.shape)
        np.matmul(both, both[:, :, ::-1].transpose(0, 2, 1), out=shift)
        products -= shift
        self.kernel: Floats = products

    def _taken(self, flat: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
        out = self.room.array(name, (self.heads, len(self.drawn.flat)), dtype)
        flat.take(self.drawn.flat, axis=1, out=out, mode="clip")  # in the other mode it is copied
        return out.reshape(self.shape)

    def classes(self) -> tuple[slice, slice]:
        """Where the anomalous and the normal samples are."""
        return slice(0, self.drawn.a), slice(self.drawn.a, None)

    @cached_property
    def squared(self) -> NDArray[Any]:
        """Squared distances, in the precision of the features: [h, n, n]."""
        return self._taken(self.whole.squared, "squared", self.whole.squared.dtype)

    @cached_property
    def pairs(self) -> Ints:
        """How many pairs of the resample's rows differ: [h]."""
        total = int(self.drawn.pair_weights.sum())
        return np.array([total - self._weight(h, z) for h, z in enumerate(self.whole.zeros)])

    def _weight(self, head: int, count: int) -> int:
        """Of the first so many pairs of a head, which are those without a distance."""
        return int(self.drawn.pair_weights[self.whole.order[head, :count]].sum()) if count else 0

    def median(self) -> Floats:
        """Median of the squared distances of the rows that differ: [h]; NaN where none do."""
        sorted_, order = self.whole.sorted, self.whole.order
        heads = len(order)
        cells = self.room.array("pairs", order.shape, self.drawn.pair_weights.dtype)
        self.drawn.pair_weights.take(order, out=cells, mode="clip")
        cells = cells.reshape(heads, -1, _BLOCK)
        blocks = cells.shape[1]
        until = np.cumsum(cells.sum(axis=2, dtype=np.int64), axis=1)
        every = np.arange(heads)
        zeros = until[:, -1] - self.pairs
        found = []
        for rank in ((self.pairs - 1) // 2, self.pairs // 2):
            target = zeros + rank
            block = np.minimum((until <= target[:, None]).sum(axis=1), blocks - 1)
            before = np.where(block > 0, until[every, block - 1], 0)
            inside = np.cumsum(cells[every, block], axis=1, dtype=np.int64) + before[:, None]
            place = block * _BLOCK + (inside <= target[:, None]).sum(axis=1)
            found.append(sorted_[every, np.minimum(place, sorted_.shape[1] - 1)])
        return np.where(self.pairs > 0, (found[0] + found[1]) / 2, np.nan)


def lda(part: Part) -> Floats:
    """As saliency.lda without shrinkage. [h]"""
    system = part.room.array("work", part.shape)
    np.copyto(system, part.gram)
    np.einsum("hii->hi", system)[:] += LDA_RIDGE
    solved = saliency._stacked(np.linalg.solve, system, part.q[:, :, None])[:, :, 0]
    value = (part.delta2 - np.einsum("hn,hn->h", part.q, solved)) / LDA_RIDGE
    scatter = np.einsum("hii->h", part.gram)
    far = np.flatnonzero((scatter > saliency._LDA_SCATTER_LIMIT) & np.isfinite(scatter))
    if len(far):  # the path that is decided by rounding, on the rows themselves
        places = part.drawn.different[part.drawn.places]
        rows = part.whole.rows[far][:, places]
        value[far] = saliency.lda(saliency.Heads(rows, part.drawn.anomalous(part.drawn.a)), None)
    return np.asarray(np.where(value < 1e-9, 0.0, value))


def kl(part: Part) -> Floats:
    """As saliency.kl. [h]"""
    b, c = [], []
    for own in part.classes():
        weights = part.drawn.weights[own]
        shrunk, sphere = _ledoit_wolf(part.gram[:, own, own], weights, part.dim)
        b.append((1 - shrunk) / weights.sum())
        c.append(sphere + KL_RIDGE)
    own, other = part.classes()
    terms = [
        saliency._kl_dual(part.gram, part.q, part.delta2, part.dim, own, other, b, c, 0),
        saliency._kl_dual(part.gram, part.q, part.delta2, part.dim, other, own, b, c, 1),
    ]
    value = 0.25 * (terms[0] + terms[1]) - 0.5 * part.dim
    return np.asarray(np.clip(value, 0, KL_LIMIT))


def _ledoit_wolf(gram: Floats, weights: Floats, dim: int) -> tuple[Floats, Floats]:
    """As saliency's, from the scalar products of centred samples that stand for so many rows."""
    if dim == 1:
        return np.zeros(len(gram)), np.zeros(len(gram))
    n = weights.sum()
    norms = np.einsum("hii->hi", gram)
    trace = norms.sum(axis=1) / n
    mu = trace / dim
    delta_ = np.einsum("hij,hij->h", gram, gram) / n**2
    beta = (norms**2 / weights).sum(axis=1)
    beta = (beta / n - delta_) / (dim * n)
    delta = (delta_ - 2.0 * mu * trace + dim * mu**2) / dim
    beta = np.minimum(beta, delta)
    shrinkage = np.where(beta > 0, beta / delta, 0)
    return shrinkage, shrinkage * trace / dim


def mmd(part: Part) -> Floats:
    """As saliency.mmd. [h]"""
    median = part.median()
    gamma = np.where(median > 0, 1 / (2 * median), 1)
    kernel = part.room.array("kernel", part.shape, part.squared.dtype)
    np.multiply(part.squared, -gamma.astype(kernel.dtype)[:, None, None], out=kernel)
    np.exp(kernel, out=kernel)
    share = part.drawn.share
    means = share.T @ (kernel @ share.astype(kernel.dtype)).astype(np.float64)
    value = means[:, 0, 0] + means[:, 1, 1] - 2 * means[:, 0, 1]
    return np.where(np.isnan(median), np.nan, np.clip(value, 0, None))


def nmi(part: Part) -> Floats:
    """As saliency.nmi. [h]"""
    drawn = part.drawn
    rows = part.whole.rows

    def ask(head: int) -> Ints:
        """scikit-learn's clusters of the resample's rows, as those of its samples."""
        clusters = saliency._sklearn_two_means(rows[head, drawn.different[drawn.places]])
        found = np.empty(len(drawn.different), np.int64)
        found[drawn.places] = clusters
        return found

    clusters = saliency._two_means(part.kernel, part.squared, drawn, rows.dtype, part.dim, ask)
    weighted = clusters * drawn.weights
    ones = np.stack([weighted[:, own].sum(axis=1) for own in part.classes()], axis=1)
    counts = np.array([drawn.weights[own].sum() for own in part.classes()])
    table = np.stack([counts - ones, ones], axis=2)
    return saliency._normalised_information(table)


_FUNCTIONS = {"lda": lda, "kl": kl, "mmd": mmd, "nmi": nmi}
