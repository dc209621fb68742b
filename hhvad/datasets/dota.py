"""DoTA: JSON, video -> anomaly_start, anomaly_end, num_frames. Every video holds an accident."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.datasets.annotation import Annotation, Made, unique, video_id
from hhvad.errors import AnnotationError, ArtifactError
from hhvad.files import read_json


class Dota:
    """Accidents seen from cars: there are no normal videos, only normal frames."""

    help = "DoTA: accidents seen from cars; every video is abnormal"
    annotations = "metadata_val.json"
    one_class = True

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        parser.add_argument(
            "--train-annotations", metavar="JSON", help="metadata_train.json, for validation"
        )
        parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="SHARE")

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Both splits from their metadata."""
        path = arguments.train_annotations
        return Made(read(arguments.annotations), read(path) if path else [], [])

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The annotated videos; their numbers of frames are in the file."""
        return read(path)


def read(path: str | Path) -> list[Annotation]:
    """The videos of a metadata file; frames [anomaly_start, anomaly_end).

    Raises AnnotationError that names the video.
    """
    try:
        content = read_json(path)
    except ArtifactError as error:
        raise AnnotationError(str(error)) from error
    annotations = []
    for name, entry in content.items() if isinstance(content, dict) else ():
        where = f"{path}: video {name}"
        try:
            start, end, n_frames = (
                int(entry[key]) for key in ("anomaly_start", "anomaly_end", "num_frames")
            )
            category = str(entry.get("anomaly_class", "accident"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{where}: anomaly_start, anomaly_end or num_frames is bad"
            ) from error
        if not 0 <= start < end or n_frames < 1:
            raise AnnotationError(f"{where}: anomaly {start}-{end} in {n_frames} frames")
        annotations.append(Annotation(video_id(name), (category,), ((start, end),), n_frames))
    if not annotations:
        raise AnnotationError(f"{path}: it is not metadata of DoTA: no videos")
    return unique(path, annotations)
