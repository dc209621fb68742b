"""Thresholds from a budget of alarms: split conformal prediction on the maxima of windows.

A camera's reference footage is cut into n windows of equal length, and each window's highest
smoothed score is kept. With alpha = alarms_per_day * window / 86400, tau is the
ceil((n + 1)(1 - alpha))-th smallest of them. If the windows of tomorrow are exchangeable with
these, one of them exceeds tau with probability at most alpha, whatever the scores are like (Vovk
et al. 2005; Bates et al. 2023). docs/alarms.md says when they are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, inf
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hhvad.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pool = Literal["camera", "all", "shrink"]

DAY = 86400.0
_ROUNDING = 1e-9  # of sums of seconds and of (n + 1)(1 - alpha)


@dataclass(frozen=True)
class Budget:
    """How many alarms a day a person can look at, and how the threshold for it is found.

    window: seconds of footage; at most one alarm in it counts. drop_top: how many of a camera's
    largest maxima are left out, since they may be events. pool: whose windows a camera's threshold
    is taken from: its own, those of all cameras, or (shrink) all until its own are enough.
    by_hour: a threshold per hour of the day.
    """

    alarms_per_day: float
    window: float = 3600.0
    drop_top: int = 0
    pool: Pool = "shrink"
    by_hour: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.window) and self.window > 0):
            raise DataError(f"window is {self.window}; it is a number of seconds above 0")
        if not 0 < self.alpha < 1:
            raise DataError(
                f"alarms_per_day is {self.alarms_per_day}; with windows of {self.window:g} s it is "
                f"above 0 and below {DAY / self.window:g}, where every window may have an alarm"
            )
        if self.drop_top < 0:
            raise DataError(f"drop_top is {self.drop_top}; it is 0 or more")
        if self.pool not in ("camera", "all", "shrink"):
            raise DataError(f"pool is {self.pool!r}; it is camera, all or shrink")

    @property
    def alpha(self) -> float:
        """The share of ordinary windows that may have an alarm."""
        return self.alarms_per_day * self.window / DAY

    @property
    def fewest(self) -> int:
        """The fewest windows that a threshold for this budget can be taken from."""
        return ceil(1 / self.alpha - _ROUNDING) - 1


class Footage(NamedTuple):
    """One reference video of a camera, by segment.

    smoothed [T]: its scores. seconds [T]: how long each segment is shown, gaps left out. hours [T]:
    the hour of the day at each, 0 to 23; None where the wall clock is not known.
    """

    smoothed: Floats
    seconds: Floats
    hours: Ints | None = None


@dataclass(frozen=True)
class Threshold:
    """A camera's threshold, where it comes from, and what it means on the camera's reference.

    rule: `camera` (its own windows), `pooled` (those of all cameras), `reduced` (the largest
    maximum: the footage supports a larger budget only) or `fixed` (there is no whole window).
    windows, hours: the camera's whole windows and hours of footage, before drop_top. alarms: how
    many of the windows exceed the threshold. per_day: alarms a day on the reference, with the ends
    of its exact 95 % Poisson interval; None where there is no window. by_hour: the threshold of
    each hour of the day that has one of its own. note: what a person should know; '' for nothing.
    """

    tau: float
    rule: str
    windows: int = 0
    hours: float = 0.0
    alarms: int = 0
    per_day: tuple[float, float, float] | None = None
    by_hour: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def at(self, hours: ArrayLike | None, count: int) -> Floats:
        """The threshold at each of `count` segments, whose hours of the day are known or None."""
        taus = np.full(count, self.tau)
        if hours is not None and self.by_hour:
            given = np.asarray(hours, dtype=np.int64)
            if given.shape != (count,):
                raise DataError(f"{count} segments, but hours of shape {given.shape}")
            for hour, tau in self.by_hour.items():
                taus[given == int(hour)] = tau
        return taus

    def words(self) -> str:
        """One line for people."""
        text = f"tau {self.tau:.4g} ({self.rule}), {self.windows} windows, {self.hours:.1f} hours"
        if self.per_day is not None:
            rate, low, high = self.per_day
            text += f", expected alarms a day {rate:.2f} ({low:.2f} - {high:.2f})"
        if self.by_hour:
            text += f", {len(self.by_hour)} hours of the day have a threshold of their own"
        return text


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of all cameras; pooled is that of a camera without reference footage."""

    budget: Budget
    pooled: Threshold
    cameras: Mapping[str, Threshold]

    def of(self, camera: str | None) -> Threshold:
        """A camera's threshold, or the pooled one."""
        return self.cameras.get(camera or "", self.pooled)

    def knows(self, camera: str | None) -> bool:
        """Whether a camera has a threshold of its own."""
        return camera in self.cameras

    def unknown(self, camera: str) -> str:
        """What to say of a camera without a threshold of its own."""
        return (
            f"camera {camera} has no reference footage: it has the pooled threshold "
            f"{self.pooled.tau:.4g} of {', '.join(self.cameras) or 'no camera'}"
        )

    def lines(self) -> list[tuple[str, str]]:
        """(camera, threshold and note in words), the pooled one last."""
        rows = [*self.cameras.items(), ("any other camera", self.pooled)]
        return [(name, one.words() + (f"; {one.note}" if one.note else "")) for name, one in rows]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Thresholds:
        """The inverse of `to_json`. Raises KeyError, TypeError, AttributeError, DataError."""
        cameras = {name: _threshold(one) for name, one in data["cameras"].items()}
        return cls(Budget(**data["budget"]), _threshold(data["pooled"]), cameras)


