"""What a data set says of its videos, and how a sheet is made of it: common to all data sets.

Frames are 0-based and [start, end). Files may lack the final newline. Frame counts are a TSV with
the columns video and n_frames.
"""

from __future__ import annotations

import hashlib
import math
import re
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from hhvad import sheet
from hhvad.errors import AnnotationError, ConfigError, SheetError
from hhvad.files import read_text, read_tsv, write_tsv
from hhvad.records import Interval, Video

# What hhvad.media.decode opens, by the endings that such files have.
_SUFFIXES = """
    264 265 3g2 3gp asf avc avi dav dif divx dv f4v flv gif h264 h265 hevc ivf m1v m2t m2ts m2v m4v
    mjpeg mjpg mk3d mkv mov mp4 mpe mpeg mpg mts mxf nut obu ogm ogv qt rm rmvb trp ts vob webm wmv
    wtv
"""
VIDEO_FILES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())

# A folder of UCF-Crime for another task of its authors.
OTHER_TASK = "Normal_Videos_event"

# Of each label: a scorer needs two to tell anything apart.
LEAST_CALIBRATION = 2


@dataclass(frozen=True)
class Annotation:
    """What a dataset says of one video.

    events are frames as the file gives them; None where only the video's label is known.
    """

    video: str
    categories: tuple[str, ...] = ()
    events: tuple[tuple[int, int], ...] | None = ()
    n_frames: int | None = None
    fps: float | None = None

    @property
    def label(self) -> str:
        """normal or anomaly: a video without a category is normal."""
        return "anomaly" if self.categories else "normal"


def video_id(name: str) -> str:
    """The id of a video from a file name or a line of a list.

    Only known endings go, since names contain dots: a folder, `.mp4`, or the `__0.npy` of feature
    lists.
    """
    name = re.sub(r"__\d+\.npy$", "", PurePosixPath(name.strip()).name)
    stem, dot, ending = name.rpartition(".")
    return stem if f"{dot}{ending}".lower() in VIDEO_FILES else name


def read_frame_counts(path: str | Path) -> dict[str, int]:
    """Number of frames by video, from a TSV with the columns video and n_frames."""
    counts: dict[str, int] = {}
    for row in read_tsv(path, ("video", "n_frames")):
        name, text = video_id(row["video"]), row["n_frames"]
        if not text.isdecimal() or int(text) < 1 or name in counts:
            raise AnnotationError(f"{path}: video {name}: n_frames is {text!r}, or it is repeated")
        counts[name] = int(text)
    return counts


def read_list(path: str | Path) -> list[str]:
    """The video ids of a list, one a line: paths, with or without an ending."""
    names = [video_id(line) for line in read_text(path).splitlines() if line.strip()]
    return list(dict.fromkeys(names))


def lines(path: str | Path) -> list[tuple[str, list[str]]]:
    """The fields of each line that has any, and `file: line N`."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    found = [(f"{path}: line {number}", line.split()) for number, line in lines if line.strip()]
    if not found:
        raise AnnotationError(f"{path}: the file is empty")
    return found


def pairs(where: str, numbers: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Numbers as events [start, end); AnnotationError where they are none."""
    if len(numbers) % 2 or not all(number.isdecimal() for number in numbers):
        raise AnnotationError(f"{where}: {numbers} are not pairs of start and end frames")
    pairs = tuple(zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True))
    for start, end in pairs:
        if end < start:
            raise AnnotationError(f"{where}: event {start}-{end} ends before it starts")
    return pairs


def unique(path: str | Path, annotations: list[Annotation]) -> list[Annotation]:
    """The annotations; AnnotationError where a video is there twice."""
    counts = Counter(one.video for one in annotations)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise AnnotationError(f"{path}: video {repeated[0]} is there more than once")
    return annotations


def with_frames(
    annotations: Iterable[Annotation], counts: Mapping[str, int], source: str | Path
) -> list[Annotation]:
    """The annotations with their numbers of frames; AnnotationError where one has none."""
    annotations = list(annotations)
    absent = [one.video for one in annotations if one.video not in counts]
    if absent:
        raise AnnotationError(f"{source}: video {absent[0]} (of {len(absent)}) has no frame count")
    return [replace(one, n_frames=counts[one.video]) for one in annotations]


