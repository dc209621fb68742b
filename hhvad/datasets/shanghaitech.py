"""ShanghaiTech: a folder with `VIDEO.npy` for each test video, 1 for each anomalous frame."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.datasets.annotation import Annotation, Made, read_list
from hhvad.errors import AnnotationError


class ShanghaiTech:
    """Training videos of the original split are normal; a list makes another split."""

    help = "ShanghaiTech: frame masks; --test-list makes another split than the original"
    annotations = "folder test_frame_mask"

    def add_arguments(self, parser: Any) -> None:
        """Its options of make-sheet."""
        parser.add_argument(
            "--test-list",
            metavar="TXT",
            help="test videos, one per line; the others are for training. Without it, all that "
            "have a mask are for testing",
        )
        parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="SHARE")

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Videos without a mask are those of the original training split: normal."""
        masked = {one.video: one for one in read(arguments.annotations)}
        listed = arguments.test_list
        names = read_list(listed) if listed else list(masked)
        test = [masked.get(name, Annotation(name)) for name in names]
        others = sorted((set(masked) | set(files)) - set(names))
        return Made(test, [masked.get(name, Annotation(name)) for name in others], [])

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The videos that have a mask, which says how many frames they have."""
        return read(path)


def read(folder: str | Path) -> list[Annotation]:
    """The videos of a folder of masks; runs of 1 are their events.

    Raises AnnotationError where there is no mask, or one holds something else than 0 and 1.
    """
    import numpy as np  # the command line imports this file

    paths = sorted(Path(folder).glob("*.npy"))
    if not paths:
        raise AnnotationError(f"{folder}: there is no frame mask VIDEO.npy in it")
    annotations = []
    for path in paths:
        try:
            mask = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise AnnotationError(f"{path}: it is not a mask: {error}") from error
        if mask.ndim != 1 or not len(mask) or not np.isin(mask, (0, 1)).all():
            raise AnnotationError(f"{path}: a mask is a row of 0 and 1, one for each frame")
        steps = np.diff(np.concatenate(([0], mask.astype(np.int8), [0])))
        starts, ends = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
        events = tuple(zip(starts, ends, strict=True))
        annotations.append(Annotation(path.stem, ("anomaly",) if events else (), events, len(mask)))
    return annotations
