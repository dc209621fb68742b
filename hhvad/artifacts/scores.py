"""Score files: which frames of a video have which score. Tab-separated, with a header.

| file | columns |
|---|---|
| of one video, by a method | segment, start_frame, end_frame, score |
| of one video, by localize-events | segment, start_frame, end_frame, score, smoothed, anomalous |
| of one video, by localize-alarms | the same, and tau |
| of many videos, by anybody | video, start_frame, end_frame, score |

Frames are 0-based and [start, end). Each frame has one score, a number from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts.ranges import Ranges, touches
from hhvad.errors import AnnotationError, ArtifactError
from hhvad.files import read_text, write_tsv

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Segments(NamedTuple):
    """The scored segments of a video: frames [start, end) as bounds [T, 2], and scores [T]."""

    bounds: Ints
    scores: Floats


def read_video(path: str | Path, columns: Sequence[str]) -> tuple[Ints, list[Floats]]:
    """The bounds [T, 2] and score columns [T] of one video's file.

    Raises ArtifactError where the file is absent, AnnotationError for a bad header, line or number.
    """
    start, end, *values = _columns(path, ("start_frame", "end_frame", *columns))
    bounds = np.stack([_whole(path, start), _whole(path, end)], axis=1)
    return bounds, [_numbers(path, column) for column in values]


def read_taus(path: str | Path) -> Floats | None:
    """The threshold [T] of each segment; None where the file has none. Raises as read_video."""
    if "tau" not in (read_text(path).splitlines() or [""])[0].split("\t"):
        return None
    return read_video(path, ("tau",))[1][0]


def read_many(path: str | Path) -> dict[str, Segments]:
    """The segments of each video in the file, in its order. Raises as read_video."""
    names, start, end, values = _columns(path, ("video", "start_frame", "end_frame", "score"))
    bounds = np.stack([_whole(path, start), _whole(path, end)], axis=1)
    scores = _numbers(path, values)
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    video = np.array([index[name] for name in names], dtype=np.int64)
    order = np.argsort(video, kind="stable")
    cuts = np.cumsum(np.bincount(video, minlength=len(index)))[:-1]
    return {
        name: Segments(bounds[rows], scores[rows])
        for name, rows in zip(index, np.split(order, cuts), strict=True)
    }


def _columns(path: str | Path, names: Sequence[str]) -> list[list[str]]:
    """Columns by name. Written for millions of lines: no dict a line."""
    header, *lines = read_text(path).splitlines() or [""]
    found = header.split("\t")
    absent = [name for name in names if name not in found]
    if absent:
        raise AnnotationError(f"{path}: column {absent[0]!r} is absent; the header has {found}")
    rows = [line.split("\t") for line in lines if line]
    bad = next((i for i, row in enumerate(rows, start=2) if len(row) != len(found)), None)
    if bad is not None:
        raise AnnotationError(f"{path}: line {bad} has not {len(found)} tab-separated columns")
    if not rows:
        raise AnnotationError(f"{path}: it holds no scores")
    return [[row[at] for row in rows] for at in map(found.index, names)]


def _whole(path: str | Path, column: list[str]) -> Ints:
    try:
        return np.array([int(text) for text in column], dtype=np.int64)
    except ValueError as error:
        raise AnnotationError(f"{path}: a frame number is not whole: {error}") from error


def _numbers(path: str | Path, column: list[str]) -> Floats:
    try:
        return np.array([float(text) for text in column], dtype=np.float64)
    except ValueError as error:
        raise AnnotationError(f"{path}: a score is not a number: {error}") from error


def gaps(bounds: Ints, n_frames: int) -> list[tuple[int, int]]:
    """The stretches [start, end) of a video's frames without a score; bounds [T, 2] in order."""
    edges = np.concatenate([[0], bounds.ravel(), [n_frames]]).reshape(-1, 2)
    return [(start, end) for start, end in edges.tolist() if start < end]


