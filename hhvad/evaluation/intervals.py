"""95 % intervals over videos for metrics in [0, 1], and for the difference of two methods.

The jackknife on the logit scale with Student's t; a paired difference by MOVER (Zou and Donner,
Statistics in Medicine 27, 2008). Where leaving one video out says nothing, `edge` has the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t as student

Floats = NDArray[np.float64]

MOST_GROUPS = 200


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


def edge(value: float, low: float, videos: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a metric of exactly 0 or 1: that end, and another that is never the same.

    low: the bootstrap's other end. The end given is the wider of it and Clopper and Pearson's for
    as many successes as videos.
    """
    exact = ((1 - level) / 2) ** (1 / max(videos, 1))
    return (min(low, exact), 1.0) if value == 1 else (0.0, max(low, 1 - exact))


def paired_difference(
    a: float,
    b: float,
    interval_a: tuple[float, float],
    interval_b: tuple[float, float],
    without_a: Floats,
    without_b: Floats,
) -> tuple[float, float]:
    """MOVER's interval of a - b, from leave-out values in one order of the videos [G]."""
    (low_a, high_a), (low_b, high_b) = interval_a, interval_b
    still = np.ptp(without_a) == 0 or np.ptp(without_b) == 0
    r = 0.0 if still else float(np.corrcoef(without_a, without_b)[0, 1])

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * r * one * other + other**2))

    return a - b - reach(a - low_a, high_b - b), a - b + reach(high_a - a, b - low_b)
