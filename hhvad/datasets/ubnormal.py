"""UBnormal: name lists, and `VIDEO_tracks.txt` with `object,start,end` for each abnormal object.

Frames are 0-based and both ends belong to the track; the anomaly is the union of the tracks.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.datasets.annotation import (
    Annotation,
    Made,
    add_frame_counts,
    counted,
    read_list,
    unique,
    with_frames,
)
from hhvad.errors import AnnotationError, ConfigError
from hhvad.files import read_text

ENDING = "_tracks.txt"


class Ubnormal:
    """Synthetic scenes; abnormal videos are in all three splits."""

    help = "UBnormal: synthetic scenes, with anomalies in all splits"
    annotations = "folder with the *_tracks.txt, at any depth"

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        for split, required in (("test", True), ("train", False)):
            parser.add_argument(
                f"--{split}-list",
                nargs="+",
                metavar="TXT",
                required=required,
                help=f"names of {split} videos, normal and abnormal",
            )
        add_frame_counts(parser)
        parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="SHARE")

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Both splits from their lists; the events of training videos are known."""
        test, training = (
            read(arguments.annotations, [name for path in paths or () for name in read_list(path)])
            for paths in (arguments.test_list, arguments.train_list)
        )
        return Made(test, training, [])

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The videos that have a frame count."""
        frames = counted(counts, "ubnormal")
        return with_frames(read(path, frames), frames, str(counts))


def read(folder: str | Path, names: Iterable[str]) -> list[Annotation]:
    """The annotations of these videos. Their names begin with normal_ or abnormal_.

    Raises ConfigError where there is no such folder, AnnotationError that names a video or line.
    """
    if not Path(folder).is_dir():
        raise ConfigError(f"--annotations: {folder} is not a folder with UBnormal's *{ENDING}")
    tracks = {
        path.name.removesuffix(ENDING): path for path in sorted(Path(folder).rglob(f"*{ENDING}"))
    }
    return unique(folder, [_one(folder, name, tracks.get(name)) for name in names])


def _one(folder: str | Path, name: str, tracks: Path | None) -> Annotation:
    if name.startswith("normal"):
        return Annotation(name)
    if tracks is None:
        raise AnnotationError(f"{folder}: video {name} has no {name}{ENDING} in it")
    spans = []
    for number, line in enumerate(read_text(tracks).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            _, start, end = (float(field) for field in line.split(","))
        except ValueError as error:
            raise AnnotationError(
                f"{tracks}: line {number}: {line!r} is not object,start,end"
            ) from error
        if not (start.is_integer() and end.is_integer() and 0 <= start <= end):
            raise AnnotationError(f"{tracks}: line {number}: {line!r} holds no frames start,end")
        spans.append((int(start), int(end) + 1))
    if not spans:
        raise AnnotationError(f"{tracks}: it holds no track")
    return Annotation(name, ("anomaly",), union(spans))


def union(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorted [start, end) that do not touch, and cover what the spans cover."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
