"""XD-Violence: `name[.mp4] s1 e1 s2 e2 ...`, abnormal test videos only."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.datasets.annotation import (
    Annotation,
    Made,
    add_frame_counts,
    add_train_list,
    add_validation,
    counted,
    lines,
    pairs,
    read_list,
    unique,
    video_id,
    with_frames,
)
from hhvad.errors import AnnotationError

CLASSES = {
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}


class XdViolence:
    """800 test videos, 3954 for training."""

    help = "XD-Violence: 800 test videos, 3954 for training"
    annotations = "annotations.txt"

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        add_frame_counts(parser)
        parser.add_argument(
            "--test-list",
            metavar="TXT",
            help="all test videos, one per line; without it, the 800 of the data set",
        )
        add_train_list(parser, "training videos, one per line")
        add_validation(parser)

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Test videos of a list or of the frame counts, since the annotation lacks normal ones."""
        if arguments.test_list:
            names = read_list(arguments.test_list)
        else:
            names = list(counted(arguments.frame_counts, "xd-violence"))
        test = read(arguments.annotations, names)
        listed = read_list(arguments.train_list) if arguments.train_list else None
        return Made(test, *training(listed, files, names))

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The test videos with their numbers of frames."""
        frames = counted(counts, "xd-violence")
        return with_frames(read(path, frames), frames, str(counts))


def read(path: str | Path, test: Iterable[str]) -> list[Annotation]:
    """All test videos of XD-Violence, in the order of `test`: normal ones are not in the file.

    Raises AnnotationError where the file, the list and the labels in the names disagree.
    """
    events = {video_id(fields[0]): pairs(where, fields[1:]) for where, fields in lines(path)}
    annotations = [Annotation(video, categories(video), events.pop(video, ())) for video in test]
    if events:
        raise AnnotationError(
            f"{path}: video {next(iter(events))} (of {len(events)}) is not among the test videos; "
            "give the whole list"
        )
    for one in annotations:
        if bool(one.categories) != bool(one.events):
            raise AnnotationError(
                f"{path}: video {one.video} has {len(one.events or ())} events, but its name says "
                f"{one.label}"
            )
    return unique(path, annotations)


def categories(video: str) -> tuple[str, ...]:
    """The classes behind `label_` in a name of XD-Violence; none for `A`, a normal video."""
    _, found, label = video.rpartition("_label_")
    codes = [code for code in label.split("-") if code != "0"]
    if not found or (codes != ["A"] and not (codes and set(codes) <= set(CLASSES))):
        raise AnnotationError(
            f"video {video}: its name does not end in `_label_` and classes of XD-Violence "
            f"(A, {', '.join(CLASSES)}, joined by -)"
        )
    return tuple(CLASSES[code] for code in codes if code != "A")


def training(
    names: Iterable[str] | None, files: Mapping[str, Sequence[Path]], test: Iterable[str]
) -> tuple[list[Annotation], list[str]]:
    """XD-Violence's training videos: those of the list, or else those found that are not tests."""
    found, others = [], []
    for name in sorted(set(files if names is None else names) - set(test)):
        if "_label_" not in name:
            others.append(name)
            continue
        classes = categories(name)
        found.append(Annotation(name, classes, None if classes else ()))
    return found, others
