"""Metrics over frames, videos and events, exact on scored segments without expanding frames.

A segment of one score is a row with its numbers of anomalous and of normal frames; every metric is
a function of the two cumulative counts, taken from the highest score down (`Ranking.counts`). A
resample of the videos is a weight for each video, so that one sort serves every resample.

Two "average precisions" are in use; both are here and neither is called just AP:
`ap_step` = sum of (R_k - R_{k-1}) P_k, scikit-learn's average_precision_score, and `ap_trapezoid`
= the area under the precision-recall curve by the trapezoid rule, starting at (0, 1), which is
scikit-learn's auc(recall, precision) and flatters coarse scores.

What is not defined (one class only, nothing detected) is NaN here; the results say why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Events = Sequence[tuple[int, int]]

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


class Ranking(NamedTuple):
    """Rows [T] of weighted counts by falling score; `last` is the last row of each score [G]."""

    video: Ints
    positive: Floats
    negative: Floats
    scores: Floats
    last: Ints

    def counts(self, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """True and false positives [G] when all scores >= each distinct score are called positive.

        weights: how often each video [V] counts; without them, once.
        """
        if weights is None:
            return self.positive.cumsum()[self.last], self.negative.cumsum()[self.last]
        each = weights[self.video]
        tp, fp = self.positive * each, self.negative * each
        return np.cumsum(tp, out=tp)[self.last], np.cumsum(fp, out=fp)[self.last]

    def only(self, videos: NDArray[np.bool_]) -> Ranking:
        """The rows of some of the videos: a mask [V]."""
        rows = videos[self.video]
        scores = np.repeat(self.scores, np.diff(self.last, prepend=-1))[rows]
        last = _last_of_each(scores)
        return Ranking(
            self.video[rows], self.positive[rows], self.negative[rows], scores[last], last
        )


def rank(video: ArrayLike, scores: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> Ranking:
    """Rows [T] of (video index, score, anomalous frames, normal frames), sorted for the metrics.

    Raises DataError where a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"score {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
    order = np.argsort(-values)
    values = values[order]
    last = _last_of_each(values)
    return Ranking(
        np.asarray(video, dtype=np.int64)[order],
        np.asarray(positive, dtype=np.float64)[order],
        np.asarray(negative, dtype=np.float64)[order],
        values[last],
        last,
    )


def _last_of_each(falling: Floats) -> Ints:
    """The last index of each run of equal values."""
    if not len(falling):
        return np.zeros(0, dtype=np.int64)
    return np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)


def auc(tp: Floats, fp: Floats) -> float:
    """Area under the ROC curve of cumulative counts [G]; equal scores count half."""
    if _one_class(tp, fp):
        return float("nan")
    width = np.diff(fp, prepend=0.0)
    # 2 tp - (step of tp) = sum of this and the last tp: whole numbers, so that the sum is exact.
    return float(np.dot(width, 2 * tp - np.diff(tp, prepend=0.0)) / (2 * tp[-1] * fp[-1]))


def ap_step(tp: Floats, fp: Floats) -> float:
    """Step-wise average precision of cumulative counts [G]."""
    if _one_class(tp, fp):
        return float("nan")
    return float(np.dot(np.diff(tp, prepend=0.0), _precision(tp, fp)) / tp[-1])


def ap_trapezoid(tp: Floats, fp: Floats) -> float:
    """Trapezoid area under the precision-recall curve of cumulative counts [G], from (0, 1)."""
    if _one_class(tp, fp):
        return float("nan")
    precision = _precision(tp, fp)
    before = np.concatenate(([1.0], precision[:-1]))
    return float(np.dot(np.diff(tp, prepend=0.0), precision + before) / (2 * tp[-1]))


def best_f1(tp: Floats, fp: Floats) -> tuple[float, int]:
    """The largest F1 over all thresholds, and the index of its score (the threshold: s >= it)."""
    if _one_class(tp, fp):
        return float("nan"), -1
    f1 = 2 * tp / (tp + fp + tp[-1])
    at = int(np.argmax(f1))
    return float(f1[at]), at


def _one_class(tp: Floats, fp: Floats) -> bool:
    """Whether there is nothing to tell apart."""
    return not len(tp) or not tp[-1] or not fp[-1]


def _precision(tp: Floats, fp: Floats) -> Floats:
    """Precision at each threshold; 1 where nothing is called positive yet."""
    called = tp + fp
    return np.divide(tp, called, out=np.ones_like(tp), where=called > 0)


def ratio(numerator: float, denominator: float) -> float:
    """A share, NaN where there is nothing to take it of."""
    return float(numerator / denominator) if denominator else float("nan")


class Matches(NamedTuple):
    """Detected events of all videos by falling score, and what each of them found.

    hit [IoU, D] says whether an event is a true positive at each temporal IoU; annotated [V] counts
    the events of each video that there are to find; last [G] is the last row of each score.
    """

    video: Ints
    hit: NDArray[np.bool_]
    annotated: Floats
    last: Ints


