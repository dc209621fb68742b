"""A person's marks on detected events, exported by the viewer, as rows of the sample sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hhvad.errors import AnnotationError
from hhvad.files import read_tsv
from hhvad.records import Interval, Video
from hhvad.sheet import format_events

COLUMNS = ("video", "method", "start_frame", "end_frame", "mark")
MARKS = ("true", "false", "unsure", "")  # '': the person has not decided


@dataclass(frozen=True)
class Mark:
    """The mark of one event: frames [start, end) of a video, as one method found them."""

    video: str
    method: str
    start: int
    end: int
    mark: str


@dataclass(frozen=True)
class Decision:
    """What the marks of one video mean for its row: the new row, or why it stays as it is."""

    before: Video
    after: Video | None
    reason: str = ""


def read(path: str | Path) -> list[Mark]:
    """The marks that the viewer exported. Raises AnnotationError, naming line, column, value."""
    marks = []
    for line, row in enumerate(read_tsv(path, COLUMNS), start=2):
        where = f"{path}: line {line}"
        mark = row["mark"].strip().lower()
        if mark not in MARKS:
            raise AnnotationError(f"{where}: mark is {mark!r}; it is true, false, unsure or empty")
        frames = row["start_frame"], row["end_frame"]
        if not all(text.isdecimal() for text in frames) or int(frames[0]) >= int(frames[1]):
            raise AnnotationError(
                f"{where}: start_frame and end_frame are {frames[0]!r} and {frames[1]!r}; "
                "they are whole numbers, the end after the start"
            )
        marks.append(Mark(row["video"], row["method"], int(frames[0]), int(frames[1]), mark))
    return marks


def decided(marks: Sequence[Mark], method: str) -> list[Mark]:
    """The marks of a method's events that say true or false."""
    return [one for one in marks if one.method == method and one.mark in ("true", "false")]


def decide(
    videos: Sequence[Video], marks: Sequence[Mark], split: str, *, replace_rows: bool = False
) -> list[Decision]:
    """What becomes of the row of every marked video, in the sheet's order.

    A video counts only once all its events are decided: those marked true become its events; if
    all are false, it is normal. Only unlabelled test rows change; other rows need replace_rows.
    Raises AnnotationError where a video is not in the sheet.
    """
    known = {video.video for video in videos}
    unknown = [one.video for one in marks if one.video not in known]
    if unknown:
        raise AnnotationError(
            f"video {unknown[0]!r} has marks but no row in the sheet; give the sheet of the study "
            "that was reviewed"
        )
    decisions = []
    for video in videos:
        own = [one for one in marks if one.video == video.video]
        if any(one.mark for one in own):
            decisions.append(_decide(video, own, split, replace_rows))
    return decisions


def _decide(video: Video, marks: Sequence[Mark], split: str, replace_rows: bool) -> Decision:
    open_marks = sum(one.mark in ("unsure", "") for one in marks)
    if open_marks:
        return Decision(video, None, f"{open_marks} of its {len(marks)} events are not decided")
    true = [one for one in marks if one.mark == "true"]
    for one in marks:
        clash = [o for o in true if one.mark == "false" and o.start < one.end and one.start < o.end]
        if clash:
            return Decision(
                video,
                None,
                f"frames {one.start}-{one.end} ({one.method}) are marked false, but frames "
                f"{clash[0].start}-{clash[0].end} ({clash[0].method}) true",
            )
    return change(video, [(one.start, one.end) for one in true], split, replace_rows)


def change(
    video: Video, events: Sequence[tuple[int, int]], split: str, replace_rows: bool = False
) -> Decision:
    """What becomes of a row whose video has these events [start, end), and no others."""
    label = "anomaly" if events else "normal"
    after = replace(video, split=split, label=label, events=_union(events))
    if after == video:
        return Decision(video, None, "it says so already")
    if (video.split != "test" or video.label is not None) and not replace_rows:
        return Decision(
            video,
            None,
            f"its row says {describe(video)} already; --replace sets {describe(after)}",
        )
    return Decision(video, after)


def _union(events: Sequence[tuple[int, int]]) -> tuple[Interval, ...]:
    """Events in order, those that touch or overlap joined."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(events):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return tuple(Interval(start, end) for start, end in spans)


def describe(video: Video) -> str:
    """Split, label and events of a row in words."""
    words = [video.split, video.label or "no label"]
    if video.events:
        words.append(f"events {format_events(video.events)}")
    return ", ".join(words)
