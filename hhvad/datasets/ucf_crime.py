"""UCF-Crime: `name[.mp4]  Class  s1  e1  s2  e2`, one line per test video, -1 for no event."""

from __future__ import annotations

import re
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

CLASSES = (
    *("Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting"),
    *("RoadAccidents", "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism"),
)
# Its folder of normal test videos.
TESTING = "Testing_Normal_Videos_Anomaly"


class UcfCrime:
    """290 test videos, 1610 for training."""

    help = "UCF-Crime: 290 test videos, 1610 for training"
    annotations = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt, either spelling of it"

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        add_frame_counts(parser)
        add_train_list(parser, "Anomaly_Train.txt")
        add_validation(parser)

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Test videos from the annotation; training videos from the list, or those found."""
        test = read(arguments.annotations)
        listed = read_list(arguments.train_list) if arguments.train_list else None
        return Made(test, *training(listed, files, [one.video for one in test]))

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The test videos with their numbers of frames."""
        frames = counted(counts, "ucf-crime")
        return with_frames(read(path), frames, str(counts))


def read(path: str | Path) -> list[Annotation]:
    """The test videos of UCF-Crime's temporal annotation, in its order.

    Raises AnnotationError that names file, line and content.
    """
    annotations = []
    for where, fields in lines(path):
        if len(fields) < 4 or len(fields) % 2:
            raise AnnotationError(f"{where}: expected `name Class s1 e1 s2 e2`, got {fields}")
        name, category, *numbers = fields
        events = pairs(where, [number for number in numbers if number != "-1"])
        if (category == "Normal") == bool(events):
            raise AnnotationError(f"{where}: class {category} with {len(events)} events")
        categories = () if category == "Normal" else (category,)
        annotations.append(Annotation(video_id(name), categories, events))
    return unique(path, annotations)


def training(
    names: Iterable[str] | None, files: Mapping[str, Sequence[Path]], test: Iterable[str]
) -> tuple[list[Annotation], list[str]]:
    """UCF-Crime's training videos: those of the list, or else those found that are not for testing.

    Also the names that are left out for not being of the dataset.
    """
    if names is None:
        names = [
            name
            for name, paths in files.items()
            if not any(TESTING in path.parts for path in paths)
        ]
    found, others = [], []
    for name in sorted(set(names) - set(test)):
        match = re.fullmatch(r"([A-Za-z]+?)(?:_Videos)?_?\d\S*", name)
        category = match[1] if match else ""
        if category in CLASSES:
            found.append(Annotation(name, (category,), None))
        elif category == "Normal":
            found.append(Annotation(name))
        else:
            others.append(name)
    return found, others
