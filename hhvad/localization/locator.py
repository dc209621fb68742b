"""From segment scores to events: Gaussian smoothing, a threshold, and their calibration.

sigma counts segments. The official code pads with zeros (`border="zero"`), which pulls the scores
at both ends of a video down; `"renormalise"` divides by the part of the kernel that lies inside.
The paper smooths over past and future; causal smoothing knows the past alone, as a camera does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError
from hhvad.localization.budget import Thresholds
from hhvad.records import Event

BORDERS = ("renormalise", "zero")
TAILS = ("keep", "drop")
SIGMAS = tuple(np.linspace(0.5, 3.0, 11).tolist())
THRESHOLDS = tuple(np.linspace(0.1, 0.9, 81).tolist())  # the paper's
ROUNDING = 1e-9  # smoothed scores that differ by less are equal

Floats = NDArray[np.float64]


class NothingFoundError(DataError):
    """No sigma and threshold finds an anomalous frame; a fixed locator is the way on."""


class Calibration(NamedTuple):
    """The smoothing (in segments) and threshold of largest F1, and that F1."""

    sigma: float
    tau: float
    f1: float


def smooth(scores: ArrayLike, sigma: float, border: str = "renormalise") -> Floats:
    """Gaussian smoothing of one video's scores [T] -> [T].

    The kernel has about 6 sigma + 1 taps, odd, at least 3 and at most T (T + 1 for an even T), as
    in the official code. A single score stays as it is. Raises DataError for NaN or infinite
    scores, a sigma that is not positive, an unknown border.
    """
    values = _checked(scores)
    _check_smoothing(sigma, border)
    if len(values) <= 1:
        return values.copy()
    smoothed = _convolve(values, _kernel(len(values), sigma))
    if border == "renormalise":
        smoothed /= _kernel_inside(len(values), sigma)
    return smoothed


def smooth_causal(
    scores: ArrayLike, sigma: float, border: str = "renormalise", past: ArrayLike = ()
) -> Floats:
    """Smoothing by the past alone: scores [T] -> [T], each a mean of itself and those before it.

    The weights are those of `smooth` from its middle on, `reach(sigma)` of them behind the first,
    however long the video is. past [P]: the scores before the first one, in order; the last
    `reach(sigma)` of them are all that counts. So a video that is cut anywhere has exactly the
    scores of the whole. Raises DataError as `smooth`.
    """
    values, before = _checked(scores), _checked(past)
    _check_smoothing(sigma, border)
    if not len(values):
        return values.copy()
    weights = _weights(reach(sigma), sigma)
    before = before[-len(weights) + 1 :]
    joined = np.concatenate([before, values])
    smoothed = np.zeros(len(values))
    inside = np.zeros(len(values))
    # One weight after the other, so that a sum does not depend on where the video is cut.
    for back, weight in enumerate(weights.tolist()):
        first = max(back - len(before), 0)  # the first score that has one so far back
        if first >= len(values):
            break
        start = len(before) + first - back
        smoothed[first:] += weight * joined[start : start + len(values) - first]
        inside[first:] += weight
    return smoothed / (inside if border == "renormalise" else weights.sum())


def reach(sigma: float) -> int:
    """How many scores before the present one causal smoothing takes."""
    return max(3, int(6 * sigma) + 1) // 2


def causal_delay(sigma: float) -> float:
    """By how many segments causal smoothing is late: how far back its weights lie on average."""
    weights = _weights(reach(sigma), sigma)
    return float(weights @ np.arange(len(weights)) / weights.sum())


def _weights(count: int, sigma: float) -> Floats:
    """Gaussian weights of the present score and of `count` before it."""
    return np.exp(-(np.arange(count + 1.0) ** 2) / (2 * sigma**2))


def _check_smoothing(sigma: float, border: str) -> None:
    if not (np.isfinite(sigma) and sigma > 0):
        raise DataError(f"sigma is {sigma}; it must be greater than 0")
    if border not in BORDERS:
        raise DataError(f"border is {border!r}; it is one of {', '.join(BORDERS)}")


@lru_cache(maxsize=1024)
def _kernel_inside(length: int, sigma: float) -> Floats:
    """The part of the kernel that lies inside the video, at each of its segments."""
    inside = _convolve(np.ones(length), _kernel(length, sigma))
    inside.flags.writeable = False
    return inside


@lru_cache(maxsize=1024)
def _kernel(length: int, sigma: float) -> Floats:
    size = min(int(6 * sigma) + 1, length)
    size = max(3, size + (size % 2 == 0))
    x = np.linspace(-(size // 2), size // 2, size)
    kernel = np.exp(-(x**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    kernel.flags.writeable = False
    return kernel


def _convolve(values: Floats, kernel: Floats) -> Floats:
    """As np.convolve(mode="same"), but as long as `values` also where the kernel is longer."""
    extra = (len(kernel) - 1) // 2
    return np.convolve(values, kernel)[extra : extra + len(values)]


def calibrate(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    *,
    weights: Sequence[ArrayLike] | None = None,
    sigmas: Sequence[float] = SIGMAS,
    thresholds: Sequence[float] | None = None,
    border: str = "renormalise",
    segments: Sequence[ArrayLike] | None = None,
    causal: bool = False,
) -> Calibration:
    """The (sigma, tau) of largest F1 on annotated videos; of equals the first in grid order.

    scores: one array [T] a video. labels: as many arrays; either [T] of 0 and 1, a score being one
    frame or unit (times `weights` [T], where given); or [T, 2], the negative and positive frames of
    each segment, which gives exactly the F1 over frames.

    For each sigma, the scores are dropped once into the bins between thresholds; cumulative counts
    then give the F1 of every threshold. thresholds None is exact: for each sigma, one threshold
    between every two neighbouring smoothed values and one below them all, so that F1 is never 0.
    segments: the frames [T, 2] of each score; smoothing restarts after a gap between them. causal:
    scores are smoothed by `smooth_causal`. Raises
    NothingFoundError where F1 is 0 for every given threshold, DataError for shapes that do not fit,
    an empty grid, or where no frame is positive: F1 says nothing.
    """
    values = [_checked(one) for one in scores]
    counts = _counts(values, labels, weights)
    negative, positive = (np.concatenate([one[:, side] for one in counts]) for side in (0, 1))
    weight = negative + positive
    if segments is not None:
        pairs = zip(values, segments, strict=True)
        values = [part for one, bounds in pairs for part in _parts(one, bounds)]
    grid = None if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if not len(sigmas) or (grid is not None and not (len(grid) and np.isfinite(grid).all())):
        raise DataError("the grid of sigmas and thresholds is empty or holds NaN")
    total = positive.sum()
    if total <= 0:
        raise DataError("no frame of the validation videos is anomalous: nothing to calibrate on")
    best: Calibration | None = None
    for sigma in sigmas:
        smoothed = np.concatenate([_smoother(causal)(one, sigma, border) for one in values])
        taus = _every_threshold(smoothed) if grid is None else grid
        ascending = np.sort(taus)
        rank = np.searchsorted(ascending, taus)
        bins = np.searchsorted(ascending, smoothed)  # how many thresholds p exceeds
        hits = _sums_above(bins, positive, len(taus))[rank]
        marked = _sums_above(bins, weight, len(taus))[rank]
        f1 = 2 * hits / (marked + total)  # 2 TP / (predicted + annotated positives)
        at = int(np.argmax(f1))
        if best is None or f1[at] > best.f1:
            best = Calibration(float(sigma), float(taus[at]), float(f1[at]))
    if best is None or best.f1 <= 0:
        raise NothingFoundError(
            "no threshold of the grid finds an anomalous frame: F1 is 0 throughout; widen the grid"
        )
    return best


def _every_threshold(smoothed: Floats) -> Floats:
    """The middle between neighbouring scores, and one threshold below all, in ascending order.

    Scores closer than ROUNDING count as equal: another machine rounds them otherwise.
    """
    distinct = np.unique(smoothed)
    apart = np.flatnonzero(np.diff(distinct) > ROUNDING)
    return np.append(distinct[0] - ROUNDING, (distinct[apart] + distinct[apart + 1]) / 2)


def _parts(values: Floats, segments: ArrayLike) -> list[Floats]:
    """The scores [T] cut where a segment of [T, 2] does not start at the end of the one before."""
    bounds = np.asarray(segments, dtype=np.int64)
    if bounds.shape != (len(values), 2):
        raise DataError(f"{len(values)} scores, but segments of shape {bounds.shape}")
    return np.split(values, np.flatnonzero(bounds[1:, 0] != bounds[:-1, 1]) + 1)


def _smoother(causal: bool) -> Callable[[ArrayLike, float, str], Floats]:
    return smooth_causal if causal else smooth


def shortest_event(
    sigma: float, tau: float, border: str = "renormalise", causal: bool = False
) -> int | None:
    """The shortest run of certain segments (1 among zeros, far from both ends) that is found.

    None where no run is: tau is 1 or more.
    """
    around = int(6 * sigma) + 3  # more than the kernel has taps
    for run in range(1, around + 1):
        scores = np.zeros(2 * around + run)
        scores[around : around + run] = 1
        if _smoother(causal)(scores, sigma, border).max() > tau and tau < 1:
            return run
    return None


@dataclass(frozen=True)
class Locator:
    """From scores to events; the content of `<results>/locator/{method}.json`.

    sigma counts segments. passes: how often scores are smoothed before they are compared with
    annotations; events come from one pass. tail: `drop` leaves a last segment that is shorter than
    the first one out of everything (its smoothed score is 0). how says where sigma and tau come
    from; f1 is that of the validation videos, None where it was not calibrated. budget: the
    thresholds of cameras where they follow from a budget of alarms; tau is then the pooled one.
    causal: scores are smoothed by their past alone.
    """

    sigma: float
    tau: float
    border: str = "renormalise"
    calibrated: bool = False
    f1: float | None = None
    how: str = ""
    passes: int = 1
    tail: str = "keep"
    budget: Thresholds | None = None
    causal: bool = False

    def __post_init__(self) -> None:
        _check_smoothing(self.sigma, self.border)
        if not np.isfinite(self.tau):
            raise DataError(f"tau is {self.tau}; it must be a number")
        if isinstance(self.passes, bool) or not isinstance(self.passes, int) or self.passes < 1:
            raise DataError(f"passes is {self.passes!r}; it must be a whole number from 1")
        if self.tail not in TAILS:
            raise DataError(f"tail is {self.tail!r}; it is one of {', '.join(TAILS)}")

    def smooth(self, scores: ArrayLike, segments: ArrayLike | None = None) -> Floats:
        """One video's scores [T] smoothed once; restarts after each gap between segments [T, 2]."""
        values = _checked(scores)
        if segments is None:
            return _smoother(self.causal)(values, self.sigma, self.border)
        count = self.judged(segments)
        parts = _parts(values[:count], np.asarray(segments)[:count])
        smoothed = [_smoother(self.causal)(part, self.sigma, self.border) for part in parts]
        return np.concatenate([*smoothed, np.zeros(len(values) - count)])

    def judged(self, segments: ArrayLike) -> int:
        """How many of one video's segments [T, 2] count: T, or T - 1 without a dropped tail."""
        lengths = np.diff(np.asarray(segments, dtype=np.int64).reshape(-1, 2))[:, 0]
        has_tail = len(lengths) > 1 and lengths[-1] < lengths[0]
        return len(lengths) - int(self.tail == "drop" and has_tail)

    def measured(self, smoothed: ArrayLike, segments: ArrayLike) -> Floats:
        """From scores smoothed once [T] to those that are compared with annotations [judged]."""
        count = self.judged(segments)
        values, bounds = _checked(smoothed)[:count], np.asarray(segments)[:count]
        for _ in range(self.passes - 1):
            values = self.smooth(values, bounds)
        return values

    def taus(self, count: int, camera: str | None = None, hours: ArrayLike | None = None) -> Floats:
        """The threshold at each of `count` segments of a camera: [count].

        hours [count]: the hour of the day (UTC) of each; None where it is not known. A camera that
        the locator does not know has the pooled threshold.
        """
        if self.budget is None:
            return np.full(count, self.tau)
        return self.budget.of(camera).at(hours, count)

    def events(
        self,
        scores: ArrayLike,
        segments: ArrayLike,
        camera: str | None = None,
        hours: ArrayLike | None = None,
    ) -> list[Event]:
        """The events of one video from its scores [T], not yet smoothed, and segments [T, 2].

        camera and hours [T] are as in `taus`.
        """
        count = self.judged(segments)
        smoothed = self.smooth(scores, segments)
        taus = self.taus(len(smoothed), camera, hours)
        return events(smoothed[:count], taus[:count], np.asarray(segments)[:count])

    def to_json(self) -> dict[str, Any]:
        """What hhvad.localization.locator_file reads; keys that say nothing are left out."""
        data = asdict(self)
        if self.budget is None:
            del data["budget"]
        if not self.causal:
            del data["causal"]
        return data


