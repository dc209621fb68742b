"""The sample sheet: one row per video. Tab-separated, with a header.

| column | content |
|---|---|
| video | unique id: letters, digits and `. _ = # -`, starting with a letter or digit |
| path | the video file, relative to the working directory or absolute |
| split | calibration, validation, test or reference (ordinary footage, for a budget of alarms) |
| label | normal, anomaly, or empty: unlabelled (test, scored but not in the metrics; reference) |
| category | free text, for the metrics per category |
| events | `start-end;start-end`: anomalous frames [start, end), or seconds as `1.5s-3s` |
| camera | optional: which camera it is of, an id like that of a video |

A normal video has no events. An anomalous one without events is labelled for the whole video only:
enough for calibration, not for validation, nor for the frame metrics of the test split.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hhvad.errors import ArtifactError, SheetError
from hhvad.files import parse_tsv, read_text, write_text
from hhvad.records import LABELS, ONE_CAMERA, SPLITS, Interval, Video

if TYPE_CHECKING:  # a light start imports no numpy
    from hhvad.artifacts.probe import Probe

COLUMNS = ("video", "path", "split", "label", "category", "events")
OPTIONAL = ("camera",)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=#-]*")
_EVENT = re.compile(r"(\d+(?:\.\d+)?)(s?)-(\d+(?:\.\d+)?)(s?)")


def read(path: str | Path) -> list[Video]:
    """All rows of a sample sheet, in its order.

    Raises SheetError that names the file, the video, the column and the value.
    """
    try:
        text = read_text(path)
    except ArtifactError as error:
        raise SheetError(str(error)) from error
    videos = _rows(path, text)
    if not videos:
        raise SheetError(f"{path}: the sheet has no videos; add a row for each")
    return videos


def read_rows(path: str | Path) -> list[Video]:
    """As read, of a sheet that may be absent, empty or a header alone."""
    text = read_text(path) if Path(path).exists() else ""
    return _rows(path, text) if text.strip() else []


def _rows(path: str | Path, text: str) -> list[Video]:
    try:
        rows = parse_tsv(path, _tidy(path, text), COLUMNS)
    except ArtifactError as error:
        raise SheetError(f"{error} (a sheet has the columns {' '.join(COLUMNS)})") from error
    videos = [_video(path, number, row) for number, row in enumerate(rows, start=2)]
    # Compared without case: two ids that differ in case are one file on some file systems.
    counts = Counter(v.video.lower() for v in videos)
    repeated = [v.video for v in videos if counts[v.video.lower()] > 1]
    if repeated:
        raise SheetError(f"{path}: video {repeated[-1]!r} is there more than once; ids are unique")
    return videos


def _tidy(path: str | Path, text: str) -> str:
    """The text without the empty columns that spreadsheets leave at the right.

    Raises SheetError where it is separated by something else than tabs.
    """
    lines = text.splitlines()
    header = lines[0] if lines else ""
    for separator, name in ((",", "commas"), (";", "semicolons")):
        if "\t" not in header and separator in header:
            raise SheetError(
                f"{path}: its columns are separated by {name}; save it as tab-separated text "
                "(in a spreadsheet: Text (Tab delimited), or CSV with a tab as the separator)"
            )
    empty = len(header) - len(header.rstrip("\t"))
    if not empty:
        return text
    cut = [line[: len(line) - empty] if line.endswith("\t" * empty) else line for line in lines]
    return "\n".join([*cut, ""])


def _video(path: str | Path, number: int, row: dict[str, str]) -> Video:
    where = f"{path}: line {number}"
    known = (*COLUMNS, *OPTIONAL)
    unknown = [name for name in row if name not in known]
    if unknown:
        raise SheetError(f"{where}: column {unknown[0]!r} is unknown; known: {' '.join(known)}")
    value = {name: row.get(name, "").strip() for name in known}
    value["label"] = value["label"].lower()
    name = value["video"]
    check_id(name, where)
    if value["camera"]:
        check_id(value["camera"], where, "camera")
    where = f"{where} (video {name})"
    check_path(value["path"], where)
    if value["split"] not in SPLITS:
        raise SheetError(f"{where}: split is {value['split']!r}; it is one of {', '.join(SPLITS)}")
    if value["label"] not in (*LABELS, ""):
        raise SheetError(f"{where}: label is {value['label']!r}; it is normal, anomaly or empty")
    label = value["label"] or None
    if value["split"] == "reference" and label == "anomaly":
        raise SheetError(
            f"{where}: label is anomaly, but reference footage is taken to be ordinary; leave the "
            "label empty, or move the video to another split"
        )
    if label is None and value["split"] not in ("test", "reference"):
        raise SheetError(f"{where}: label is empty; {value['split']} videos need normal or anomaly")
    if value["events"] and label != "anomaly":
        raise SheetError(
            f"{where}: events is {value['events']!r} but label is {value['label']!r}; "
            "set label to anomaly or remove the events"
        )
    events = parse_events(value["events"], where)
    annotated = label == "normal" or bool(events)
    return Video(
        video=name,
        path=value["path"],
        split=value["split"],
        label=label,
        category=value["category"],
        events=events if annotated else None,
        camera=value["camera"] or ONE_CAMERA,
    )


def check_id(name: str, where: str, what: str = "video") -> None:
    """Refuse an id that could not be a file name, a wildcard and a shell word at once."""
    if not ID.fullmatch(name) or len(name) > 200:
        suggestion = re.sub(r"[^A-Za-z0-9._=#-]+", "_", name).strip("._=#-")
        suggestion = suggestion[:200] or f"{what}-1"
        raise SheetError(
            f"{where}: {what} is {name!r}; an id has letters, digits and . _ = # - only, and "
            f"starts with a letter or digit: {suggestion!r} would do"
        )


def check_path(path: str, where: str) -> None:
    """Refuse a path that could not be a cell of the sheet and an input of Snakemake."""
    if not path:
        raise SheetError(f"{where}: path is empty; give the video file")
    if any(ord(char) < 32 for char in path) or len(path.splitlines()) > 1:
        raise SheetError(f"{where}: path {path!r} holds a control character; rename the file")
    if set("{}<>") & set(path):
        raise SheetError(
            f"{where}: path {path!r} holds one of {{ }} < >, which mean something to "
            "Snakemake; rename the file, or link to it"
        )


def path_cell(path: str, where: str) -> str:
    """A file's path as the sheet can hold it: a blank at its start would be taken away.

    Raises SheetError where no form of it reads back as the same file.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise SheetError(f"{where}: its name is not UTF-8; rename the file") from error
    cell = path if path == path.lstrip() else f"./{path}"
    if cell != cell.rstrip():
        raise SheetError(f"{where}: its name ends with a blank; rename the file")
    check_path(cell, where)
    return cell


