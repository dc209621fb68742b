"""What is described of a video: the clips of its events, its events, and the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

from hhvad.artifacts.ranges import touches
from hhvad.errors import ArtifactError
from hhvad.files import read_tsv, write_tsv

LEVELS = ("clip", "event", "video")
COLUMNS = (
    "level", "event", "part", "start_frame", "end_frame", "position", "dense", "frame", "second",
    "score",
)  # fmt: skip


class Unit(NamedTuple):
    """What is described at once, frames [start, end).

    event: its place among the described ones, -1 of the video; part: the clip's place in its event,
    -1 of other levels.
    """

    level: str
    event: int
    part: int
    start: int
    end: int

    @property
    def name(self) -> str:
        """`video`, `event 0`, `event 0 clip 1`."""
        names = {"clip": f"event {self.event} clip {self.part}", "event": f"event {self.event}"}
        return names.get(self.level, "video")


class Picked(NamedTuple):
    """A unit and the frames that stand for it, each with its place, time in seconds and score."""

    unit: Unit
    dense: list[int]  # among every 16th frame; -1 where frames are evenly spaced
    frames: list[int]
    seconds: list[float]
    scores: list[float]


def merged(
    events: Sequence[tuple[int, int]],
    seconds: Callable[[int], float],
    gap: float,
    damaged: Sequence[tuple[int, int]] = (),
) -> list[tuple[int, int]]:
    """Events as one where less than `gap` seconds lie between them; they are in order of time.

    Not over damaged frames.
    """
    found: list[tuple[int, int]] = []
    for start, end in events:
        is_near = bool(found) and seconds(start) - seconds(found[-1][1]) < gap
        if is_near and not touches(found[-1][1], start, damaged):
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def units(
    events: Sequence[tuple[int, int]],
    n_frames: int,
    seconds: Callable[[int], float],
    frame: Callable[[float], int],
    *,
    clip_seconds: float,
    margin_seconds: float,
) -> list[Unit]:
    """The clips of each event, the event with its margin, and last the video.

    An event is cut into the fewest equal clips of at most clip_seconds. seconds and frame turn one
    into the other.
    """
    found = []
    for number, (start, end) in enumerate(events):
        first, last = seconds(start), seconds(end)
        parts = min(max(1, ceil((last - first) / clip_seconds - 1e-9)), end - start)
        cuts = [start + (end - start) * part // parts for part in range(parts + 1)]
        found += [Unit("clip", number, part, cuts[part], cuts[part + 1]) for part in range(parts)]
        before = min(frame(max(0.0, first - margin_seconds)), start)
        after = min(max(frame(last + margin_seconds), end), n_frames)
        found.append(Unit("event", number, -1, before, after))
    return [*found, Unit("video", -1, -1, 0, n_frames)]


def write(path: str | Path, picked: Sequence[Picked]) -> None:
    """One row per frame of each unit."""
    write_tsv(
        path,
        COLUMNS,
        [
            (*one.unit, position, *values)
            for one in picked
            for position, values in enumerate(
                zip(one.dense, one.frames, one.seconds, one.scores, strict=True)
            )
        ],
    )


def read(path: str | Path) -> list[Picked]:
    """The inverse of `write`. Raises ArtifactError."""
    found: dict[Unit, Picked] = {}
    try:
        for row in read_tsv(path, COLUMNS):
            place = (int(row[name]) for name in ("event", "part", "start_frame", "end_frame"))
            unit = Unit(row["level"], *place)
            one = found.setdefault(unit, Picked(unit, [], [], [], []))
            one.dense.append(int(row["dense"]))
            one.frames.append(int(row["frame"]))
            one.seconds.append(float(row["second"]))
            one.scores.append(float(row["score"]))
    except ValueError as error:
        raise ArtifactError(f"{path}: not a table of focus ({error}); delete and rerun") from error
    if not found:
        raise ArtifactError(f"{path}: it holds no frames; delete it and rerun")
    return list(found.values())