def _sums_above(bins: NDArray[np.intp], weights: Floats, count: int) -> Floats:
    """The weight in the bins after the first, second, ..., `count`-th."""
    filled = np.bincount(bins, weights, minlength=count + 1)
    return np.asarray(filled[::-1].cumsum()[::-1][1:])


def _counts(
    values: list[Floats], labels: Sequence[ArrayLike], weights: Sequence[ArrayLike] | None
) -> list[Floats]:
    """Negative and positive frames of each score: one [T, 2] a video."""
    if not values or len(labels) != len(values):
        raise DataError(f"{len(values)} videos have scores and {len(labels)} have labels")
    if weights is not None and len(weights) != len(values):
        raise DataError(f"{len(values)} videos have scores and {len(weights)} have weights")
    counts = []
    for index, (score, label) in enumerate(zip(values, labels, strict=True)):
        y = np.asarray(label, dtype=np.float64)
        if y.ndim == 1 and np.isin(y, (0, 1)).all():
            y = np.stack([1 - y, y], axis=1)
            if weights is not None:
                y = y * np.asarray(weights[index], dtype=np.float64)[:, None]
        elif weights is not None or y.ndim != 2:
            raise DataError(f"video {index}: labels are not 0 and 1, one for each score")
        if y.shape != (len(score), 2) or not np.isfinite(y).all() or (y < 0).any():
            raise DataError(f"video {index}: {len(score)} scores, but labels of shape {y.shape}")
        counts.append(y)
    return counts