def _threshold(data: Any) -> Threshold:
    rate = data["per_day"]
    found = Threshold(**data | {"per_day": None if rate is None else tuple(map(float, rate))})
    numbers = [found.tau, *found.by_hour.values()]
    if not all(isinstance(one, int | float) and np.isfinite(one) for one in numbers):
        raise TypeError(f"thresholds are {numbers}")
    return found


def window_maxima(videos: Sequence[Footage], window: float) -> tuple[Floats, float]:
    """The highest smoothed score of each whole window [n] of a camera's footage, and its seconds.

    The videos follow one another; a segment belongs to the window in which it starts. What is left
    after the last whole window is not used. Raises DataError where a window holds no segment.
    """
    if not videos:
        return np.empty(0), 0.0
    smoothed = np.concatenate([np.asarray(one.smoothed, dtype=np.float64) for one in videos])
    seconds = np.concatenate([np.asarray(one.seconds, dtype=np.float64) for one in videos])
    if smoothed.shape != seconds.shape or not np.isfinite(smoothed).all() or (seconds <= 0).any():
        raise DataError("reference footage needs one finite score and a time above 0 per segment")
    ends = np.cumsum(seconds)
    total = float(ends[-1]) if len(ends) else 0.0
    count = int(total / window + _ROUNDING)
    index = np.floor((ends - seconds) / window + _ROUNDING).astype(np.int64)
    inside = index < count
    maxima = np.full(count, -inf)
    np.maximum.at(maxima, index[inside], smoothed[inside])
    if np.isinf(maxima).any():
        raise DataError(
            f"a window of {window:g} s holds no segment (the longest takes {seconds.max():g} s); "
            "use a longer window"
        )
    return maxima, total


def quantile(maxima: ArrayLike, alpha: float) -> float | None:
    """The ceil((n + 1)(1 - alpha))-th smallest of n maxima; None where n is too small for alpha."""
    values = np.sort(np.asarray(maxima, dtype=np.float64))
    rank = ceil((len(values) + 1) * (1 - alpha) - _ROUNDING)
    return float(values[max(rank, 1) - 1]) if rank <= len(values) else None


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """The exact (Garwood) interval of the mean of a Poisson count."""
    from scipy.stats import chi2

    tail = (1 - level) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2


class _Windows(NamedTuple):
    """Windows of a camera or of all: maxima [n], hours of the day [n] (-1: not known), seconds.

    kept [n]: which of them a threshold is taken from, since drop_top leaves some out.
    """

    maxima: Floats
    hours: Ints
    kept: NDArray[np.bool_]
    seconds: float

    def at(self, hour: int) -> Floats:
        return np.asarray(self.maxima[self.kept & (self.hours == hour)])


def calibrate(
    reference: Mapping[str, Sequence[Footage]], budget: Budget, *, fixed: float
) -> Thresholds:
    """The thresholds of cameras from their reference videos, in the order of their recording.

    fixed: the threshold where there is not one whole window. Where the footage is too little for
    the budget, the largest maximum is taken, which keeps the budget that the footage supports, and
    the note says so. Raises DataError for scores that are not finite or a window without segment.
    """
    own = {camera: _cut(videos, budget) for camera, videos in sorted(reference.items())}
    together = _Windows(
        np.concatenate([one.maxima for one in own.values()] or [np.empty(0)]),
        np.concatenate([one.hours for one in own.values()] or [np.empty(0, np.int64)]),
        np.concatenate([one.kept for one in own.values()] or [np.empty(0, np.bool_)]),
        sum(one.seconds for one in own.values()),
    )
    pooled = _choose(together, together, budget, fixed, "all")
    cameras = {
        camera: _choose(windows, together, budget, fixed, budget.pool)
        for camera, windows in own.items()
    }
    return Thresholds(budget, pooled, cameras)