def match_events(
    detected: Sequence[Sequence[tuple[int, int, float]]],
    annotated: Sequence[Events],
    ious: Sequence[float] = IOUS,
) -> Matches:
    """Match detected (start, end, score) to annotated [start, end) events, video by video.

    As ActivityNet does it: by falling score, each detection takes the free annotated event of
    largest temporal IoU, if that reaches the threshold; of equal scores the earlier one chooses.
    """
    videos: list[int] = []
    scores: list[float] = []
    hits: list[list[bool]] = []
    for video, (found, truth) in enumerate(zip(detected, annotated, strict=True)):
        free = [set(range(len(truth))) for _ in ious]
        for start, end, score in sorted(found, key=lambda event: (-event[2], event[0])):
            overlaps = [_iou(start, end, *event) for event in truth]
            hit = []
            for iou, left in zip(ious, free, strict=True):
                best = max(left, key=lambda i: (overlaps[i], -i), default=None)
                hit.append(best is not None and overlaps[best] >= iou)
                if best is not None and hit[-1]:
                    left.remove(best)
            videos.append(video)
            scores.append(score)
            hits.append(hit)
    order = np.argsort(-np.array(scores, dtype=np.float64), kind="stable")
    falling = np.array(scores, dtype=np.float64)[order]
    table = np.array(hits, dtype=bool).reshape(-1, len(ious))
    return Matches(
        np.array(videos, dtype=np.int64)[order],
        table[order].T,
        np.array([len(truth) for truth in annotated], dtype=np.float64),
        _last_of_each(falling),
    )


def _iou(start: int, end: int, other_start: int, other_end: int) -> float:
    shared = min(end, other_end) - max(start, other_start)
    if shared <= 0:
        return 0.0
    return shared / (end - start + other_end - other_start - shared)


def event_ap(matches: Matches, weights: Floats | None = None) -> Floats:
    """Average precision of the events at each temporal IoU [IoU], class-agnostic.

    The area under the precision envelope (the largest precision at this or a higher recall), as
    ActivityNet computes it; events of equal score enter together. 0 where nothing is detected, NaN
    where no event is annotated.
    """
    weight = np.ones(len(matches.annotated)) if weights is None else weights
    total = float(weight @ matches.annotated)
    if not total:
        return np.full(len(matches.hit), np.nan)
    if not len(matches.video):
        return np.zeros(len(matches.hit))
    each = weight[matches.video]
    called = np.cumsum(each)[matches.last]
    tp = np.cumsum(matches.hit * each, axis=1)[:, matches.last]
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((np.diff(tp, axis=1, prepend=0.0) * envelope).sum(axis=1) / total)


def first_alarms(bounds: Ints, above: NDArray[np.bool_], events: Events) -> list[int | None]:
    """Frames from each event's start to the first frame of it above the threshold; None if none.

    bounds [T, 2] are the frames [start, end) of each segment, in order; above [T] is their verdict.
    """
    starts, ends = bounds[above, 0], bounds[above, 1]
    delays: list[int | None] = []
    for start, end in events:
        at = int(np.searchsorted(ends, start, side="right"))
        found = at < len(starts) and starts[at] < end
        delays.append(max(0, int(starts[at]) - start) if found else None)
    return delays


class Estimate(NamedTuple):
    """A metric, its interval, and the resamples in which it was defined."""

    value: float
    low: float
    high: float
    n_resamples: int


def bootstrap(
    statistics: Callable[[Floats], Mapping[str, float]],
    videos: int,
    count: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Metrics of all videos, with percentile intervals of a level over `count` resamples.

    statistics: from a weight for each video [V] to metrics by name, NaN where undefined. Resamples
    in which a metric is undefined do not count for it; fewer than two leave the interval NaN.
    """
    values = statistics(np.ones(videos))
    drawn = {name: np.empty(count) for name in values}
    for index, weights in enumerate(resamples(videos, count, seed)):
        for name, value in statistics(weights).items():
            drawn[name][index] = value
    ends = round(50 * (1 - level), 9), round(50 * (1 + level), 9)
    estimates = {}
    for name, value in values.items():
        defined = drawn[name][np.isfinite(drawn[name])]
        low, high = np.percentile(defined, ends) if len(defined) > 1 else (np.nan, np.nan)
        estimates[name] = Estimate(float(value), float(low), float(high), len(defined))
    return estimates


def resamples(videos: int, count: int, seed: int) -> Iterator[Floats]:
    """`count` draws of as many videos with replacement: how often each was drawn, [V]."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        drawn = generator.integers(videos, size=videos)
        yield np.bincount(drawn, minlength=videos).astype(np.float64)


def centre_prior(n_frames: int) -> tuple[Floats, Ints]:
    """exp(-0.5 ((t - c) / c)^2), c = floor(n / 2), for |t - c| = 0 ... c; and each frame's |t - c|.

    Frames at equal distance have equal scores: c + 1 scores say it for n frames.
    """
    centre = n_frames // 2
    distance = np.arange(centre + 1)
    prior = np.exp(-0.5 * (distance / max(centre, 1)) ** 2)
    return prior, np.abs(np.arange(n_frames) - centre)
