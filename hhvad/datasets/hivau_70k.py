"""HIVAU-70k: JSON, video -> n_frames, fps, label (a list, empty: normal), events in seconds."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.datasets.annotation import Annotation, Made, unique, video_id
from hhvad.errors import AnnotationError, ArtifactError
from hhvad.files import read_json


class Hivau70k:
    """Its raw annotation as the test split."""

    help = "HIVAU-70k: its raw annotation as the test split"
    annotations = "JSON of the test videos"

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        parser.add_argument(
            "--train-annotations",
            metavar="JSON",
            help="of the training videos: calibration and validation are chosen from them",
        )
        parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="SHARE")

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Both splits from raw annotations."""
        path = arguments.train_annotations
        return Made(read(arguments.annotations), read(path) if path else [], [])

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The annotated videos; their numbers of frames are in the file."""
        return read(path)


def read(path: str | Path) -> list[Annotation]:
    """The videos of a HIVAU-70k raw annotation; seconds become frames by the file's own fps.

    Normal videos have events there too (of something ordinary): they do not count.
    """
    try:
        content = read_json(path)
    except ArtifactError as error:
        raise AnnotationError(str(error)) from error
    annotations = []
    for name, entry in content.items() if isinstance(content, dict) else ():
        where = f"{path}: video {name}"
        try:
            fps, n_frames, labels = float(entry["fps"]), int(entry["n_frames"]), entry["label"]
            seconds = [(float(start), float(end)) for start, end in entry["events"]]
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{where}: n_frames, fps, label or events is bad") from error
        labels = [labels] if isinstance(labels, str) else labels
        categories = tuple(label for label in labels if label.lower() != "normal")
        if not fps > 0 or (categories and not seconds):
            raise AnnotationError(f"{where}: label {labels}, {len(seconds)} events, {fps} fps")
        events = tuple((round(start * fps), round(end * fps)) for start, end in seconds)
        annotations.append(
            Annotation(video_id(name), categories, events if categories else (), n_frames, fps)
        )
    if not annotations:
        raise AnnotationError(f"{path}: it is not a raw annotation of HIVAU-70k: no videos")
    return unique(path, annotations)