def fit(annotation: Annotation, *, empty: bool = False) -> tuple[Annotation, list[str]]:
    """The annotation with its events inside the video and apart, and what that changed, in words.

    Ends past the end are cut; what lies behind the end or is empty goes; overlapping events, which
    the sheet has no room for, become one. Without a number of frames nothing is cut. empty: keep
    s-s, which is a frame where ends are inclusive.
    """
    if not annotation.events:
        return annotation, []
    n_frames = annotation.n_frames or math.inf
    changes: list[str] = []
    events: list[tuple[int, int]] = []
    for start, end in sorted(annotation.events):
        name = f"{annotation.video} {start}-{end}"
        if end > n_frames > start:
            changes.append(f"clipped at frame {n_frames}: {name}")
            end = int(n_frames)
        if start > end - (not empty) or start >= n_frames:
            changes.append(f"left out, empty or behind frame {n_frames}: {name}")
        elif events and start < events[-1][1]:
            changes.append(f"joined with the one before it: {name}")
            events[-1] = (events[-1][0], max(end, events[-1][1]))
        else:
            events.append((start, end))
    if not events:
        raise AnnotationError(
            f"video {annotation.video}: no annotated event lies inside its {n_frames} frames"
        )
    return replace(annotation, events=tuple(events)), changes


