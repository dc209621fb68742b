"""MSAD: CSV with `name,scenario,total frames,starting frame of anomaly,ending frame of anomaly`.

Abnormal videos only. Two test sets are in use, of 240 and of 360 videos: a list says which. The
frames are taken as [start, end), like those of other data sets; some code counts them from 1.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.datasets.annotation import (
    Annotation,
    Made,
    add_frame_counts,
    add_train_list,
    counted,
    pairs,
    read_list,
    unique,
    video_id,
    with_frames,
)
from hhvad.errors import AnnotationError
from hhvad.files import read_text

START, END = "starting frame of anomaly", "ending frame of anomaly"


class Msad:
    """Test videos are those of a list, since two test sets are in use."""

    help = "MSAD: the test set of 240 or of 360 videos, whichever --test-list names"
    annotations = "anomaly_annotation.csv"

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        parser.add_argument(
            "--test-list",
            metavar="TXT",
            required=True,
            help="test videos, normal and abnormal, one per line",
        )
        add_frame_counts(parser)
        add_train_list(parser, "training videos, one per line")
        parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="SHARE")

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Videos of the list for testing; the annotation holds those of training too."""
        names = read_list(arguments.test_list)
        given = read_list(arguments.train_list) if arguments.train_list else list(files)
        training = sorted(set(given) - set(names))
        return Made(read(arguments.annotations, names), read(arguments.annotations, training), [])

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The videos that have a frame count, which so says which test set is meant."""
        frames = counted(counts, "msad")
        return with_frames(read(path, frames), frames, str(counts))


def read(path: str | Path, names: Iterable[str]) -> list[Annotation]:
    """The annotations of these videos; those that the file does not hold are normal.

    Raises AnnotationError where a column is absent, a number is none, or a video that the file does
    not hold has no `normal` in its name.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    absent = [name for name in ("name", START, END) if name not in (reader.fieldnames or ())]
    if absent:
        raise AnnotationError(f"{path}: column {absent[0]!r} is absent; it is no MSAD annotation")
    events: dict[str, list[tuple[int, int]]] = {}
    for number, row in enumerate(reader, start=2):
        numbers = [(row[START] or "").strip(), (row[END] or "").strip()]
        video = video_id(row["name"] or "")
        events.setdefault(video, []).extend(pairs(f"{path}: line {number}", numbers))
    return unique(path, [_one(path, name, events.get(name)) for name in names])


def _one(path: str | Path, name: str, events: list[tuple[int, int]] | None) -> Annotation:
    if events:
        return Annotation(name, (name.rpartition("_")[0] or name,), tuple(sorted(events)))
    if "normal" not in name.lower():
        raise AnnotationError(
            f"{path}: video {name} is not in it, but its name does not say normal"
        )
    return Annotation(name)
