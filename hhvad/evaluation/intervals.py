"""95 % intervals over videos for metrics, and for the difference of two methods.

`choose` picks one of KINDS for each metric, mostly the jackknife on the logit scale with Student's
t; a paired difference is MOVER's (Zou and Donner, Statistics in Medicine 27, 2008). The percentile
bootstrap alone covers too little where videos are few; benchmarks/intervals.py measures coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import beta
from scipy.stats import t as student

Floats = NDArray[np.float64]

MOST_GROUPS = 200
FEW_VIDEOS = 30
# The share of the jackknife's variance from which a metric hangs on one video. With 0.8, AUC of 15
# videos covered 0.912 in the hardest case of benchmarks/intervals.py; with 0.5, 0.877.
MOST_OF_VARIANCE = 0.9

KINDS = {
    "jackknife": "one video (of more than 200: one of 200 groups) is left out at a time, on the "
    "logit scale, with Student's t of one degree of freedom less than the rarer class has videos",
    "edge": "the value is exactly 0 or 1: that end, and the farther one of the bootstrap's other "
    "end and Clopper and Pearson's for as many videos as the rarer class has",
    "near-edge": "the value is 0 or 1 when some video is left out, or one video alone makes more "
    f"than {MOST_OF_VARIANCE:g} of the jackknife's variance and its interval is the wider one: "
    "what the value lacks hangs on that video. The farther ends of the bootstrap's interval and of "
    "Clopper and Pearson's for one such video among as many as the rarer class has, moved to the "
    "value on the logit scale",
    "bootstrap": "the middle 95 % of resamples of the videos: the metric is not a share, or it is "
    "undefined when some video is left out",
    "none": "no interval: the value is undefined, a class that the metric needs has fewer than two "
    "videos, nothing varies between the videos, or a bootstrap is needed and was not made",
}

RESAMPLED = ("edge", "near-edge", "bootstrap")  # the kinds that the bootstrap has a part in


class Interval(NamedTuple):
    """The ends of an interval, None where there is none, and its kind: one of KINDS."""

    low: float | None
    high: float | None
    kind: str


NO_INTERVAL = Interval(None, None, "none")


def choose(
    value: float,
    without: Floats,
    drawn: tuple[float, float],
    *,
    fewest: int,
    share: bool = True,
    level: float = 0.95,
) -> Interval:
    """The interval of a metric by the rules of KINDS, never one without width.

    without: its leave-out values [G]. drawn: the bootstrap's interval, NaN where there is none.
    fewest: the videos of the rarer class that the metric needs; one less are the degrees of freedom
    of the jackknife. share: whether it lies in [0, 1] by its nature.
    """
    if not math.isfinite(value) or fewest < 2:
        return NO_INTERVAL
    if share and value in (0, 1):
        return Interval(*edge(value, drawn[0] if value else drawn[1], fewest, level), "edge")
    found = jackknife(value, without, fewest - 1, level) if share else None
    side = hangs_on_one(without) if share else None
    if side is not None:
        ends = farther(near_edge(value, side, fewest, level), drawn)
        narrower = found and not np.isnan(drawn).any() and ends[1] - ends[0] < found[1] - found[0]
        if found is None or narrower:
            return Interval(*ends, "near-edge")
    if found is not None:
        return Interval(*found, "jackknife")
    low, high = drawn
    return Interval(low, high, "bootstrap") if high > low else NO_INTERVAL


def leave_out(
    statistics: Callable[[Floats], Mapping[str, float]], videos: int, most: int = MOST_GROUPS
) -> dict[str, Floats]:
    """Each metric without one video, or, of more than `most` videos, without every most-th."""
    groups = min(videos, most)
    member = np.arange(videos) % groups
    rows = [statistics((member != group).astype(np.float64)) for group in range(groups)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def jackknife(
    value: float, without: Floats, degrees: int, level: float = 0.95
) -> tuple[float, float] | None:
    """The interval of a metric in (0, 1) from its leave-out values [G].

    None where it does not exist: the metric or a leave-out value is 0, 1 or undefined, nothing
    varies, or there is no degree of freedom.
    """
    inside = np.isfinite(without) & (without > 0) & (without < 1)
    if not (0 < value < 1) or not inside.all() or degrees < 1 or len(without) < 2:
        return None
    moved = logit(without)
    groups = len(moved)
    error = math.sqrt((groups - 1) / groups * float(((moved - moved.mean()) ** 2).sum()))
    if error <= 1e-12:
        return None
    reach = float(student.ppf((1 + level) / 2, degrees)) * error
    centre = float(logit(value))
    return float(expit(centre - reach)), float(expit(centre + reach))


def hangs_on_one(without: Floats) -> int | None:
    """The end, 0 or 1, that a metric comes to, or nearer to, without the one video it hangs on.

    That video makes it 0 or 1 when it is left out, or more than MOST_OF_VARIANCE of the jackknife's
    variance. None where there is none. without: the leave-out values [G].
    """
    if not np.isfinite(without).all() or np.ptp(without) == 0:
        return None
    if np.isin(without, (0, 1)).any():
        return int((without == 1).any())
    squares = (logit(without) - logit(without).mean()) ** 2
    most = int(squares.argmax())
    if squares[most] <= MOST_OF_VARIANCE * squares.sum():
        return None
    return int(without[most] > without.mean())


def edge(value: float, other: float, videos: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a metric of exactly 0 or 1: that end, and another that is never the same.

    other: the bootstrap's other end, or NaN. The end given is the farther one of it and Clopper
    and Pearson's for as many successes as videos.
    """
    exact = float(((1 - level) / 2) ** (1 / max(videos, 1)))
    if value == 1:
        return float(np.fmin(other, exact)), 1.0
    return 0.0, float(np.fmax(other, 1 - exact))


def near_edge(value: float, side: int, videos: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a metric in (0, 1) that one video keeps from being `side`, 0 or 1.

    Clopper and Pearson's interval of 1 among `videos`, as odds ratios to 1 / videos: by these the
    odds of what the metric lacks are multiplied.
    """
    low = 1 - ((1 + level) / 2) ** (1 / videos)
    high = float(beta.ppf((1 + level) / 2, 2, videos - 1))
    less, more = logit(low) - logit(1 / videos), logit(high) - logit(1 / videos)
    centre = logit(value)
    if side == 1:
        return float(expit(centre - more)), float(expit(centre - less))
    return float(expit(centre + less)), float(expit(centre + more))


def farther(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The lower of two low ends and the higher of two high ends; NaN counts as none."""
    return float(np.fmin(one[0], other[0])), float(np.fmax(one[1], other[1]))


def paired_difference(
    a: float,
    b: float,
    interval_a: tuple[float, float],
    interval_b: tuple[float, float],
    without_a: Floats,
    without_b: Floats,
) -> tuple[float, float] | None:
    """MOVER's interval of a - b, from leave-out values in one order of the videos [G].

    None where both metrics are equal, with all videos and without each: the videos do not tell the
    two methods apart, and an interval of no width would claim that none ever will.
    """
    if math.isclose(a, b, abs_tol=1e-12) and np.allclose(without_a, without_b, rtol=0, atol=1e-12):
        return None
    (low_a, high_a), (low_b, high_b) = interval_a, interval_b
    still = np.ptp(without_a) == 0 or np.ptp(without_b) == 0
    r = 0.0 if still else float(np.corrcoef(without_a, without_b)[0, 1])

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * r * one * other + other**2))

    return a - b - reach(a - low_a, high_b - b), a - b + reach(high_a - a, b - low_b)