def events(smoothed: ArrayLike, tau: ArrayLike, segments: ArrayLike | None = None) -> list[Event]:
    """Runs of smoothed scores [T] above tau (a number, or [T]), in frames.

    segments [T, 2] are the frames [start, end) of each score, in order; without them a score is one
    frame. An event ends with a gap between segments.
    """
    values = _checked(smoothed)
    bounds = (
        np.stack([np.arange(len(values)), np.arange(1, len(values) + 1)], axis=1)
        if segments is None
        else np.asarray(segments, dtype=np.int64)
    )
    if bounds.shape != (len(values), 2):
        raise DataError(f"{len(values)} scores, but segments of shape {bounds.shape}")
    if (bounds[:, 1] <= bounds[:, 0]).any() or (bounds[1:, 0] < bounds[:-1, 1]).any():
        raise DataError("segments overlap, are empty or out of order")
    found: list[Event] = []
    taus = np.broadcast_to(np.asarray(tau, dtype=np.float64), values.shape).tolist()
    for (start, end), score, limit in zip(bounds.tolist(), values.tolist(), taus, strict=True):
        if score <= limit:
            continue
        if found and found[-1].end == start:
            found[-1] = Event(found[-1].start, end, max(found[-1].peak, score))
        else:
            found.append(Event(start, end, score))
    return found


def frame_counts(segments: ArrayLike, intervals: Sequence[tuple[int, int]]) -> Floats:
    """Negative and positive frames of each segment: [T, 2], from anomalous frames [start, end).

    Frames that several intervals cover count once.
    """
    bounds = np.asarray(segments, dtype=np.int64).reshape(-1, 2)
    positive = np.zeros(len(bounds))
    reached = 0
    for start, end in sorted(intervals):
        first = max(start, reached)
        positive += np.clip(
            np.minimum(bounds[:, 1], end) - np.maximum(bounds[:, 0], first), 0, None
        )
        reached = max(reached, end)
    return np.stack([bounds[:, 1] - bounds[:, 0] - positive, positive], axis=1)


def _checked(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"scores have shape {values.shape}; one number a segment is needed")
    if not np.isfinite(values).all():
        raise DataError(f"score {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
    return values