def check(
    where: str,
    segments: Segments,
    n_frames: int,
    *,
    allow_missing: bool = False,
    damaged: Ranges = (),
) -> tuple[Segments, dict[str, int]]:
    """The segments in order, each frame of the video scored once; and what was let pass, in frames.

    where: file and video, opens every message. Raises AnnotationError for a segment that is empty,
    negative or overlaps another, for a score outside [0, 1], and, unless allow_missing, for frames
    without a score or with NaN, and for segments past the end of the video. With allow_missing
    such frames are left out and counted. damaged: frames [start, end) that have no score; a stretch
    without one that touches them is let pass.
    """
    order = np.argsort(segments.bounds[:, 0], kind="stable")
    bounds, scores = segments.bounds[order], segments.scores[order]
    is_damaged = [touches(start, end, damaged) for start, end in bounds.tolist()]
    for what, rows in (
        ("is empty or negative", (bounds[:, 0] < 0) | (bounds[:, 1] <= bounds[:, 0])),
        ("overlaps the one before it", np.append(False, bounds[1:, 0] < bounds[:-1, 1])),
        ("has a score outside [0, 1]", (scores < 0) | (scores > 1)),
        ("scores damaged frames", np.array(is_damaged)),
    ):
        if rows.any():
            raise AnnotationError(f"{_name(where, bounds, scores, rows)} {what}; correct it")
    for what, rows in (
        ("is not finite", ~np.isfinite(scores)),
        (f"goes past the end of the video ({n_frames} frames)", bounds[:, 1] > n_frames),
    ):
        if rows.any() and not allow_missing:
            raise AnnotationError(
                f"{_name(where, bounds, scores, rows)} {what}; correct it, or leave such frames "
                "out with --allow-missing"
            )
    beyond = int(np.clip(bounds[:, 1] - np.maximum(bounds[:, 0], n_frames), 0, None).sum())
    bounds = np.minimum(bounds, n_frames)
    bad = ~np.isfinite(scores)
    kept = (bounds[:, 1] > bounds[:, 0]) & ~bad
    not_finite = int((bounds[bad, 1] - bounds[bad, 0]).sum())
    bounds, scores = bounds[kept], scores[kept]
    missing = n_frames - int((bounds[:, 1] - bounds[:, 0]).sum()) - not_finite
    unknown = [gap for gap in gaps(bounds, n_frames) if not touches(*gap, damaged)]
    if unknown and not allow_missing:
        count = sum(end - start for start, end in unknown)
        raise AnnotationError(
            f"{where}: {count} of {n_frames} frames have no score, the first is {unknown[0][0]}; "
            "score them, or leave them out with --allow-missing"
        )
    passed = {
        "frames without a score": missing,
        "frames whose score is not finite": not_finite,
        "scored frames past the end of their video": beyond,
    }
    return Segments(bounds, scores), {what: count for what, count in passed.items() if count}


def _name(where: str, bounds: Ints, scores: Floats, rows: NDArray[np.bool_]) -> str:
    first = int(np.argmax(rows))
    more = f" (and {rows.sum() - 1} more)" if rows.sum() > 1 else ""
    start, end = bounds[first].tolist()
    return f"{where}: segment {start}-{end} with score {scores[first]}{more}"


COLUMNS = ("segment", "start_frame", "end_frame", "score")


def write(path: str | Path, segments: Ints, scores: Floats) -> None:
    """Write the scores [T] of a video's segments [T, 2]: what every method ends in."""
    rows = zip(segments.tolist(), scores.tolist(), strict=True)
    write_tsv(
        path, COLUMNS, [(i, start, end, score) for i, ((start, end), score) in enumerate(rows)]
    )


def read(path: str | Path) -> Segments:
    """The scored segments of one video, each finite.

    Raises AnnotationError or ArtifactError, with the file's name.
    """
    bounds, (values,) = read_video(path, ("score",))
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ArtifactError(f"{path}: the score of segment {bad[0]} is not finite; rerun its step")
    return Segments(bounds, values)