def find_videos(folders: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Video files by id, anywhere under the folders, in order of their paths.

    UCF-Crime's folder for another task, which repeats normal videos, is passed over.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise SheetError(f"--videos: {folder} is not a folder")
        for path in sorted(folder.rglob("*")):
            if OTHER_TASK in path.relative_to(folder).parts:
                continue
            if path.suffix.lower() in VIDEO_FILES and path.is_file():
                found[video_id(path.name)].append(path)
    return dict(found)


def choose(
    training: Sequence[Annotation],
    *,
    calibration: float,
    validation: float = 0.0,
    seed: int = 0,
    chosen: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Splits of some of the training videos: calibration and validation fractions of each label.

    The videos of each label stand in one order that the seed alone decides, spread over their
    categories; calibration takes from its front, validation (only videos whose events are known)
    from its back. A larger fraction so contains the smaller one. What is already `chosen` stays.
    """
    for name, fraction in (("calibration", calibration), ("validation", validation)):
        if not 0 <= fraction <= 1:
            raise SheetError(f"--{name}-fraction is {fraction}; it is a share from 0 to 1")
    splits: dict[str, str] = {}
    for label in ("normal", "anomaly"):
        group = _spread([one for one in training if one.label == label], seed)
        taken = {
            one.video: (chosen or {})[one.video] for one in group if one.video in (chosen or {})
        }
        known = [one for one in reversed(group) if one.events is not None]
        for split, candidates, fraction, least in (
            ("calibration", group, calibration, LEAST_CALIBRATION),
            ("validation", known, validation, 1),
        ):
            wanted = max(least, math.floor(fraction * len(candidates) + 0.5)) if fraction else 0
            have = sum(other == split for other in taken.values())
            free = [one.video for one in candidates if one.video not in taken]
            if have + len(free) < wanted:
                raise SheetError(
                    f"split {split} wants {wanted} {label} videos, but there are "
                    f"{have + len(free)} for it: give more training videos, for validation with "
                    "the events of abnormal ones (--validation-annotations), or a smaller fraction"
                )
            taken |= dict.fromkeys(free[: max(0, wanted - have)], split)
        splits |= taken
    return splits


def _spread(videos: Sequence[Annotation], seed: int) -> list[Annotation]:
    """An order whose every front part has each category about in proportion.

    The r-th of a category's n videos (by a hash of seed and id) stands at (r + 1/2) / n.
    """
    members: dict[tuple[str, ...], list[tuple[str, Annotation]]] = defaultdict(list)
    for one in videos:
        key = hashlib.sha256(f"{seed}:{one.video}".encode()).hexdigest()
        members[one.categories].append((key, one))
    places = [
        ((rank + 0.5) / len(group), key, one)
        for group in members.values()
        for rank, (key, one) in enumerate(sorted(group, key=lambda pair: pair[0]))
    ]
    return [one for _, _, one in sorted(places, key=lambda place: place[:2])]


def only_file(video: str, files: Mapping[str, Sequence[Path]]) -> Path | None:
    """The file of a video; None where there is none, SheetError where there are several."""
    paths = files.get(video, ())
    if len(paths) > 1:
        raise SheetError(f"video {video} has several files: {', '.join(map(str, paths))}")
    return paths[0] if paths else None


def add_events(training: Sequence[Annotation], annotated: Sequence[Annotation]) -> list[Annotation]:
    """Training videos with the events that another annotation (HIVAU-70k) knows of them.

    Raises AnnotationError where the two disagree on a video's label.
    """
    known = {one.video: one for one in annotated}
    result = []
    for one in training:
        other = known.get(one.video)
        if other is not None and other.label != one.label:
            raise AnnotationError(
                f"video {one.video}: the dataset says {one.label}, its annotation {other.label}"
            )
        result.append(one if other is None else replace(other, categories=one.categories))
    return result


def row(annotation: Annotation, path: str | Path, split: str) -> Video:
    """A row of the sheet; ids the sheet would refuse are refused here."""
    sheet.check_id(annotation.video, str(path))
    events = annotation.events
    return Video(
        video=annotation.video,
        path=sheet.path_cell(str(path), f"video {annotation.video}"),
        split=split,
        label=annotation.label,
        category=";".join(annotation.categories),
        events=None if events is None else tuple(Interval(*event) for event in events),
    )


def write_sheet(path: str | Path, rows: Sequence[Video]) -> None:
    """Write the sample sheet; SheetError where two rows would have one id."""
    counts = Counter(video.video.lower() for video in rows)
    for video in rows:
        if counts[video.video.lower()] > 1:
            same = [other.path for other in rows if other.video.lower() == video.video.lower()]
            raise SheetError(f"id {video.video} belongs to {' and '.join(same)}; rename one")
    write_tsv(path, sheet.COLUMNS, [sheet.cells(video) for video in rows])


@dataclass(frozen=True)
class Made:
    """What a sheet is made of: test and training videos, and files that are of neither."""

    test: list[Annotation]
    training: list[Annotation]
    others: list[str]


class Dataset(Protocol):
    """A data set: its options of `make-sheet`, and what it says of its videos."""

    help: str

    def add_arguments(self, parser: Any) -> None:
        """Add the options that only this data set has."""
        ...

    def make(self, arguments: Namespace, files: Mapping[str, Sequence[Path]]) -> Made:
        """Test and training videos; files: the video files found, by id."""
        ...

    def judged(self, path: str, counts: str | None) -> list[Annotation]:
        """The test videos with their numbers of frames, for `evaluate`.

        path: the data set's own annotation; counts: a file of frame counts, where it needs one.
        """
        ...


def counted(path: str | None, name: str) -> dict[str, int]:
    """The frame counts that a data set needs: of a file, or those that come with hhvad.

    Raises ConfigError where no file is given and none comes with hhvad.
    """
    if path:
        return read_frame_counts(path)
    shipped = Path(__file__).with_name("frame_counts") / f"{name}.tsv"
    if not shipped.is_file():
        raise ConfigError(
            f"--dataset {name} needs --frame-counts; `hhvad frame-counts FOLDER` writes them"
        )
    return read_frame_counts(shipped)


def add_train_list(parser: Any, text: str) -> None:
    """Add --train-list, without which every video found that is not for testing is for training."""
    parser.add_argument(
        "--train-list",
        metavar="TXT",
        help=f"{text}; without it, every video found that is not for testing",
    )


def add_validation(parser: Any) -> None:
    """Add the options that choose validation videos by HIVAU-70k's events."""
    parser.add_argument(
        "--validation-annotations",
        metavar="JSON",
        help="HIVAU-70k's raw annotation of training videos",
    )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the training videos whose events are known",
    )


def add_frame_counts(parser: Any) -> None:
    """Add --frame-counts of make-sheet."""
    parser.add_argument(
        "--frame-counts",
        metavar="TSV",
        help="columns video, n_frames (hhvad frame-counts); without it, abnormal test videos are "
        "probed",
    )
