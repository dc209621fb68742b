"""The events of one camera, as its segments come: they open, go on and close. No files here.

The state is small and plain: the last scores, for smoothing; where the footage ended; the open
event. With it a restart goes on as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hhvad.files import digest
from hhvad.live.watch.folder import Clip
from hhvad.localization.locator import Locator, reach, smooth_causal

Change = dict[str, Any]  # a line of events.jsonl


@dataclass(frozen=True)
class Scored:
    """A segment: frames [start, end) of a recording, when it is shown in it, score, threshold.

    counts: False for a shorter last segment that the locator drops.
    """

    start: int
    end: int
    start_seconds: float
    end_seconds: float
    score: float
    tau: float
    counts: bool = True


@dataclass
class Life:
    """past: the last scores. ended: when the footage so far ended, None where not known. reached:
    the frame of the present recording up to which it is judged. event: the open one."""

    camera: str
    locator: Locator
    past: list[float] = field(default_factory=list)
    ended: datetime | None = None
    reached: int = 0
    event: Change | None = None

    def begin(self, started: datetime | None, tolerance: float) -> list[Change]:
        """A recording begins at a time; after more than `tolerance` seconds, all starts anew."""
        self.reached = 0
        if started is not None and self.ended is not None:
            between = (started - self.ended).total_seconds()
            if abs(between) <= tolerance:
                return []
        return self.cut()

    def feed(self, clip: Clip, segments: Sequence[Scored]) -> tuple[list[float], list[Change]]:
        """The smoothed scores of a recording's next segments [T], and what they change."""
        smoothed: list[float] = []
        changes: list[Change] = []
        opened: int | None = None  # which of the changes opens the present event
        grown = False
        for one in segments:
            if one.start != self.reached:
                changes += self.cut()
            self.reached = one.end
            value = self._smooth(one.score) if one.counts else 0.0
            smoothed.append(value)
            if not one.counts:
                continue
            if value <= one.tau:
                changes += self.close()
            elif self.event is None:
                opened = len(changes)
                changes.append(self._open(clip, one, value))
            else:
                self._extend(self.event, clip, one, value)
                grown = True
        if self.event is not None and opened is not None:
            changes[opened] = dict(self.event)  # told once, as it is by now
        elif self.event is not None and grown:
            changes.append({**self.event, "state": "update"})
        return smoothed, changes

    def end(self, frames: int, ended: datetime | None) -> list[Change]:
        """A recording of so many frames has ended, at a time; what it lacks is a gap."""
        whole = self.reached == frames
        self.ended = ended if whole else None
        return [] if whole else self.cut()

    def cut(self) -> list[Change]:
        """The footage is interrupted: forget the past, close the open event."""
        self.past = []
        return self.close()

    def close(self) -> list[Change]:
        """Close the open event, if there is one."""
        if self.event is None:
            return []
        closed = {**self.event, "state": "closed"}
        self.event = None
        return [closed]

    def to_json(self) -> dict[str, Any]:
        """The state, as `restore` takes it."""
        ended = None if self.ended is None else self.ended.isoformat()
        return {
            "past": list(self.past),
            "ended": ended,
            "reached": self.reached,
            "event": self.event,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state. Raises KeyError, TypeError or ValueError where it is none."""
        self.past = [float(one) for one in state["past"]]
        self.ended = None if state["ended"] is None else datetime.fromisoformat(state["ended"])
        self.reached = int(state["reached"])
        self.event = state["event"]

    def _smooth(self, score: float) -> float:
        locator = self.locator
        value = smooth_causal([score], locator.sigma, locator.border, self.past)[0]
        self.past = [*self.past, score][-reach(locator.sigma) :]
        return float(value)

    def _open(self, clip: Clip, one: Scored, value: float) -> Change:
        started = _clock(clip, one.start_seconds)
        self.event = {
            "id": digest([self.camera, started or [clip.name, one.start_seconds]]),
            "camera": self.camera,
            "state": "open",
            "started_at": started,
            "ended_at": _clock(clip, one.end_seconds),
            "peak_score": value,
            "file": clip.name,
            "start_seconds": one.start_seconds,
            "end_file": clip.name,
            "end_seconds": one.end_seconds,
        }
        return dict(self.event)

    def _extend(self, event: Change, clip: Clip, one: Scored, value: float) -> None:
        self.event = {
            **event,
            "ended_at": _clock(clip, one.end_seconds),
            "peak_score": max(event["peak_score"], value),
            "end_file": clip.name,
            "end_seconds": one.end_seconds,
        }


def _clock(clip: Clip, seconds: float) -> str | None:
    """The wall clock so many seconds into a recording, in UTC to a ms; None: not known."""
    if clip.started is None:
        return None
    return (clip.started + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
