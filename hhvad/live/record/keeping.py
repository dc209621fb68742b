"""Which recordings are deleted, so that they stay within days and bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hhvad.clock import start_in_name
from hhvad.live.watch.folder import NAMES

DAY = 86400.0
GIGABYTE = 10**9

Spans = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Recording:
    """A finished file: seconds since 1970 of its first frame and of its end, and its size."""

    path: Path
    camera: str
    start: float
    end: float
    bytes: int


def recordings(root: Path) -> list[Recording]:
    """The files of the recorder below a folder, the oldest first; no other file is ever deleted."""
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for path in folder.iterdir():
            told = start_in_name(path.name, NAMES)
            if told is None or path.suffix not in (".mp4", ".mkv"):
                continue
            if not path.name.startswith(f"{folder.name}_"):
                continue
            with suppress(FileNotFoundError):
                status = path.stat()
                start = datetime.fromisoformat(told).timestamp()
                end = max(start, status.st_mtime)
                found.append(Recording(path, folder.name, start, end, status.st_size))
    return sorted(found, key=lambda one: (one.start, one.camera))


def events(path: Path) -> Spans:
    """The times of a watch's events by camera, from its events.jsonl; other lines are none.

    Of the changes of one event, the last tells its end.
    """
    known: dict[str, tuple[str, float, float]] = {}
    for line in _lines(path):
        with suppress(ValueError, KeyError, TypeError):
            one = json.loads(line)
            times = (datetime.fromisoformat(one[key]) for key in ("started_at", "ended_at"))
            start, end = (time.timestamp() for time in times)
            known[one["id"]] = one["camera"], start, end
    spans: Spans = {}
    for camera, start, end in known.values():
        spans.setdefault(camera, []).append((start, end))
    return spans


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except FileNotFoundError:
        return


def surplus(
    found: list[Recording],
    *,
    now: float,
    days: float | None,
    gigabytes: float | None,
    protected: Spans,
) -> list[Recording]:
    """The recordings to delete, the oldest first: those older than `days`, then as many as do not
    fit into `gigabytes`. Those in which an event lies stay, whatever their age and size."""

    def is_kept(one: Recording) -> bool:
        spans = protected.get(one.camera, [])
        return any(one.start <= end and start <= one.end for start, end in spans)

    free = [one for one in found if not is_kept(one)]
    gone = [one for one in free if days is not None and now - one.end > days * DAY]
    if gigabytes is not None:
        total = sum(one.bytes for one in found) - sum(one.bytes for one in gone)
        for one in [one for one in free if one not in gone]:
            if total <= gigabytes * GIGABYTE:
                break
            gone.append(one)
            total -= one.bytes
    return gone
