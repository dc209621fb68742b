"""Your own videos in folders, as new rows of a sheet: for make-sheet folder and add-videos."""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hhvad import sheet
from hhvad.datasets.annotation import VIDEO_FILES
from hhvad.errors import SheetError, VideoError
from hhvad.records import LABELS, Video

_RECENT = 60.0  # a file that was changed since so many seconds may still be written
_LONGEST_ID = 150


@dataclass
class Found:
    """What is new in folders, and what became of the other files.

    known: how many have a row already, by whatever path or link.  growing: files that are still
    being written.  refused: one line per file that can have no row.  passed_over: how many files of
    each suffix that is no video's; "" for none.
    """

    rows: list[Video] = field(default_factory=list)
    known: int = 0
    growing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def new_rows(
    paths: Sequence[str | Path],
    there: Sequence[Video],
    *,
    labelled: bool = False,
    settle: float = 0.0,
    check: Callable[[Path], object] = lambda path: None,
) -> Found:
    """Rows for the videos in folders, at any depth, and for single files; `there` are the old ones.

    A file in a folder is taken for a video by its suffix; one that is named is taken as it is.
    labelled: videos under `normal/` and `anomaly/` of a folder are for calibration; all others are
    unlabelled test videos.  settle: seconds to wait, once, where files are fresh; those that change
    meanwhile are left for the next call.  check: raises VideoError for a file that is no video.
    Raises SheetError where a path does not exist.
    """
    found = Found()
    files = list(_files(paths, found.passed_over))
    seen = {_identity(Path(video.path)) for video in there}
    taken = {video.video.lower() for video in there}
    before = {path: _state(path) for path, _ in files}
    if settle and any(time.time() - changed < _RECENT for _, changed in before.values()):
        time.sleep(settle)
    for path, inside in files:
        name = printable(path)
        identity = _identity(path)
        if identity in seen:
            found.known += 1
            continue
        seen.add(identity)
        try:
            written = sheet.path_cell(str(path), name)
            if _state(path) == before[path]:
                check(path)
        except (SheetError, VideoError) as error:
            # What was read of a file that is still being written says nothing about it.
            if _state(path) == before[path]:
                found.refused.append(printable(str(error)))
                continue
        if _state(path) != before[path]:
            found.growing.append(name)
            continue
        label = inside.parts[0] if labelled and len(inside.parts) > 1 else None
        label = label if label in LABELS else None
        split = "calibration" if label else "test"
        found.rows.append(Video(new_id(inside, taken), written, split, label))
    return found


def new_id(path: Path, taken: set[str]) -> str:
    """An id that is not `taken`, to which it is added, in lower case.

    It is the path inside its folder without the suffix, with `-` between its parts and `_` for what
    no id may hold; letters lose their accents; where that is taken, a number follows.
    """
    text = unicodedata.normalize("NFKD", "-".join(path.with_suffix("").parts))
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"[^A-Za-z0-9._=#-]+", "_", text)
    text = re.sub(r"\.{2,}", ".", text)[-_LONGEST_ID:].strip("._=#-") or "video"
    name, number = text, 2
    while name.lower() in taken:
        name, number = f"{text}-{number}", number + 1
    taken.add(name.lower())
    return name


def printable(path: str | Path) -> str:
    """Text with a path, on one line: what is no UTF-8 or not printable as `\\xNN`."""
    text = str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _files(paths: Sequence[str | Path], passed_over: Counter[str]) -> Iterator[tuple[Path, Path]]:
    """Each video file, in order, and its path inside the folder that was given."""
    for given in map(Path, paths):
        if given.is_file():
            yield given, Path(given.name)
        elif given.is_dir():
            for path in sorted(given.rglob("*")):
                if not path.is_file():
                    continue
                if path.suffix.lower() in VIDEO_FILES and not path.name.startswith("."):
                    yield path, path.relative_to(given)
                else:
                    passed_over[printable(path.suffix.lower())] += 1
        else:
            raise SheetError(f"{printable(given)}: there is no such file or folder")


def _identity(path: Path) -> object:
    """What all paths and links to one file have in common."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return path.absolute()
    return status.st_dev, status.st_ino


def _state(path: Path) -> tuple[int, float]:
    """A file's size and when it was changed."""
    try:
        status = path.stat()
    except OSError:
        return -1, 0.0
    return status.st_size, status.st_mtime