def _cut(videos: Sequence[Footage], budget: Budget) -> _Windows:
    """A camera's windows; with thresholds by hour, each lies in one hour of the day."""
    groups: dict[int, list[Footage]] = {}
    for one in videos:
        known = one.hours if budget.by_hour and one.hours is not None else None
        hours = np.full(len(one.smoothed), -1) if known is None else np.asarray(known)
        for hour in np.unique(hours).tolist():
            at = hours == hour
            groups.setdefault(hour, []).append(Footage(one.smoothed[at], one.seconds[at]))
    found = {hour: window_maxima(some, budget.window) for hour, some in sorted(groups.items())}
    maxima = np.concatenate([one for one, _ in found.values()] or [np.empty(0)])
    lengths = [len(one) for one, _ in found.values()]
    hours = np.repeat(np.array(list(found), dtype=np.int64), lengths)
    kept = np.ones(len(maxima), dtype=np.bool_)
    kept[np.argsort(-maxima, kind="stable")[: budget.drop_top]] = False
    return _Windows(maxima, hours, kept, sum(seconds for _, seconds in found.values()))


def _choose(
    own: _Windows, together: _Windows, budget: Budget, fixed: float, pool: Pool
) -> Threshold:
    """The threshold of a camera whose windows are `own`."""
    notes = []
    sources = {
        "camera": [("camera", own)],
        "all": [("pooled", together)],
        "shrink": [("camera", own), ("pooled", together)],
    }[pool]
    found: tuple[float, str] | None = None
    for rule, windows in sources:
        tau = quantile(windows.maxima[windows.kept], budget.alpha)
        if tau is not None:
            found = tau, rule
            break
        who = "all cameras together" if rule == "pooled" else "it"
        notes.append(_too_little(windows, budget, who))
    if found is None:
        last = sources[-1][1]
        kept = last.maxima[last.kept]
        if len(kept):
            found = float(kept.max()), "reduced"
            keeps = DAY / budget.window / (len(kept) + 1)
            notes.append(f"taken instead: the largest maximum, which keeps {keeps:.3g} a day")
        else:
            found = fixed, "fixed"
            notes.append(f"taken instead: the fixed threshold {fixed:g}, which keeps no budget")
    elif notes:
        notes.append("taken instead: the threshold of all cameras")
    tau, rule = found
    by_hour: dict[str, float] = {}
    if budget.by_hour:
        lacking = []
        for hour in sorted({*together.hours.tolist()} - {-1}):
            options = (quantile(windows.at(hour), budget.alpha) for _, windows in sources)
            first = next((one for one in options if one is not None), None)
            if first is None:
                lacking.append(f"{hour}")
            else:
                by_hour[f"{hour}"] = first
        if lacking or not by_hour:
            which = ", ".join(lacking) or "all"
            notes.append(
                f"hours of the day {which} (UTC) have fewer than {budget.fewest} windows: they "
                "have the threshold of all hours"
            )
    if budget.drop_top:
        notes.append(f"the {budget.drop_top} largest maxima of each camera were left out")
    taus = Threshold(tau, rule, by_hour=by_hour).at(own.hours, len(own.maxima))
    alarms = int((own.maxima > taus).sum())
    days = len(own.maxima) * budget.window / DAY
    per_day = None
    if days:
        low, high = poisson_interval(alarms)
        per_day = (alarms / days, low / days, high / days)
    return Threshold(
        tau=tau,
        rule=rule,
        windows=len(own.maxima),
        hours=own.seconds / 3600,
        alarms=alarms,
        per_day=per_day,
        by_hour=by_hour,
        note="; ".join(notes),
    )


def _too_little(windows: _Windows, budget: Budget, who: str) -> str:
    """How much footage is lacking, and what the footage that is there supports."""
    kept = int(windows.kept.sum())
    needed = (budget.fewest + budget.drop_top) * budget.window - windows.seconds
    supported = (
        f"supports {DAY / budget.window / (kept + 1):.3g} a day" if kept else "supports none"
    )
    return (
        f"{budget.alarms_per_day:g} alarms a day need {max(needed, 0) / 3600:.3g} more hours of "
        f"reference footage: {who} has {kept} windows of {budget.window:g} s, which {supported}"
    )
