"""How far a run is: jobs and videos done, and the time that the rest will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

JUDGED = "localize_events"  # the rule that ends a video, once per method


@dataclass
class Progress:
    """Counts of a run's jobs by rule. All times are in seconds, on one clock.

    `planned` holds the number of jobs by rule. Snakemake counts its own target rule as a job.
    """

    planned: Mapping[str, int]
    started: float
    done: int = 0
    total: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    _seconds: dict[str, float] = field(default_factory=dict)  # spent in finished jobs, by rule

    def finish(self, rule: str, seconds: float) -> None:
        """Count a finished job of a rule that took so long."""
        self.finished[rule] += 1
        self._seconds[rule] = self._seconds.get(rule, 0.0) + seconds

    def left(self, now: float) -> float | None:
        """Seconds until the end, or None before the first job has finished.

        A rule's open jobs are taken to last as long as its finished ones did on average, a rule of
        which none has finished as long as all did; as many jobs at a time as until now.
        """
        spent = sum(self._seconds.values())
        if not spent:
            return None
        mean = spent / self.finished.total()
        work = 0.0
        for rule, count in self.planned.items():
            known = self.finished[rule]
            each = self._seconds[rule] / known if known else mean
            work += max(count - known, 0) * each
        return (now - self.started) * work / spent

    def line(self, now: float) -> str:
        """Jobs, videos and the time left in a few words."""
        parts = [f"{self.done} of {self.total} jobs"]
        if videos := self.planned.get(JUDGED):
            parts.append(f"{min(self.finished[JUDGED], videos)} of {videos} videos judged")
        if self.done >= self.total:
            parts.append(f"in {duration(now - self.started)}")
        elif (left := self.left(now)) is not None:
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)

    def bar(self, now: float, width: int) -> str:
        """The same behind a bar, in at most `width` characters."""
        filled = int(20 * self.done / self.total) if self.total else 0
        return f"[{'#' * filled:-<20}] {self.line(now)}"[:width]


def duration(seconds: float) -> str:
    """A time in its largest fitting unit: 45 s, 12 min, 3 h 20 min, 2 days 4 h."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{round(seconds)} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days {minutes % 1440 // 60} h"