def cells(video: Video) -> tuple[str | None, ...]:
    """A row as it is written, in the order of COLUMNS."""
    events = format_events(video.events)
    return video.video, video.path, video.split, video.label, video.category, events


def append(path: str | Path, videos: Sequence[Video]) -> None:
    """Add rows to a sheet, which may be absent or empty; its own lines and columns stay.

    Raises SheetError where the result could not be read.
    """
    text = read_text(path) if Path(path).exists() else ""
    if not text.strip():
        text = "\t".join(COLUMNS) + "\n"
    header = next(csv.reader([text.splitlines()[0]], delimiter="\t"))
    rows = [dict(zip(COLUMNS, cells(video), strict=True)) for video in videos]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerows([row.get(column) for column in header] for row in rows)
    text = (text if text.endswith("\n") else text + "\n") + buffer.getvalue()
    _rows(path, text)
    write_text(path, text)


def parse_events(text: str, where: str = "events") -> tuple[Interval, ...]:
    """`start-end;start-end` as intervals: frames, or seconds with an `s` behind each number.

    '' and `none` (for command lines, where an empty word gets lost) are no events.
    `where` opens the message of the SheetError that a malformed, empty or overlapping one raises.
    """
    events: list[Interval] = []
    if text.strip() == "none":
        return ()
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        match = _EVENT.fullmatch(part)
        if not match or match[2] != match[4]:
            raise SheetError(
                f"{where}: event {part!r} is not start-end in frames (1080-1560) "
                "or in seconds (36s-52s)"
            )
        unit = "seconds" if match[2] else "frames"
        if unit == "frames" and ("." in match[1] or "." in match[3]):
            raise SheetError(f"{where}: event {part!r}: frames are whole; for seconds add s")
        event = Interval(float(match[1]), float(match[3]), unit)
        if event.end <= event.start:
            raise SheetError(f"{where}: event {part!r} ends before it starts (end is exclusive)")
        if events and events[-1].unit != unit:
            raise SheetError(f"{where}: event {part!r}: frames and seconds are mixed in {text!r}")
        if events and event.start < events[-1].end:
            raise SheetError(f"{where}: event {part!r} overlaps or precedes the one before it")
        events.append(event)
    return tuple(events)


def format_events(events: Sequence[Interval] | None) -> str:
    """The inverse of parse_events; '' for None and for ()."""
    return ";".join(_format(event) for event in events or ())


def _format(event: Interval) -> str:
    if event.unit == "frames":
        return f"{int(event.start)}-{int(event.end)}"
    return f"{event.start:g}s-{event.end:g}s"


def event_frames(video: Video, probe: Probe) -> list[tuple[int, int]]:
    """The annotated events of a video in frames [start, end).

    Raises SheetError where one ends past the end of the video, or the video has no annotation.
    """
    if video.events is None:
        raise SheetError(f"video {video.video}: it has no frame annotation; fill its events column")
    n_frames, frames = probe.frames, [event.frames(probe) for event in video.events]
    for event, (start, end) in zip(video.events, frames, strict=True):
        if end > n_frames or end <= start:
            raise SheetError(
                f"video {video.video}: event {_format(event)} is frames {start}-{end}, "
                f"but the video has {n_frames} frames; correct its events in the sheet"
            )
    return frames
