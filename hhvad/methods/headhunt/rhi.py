"""Robust Head Identification: from the metrics of each prompt to the expert heads.

S(k, p) is the mean of head k's metrics under prompt p, each min-max normalised over all heads of
that prompt; RSS(k) = mean over prompts - penalty * population standard deviation over prompts.

A head that lacks one metric under one prompt has no RSS (NaN) and cannot become an expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError
from hhvad.methods.headhunt import saliency
from hhvad.methods.headhunt.resampled import score_resamples
from hhvad.records import HeadId

Floats = NDArray[np.float64]


def normalise(metrics: ArrayLike) -> Floats:
    """Saliency S [P, L, H] from metrics [P, n_metrics, L, H].

    Each metric is scaled to [0, 1] over the heads of its prompt that have it, as scikit-learn's
    MinMaxScaler does; a metric that is the same for all heads tells nothing and becomes 0. A head
    without one of its metrics (NaN or infinite) has no saliency: NaN.
    """
    values = np.asarray(metrics, dtype=np.float64)
    if values.ndim != 4 or 0 in values.shape[:2]:
        raise DataError(f"metrics have shape {values.shape}; [prompts, metrics, layers, heads]")
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(axis=(2, 3), keepdims=True)
    high = np.where(finite, values, -np.inf).max(axis=(2, 3), keepdims=True)
    with np.errstate(invalid="ignore"):
        span = high - low
        span = np.where(np.isfinite(span) & (span > 10 * np.finfo(np.float64).eps), span, 1.0)
        scale = 1 / span
        scaled = np.where(finite, values * scale - low * scale, np.nan)
    return np.asarray(scaled.mean(axis=1))


def robust_saliency(normalised: ArrayLike, penalty: float = 0.5) -> Floats:
    """RSS [L, H] from S [P, L, H]; NaN where a head has no saliency under some prompt.

    Raises DataError for fewer than two prompts (agreement of one is no agreement) or a negative or
    non-finite penalty.
    """
    values = np.asarray(normalised, dtype=np.float64)
    if values.ndim != 3 or len(values) < 2:
        raise DataError(f"saliency has shape {values.shape}; [2 or more prompts, layers, heads]")
    if not (np.isfinite(penalty) and penalty >= 0):
        raise DataError(f"penalty is {penalty}; it must be 0 or more")
    return np.asarray(values.mean(axis=0) - penalty * values.std(axis=0))


def top_heads(rss: ArrayLike, k: int = 5) -> list[HeadId]:
    """The k heads of largest RSS [L, H], best first; equal ones in the order of (layer, head).

    NaN is never chosen. Raises DataError where fewer than k heads have an RSS.
    """
    values = np.asarray(rss, dtype=np.float64)
    if values.ndim != 2:
        raise DataError(f"RSS has shape {values.shape}; [layers, heads] is needed")
    flat = values.ravel()
    usable = int(np.isfinite(flat).sum())
    if not 1 <= k <= usable:
        raise DataError(f"{k} experts are asked for, but {usable} of {flat.size} heads have an RSS")
    order = np.argsort(np.where(np.isfinite(flat), -flat, np.inf), kind="stable")[:k]
    return [HeadId(*divmod(int(index), values.shape[1])) for index in order]


def sweep(
    normalised: ArrayLike, penalties: Sequence[float], counts: Sequence[int]
) -> dict[tuple[float, int], list[HeadId]]:
    """The experts for each (penalty, K): reuses S [P, L, H], so that a sweep costs no features."""
    return {
        (penalty, k): top_heads(robust_saliency(normalised, penalty), k)
        for penalty in penalties
        for k in counts
    }


def resamples(labels: ArrayLike, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Bootstrap resamples of the samples within each class: indices [count, N].

    Drawn again where a class consists of copies of one sample: it has no covariance.
    """
    y = np.asarray(labels)
    random = np.random.default_rng(seed)
    drawn = np.empty((count, len(y)), dtype=np.int64)
    for value in (0, 1):
        members = np.flatnonzero(y == value)
        if len(members) < 2:
            raise DataError(f"class {value} has {len(members)} samples; a bootstrap needs 2")
        for row in drawn:
            while True:
                pick = random.choice(members, len(members))
                if pick.min() != pick.max():
                    break
            row[members] = np.sort(pick)
    return drawn


def selection_frequency(
    features: Sequence[ArrayLike],
    labels: ArrayLike,
    *,
    k: int = 5,
    penalty: float = 0.5,
    count: int = 200,
    seed: int = 0,
    metrics: Sequence[str] = tuple(saliency.METRICS),
    shrinkage: str | None = None,
    threads: int = 1,
    videos: ArrayLike | None = None,
) -> Floats:
    """How often each head is among the experts when the samples are drawn again: [L, H], 0 to 1.

    features: one array [N, L, H, D] a prompt, with the same N samples in the same order; a
    resample takes the same samples under every prompt. videos [N]: the number of the video that a
    sample is a segment of; whole videos are drawn then, among those with and those without an
    anomalous segment, because the segments of one video are much alike.
    """
    y = np.asarray(labels)
    owner = np.arange(len(y)) if videos is None else np.unique(videos, return_inverse=True)[1]
    members = [np.flatnonzero(owner == video) for video in range(owner.max() + 1)]
    arrays: list[NDArray[Any]] = [np.asarray(one) for one in features]
    if any(one.shape != arrays[0].shape for one in arrays):
        raise DataError("prompts have features of different shapes")
    anomalous = [int(y[rows].any()) for rows in members]
    picks = [
        np.concatenate([members[video] for video in drawn])
        for drawn in resamples(anomalous, count, seed)
    ]
    scored = [
        score_resamples(one, y, picks, metrics=metrics, shrinkage=shrinkage, threads=threads)
        for one in arrays
    ]
    times = np.zeros(arrays[0].shape[1:3])
    for prompts in zip(*scored, strict=True):
        for head in top_heads(robust_saliency(normalise(np.stack(prompts)), penalty), k):
            times[head] += 1
    return times / max(count, 1)
