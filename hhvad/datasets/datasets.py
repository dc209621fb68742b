"""UCF-Crime, XD-Violence, HIVAU-70k, or a folder: what they say of their videos, and a sheet of it.

| dataset | file format |
|---|---|
| UCF-Crime | `name[.mp4]  Class  s1  e1  s2  e2`, a line a test video, -1 for no event |
| XD-Violence | `name[.mp4] s1 e1 s2 e2 ...`, abnormal test videos only; normal ones are unlisted |
| HIVAU-70k | JSON, video -> n_frames, fps, label (a list, empty: normal), events in seconds |
| frame counts | TSV with the columns video and n_frames |

Frames are 0-based and [start, end). Files may lack the final newline.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hhvad import sheet
from hhvad.errors import AnnotationError, ArtifactError, SheetError
from hhvad.files import read_json, read_text, read_tsv, write_tsv
from hhvad.records import Interval, Video

VIDEO_FILES = frozenset(
    ".mp4 .avi .mkv .mov .webm .m4v .mpg .mpeg .ts .wmv .flv .mts".split()  # noqa: SIM905
)

UCF_CLASSES = (
    *("Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting"),
    *("RoadAccidents", "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism"),
)
# Folders of UCF-Crime: of another task of its authors, and of normal test videos.
UCF_OTHER_TASK = "Normal_Videos_event"
UCF_TESTING = "Testing_Normal_Videos_Anomaly"

XD_CLASSES = {
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}

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


def read_ucf_crime(path: str | Path) -> list[Annotation]:
    """The test videos of UCF-Crime's temporal annotation, in its order.

    Raises AnnotationError that names file, line and content.
    """
    annotations = []
    for where, fields in _lines(path):
        if len(fields) < 4 or len(fields) % 2:
            raise AnnotationError(f"{where}: expected `name Class s1 e1 s2 e2`, got {fields}")
        name, category, *numbers = fields
        events = _pairs(where, [number for number in numbers if number != "-1"])
        if (category == "Normal") == bool(events):
            raise AnnotationError(f"{where}: class {category} with {len(events)} events")
        categories = () if category == "Normal" else (category,)
        annotations.append(Annotation(video_id(name), categories, events))
    return _unique(path, annotations)


def read_xd_violence(path: str | Path, test: Iterable[str]) -> list[Annotation]:
    """All test videos of XD-Violence, in the order of `test`: normal ones are not in the file.

    Raises AnnotationError where the file, the list and the labels in the names disagree.
    """
    events = {video_id(fields[0]): _pairs(where, fields[1:]) for where, fields in _lines(path)}
    annotations = [Annotation(video, xd_categories(video), events.pop(video, ())) for video in test]
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
    return _unique(path, annotations)


def xd_categories(video: str) -> tuple[str, ...]:
    """The classes behind `label_` in a name of XD-Violence; none for `A`, a normal video."""
    _, found, label = video.rpartition("_label_")
    codes = [code for code in label.split("-") if code != "0"]
    if not found or (codes != ["A"] and not (codes and set(codes) <= set(XD_CLASSES))):
        raise AnnotationError(
            f"video {video}: its name does not end in `_label_` and classes of XD-Violence "
            f"(A, {', '.join(XD_CLASSES)}, joined by -)"
        )
    return tuple(XD_CLASSES[code] for code in codes if code != "A")


def read_hivau(path: str | Path) -> list[Annotation]:
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
    return _unique(path, annotations)


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


def _lines(path: str | Path) -> list[tuple[str, list[str]]]:
    """The fields of each line that has any, and `file: line N`."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    found = [(f"{path}: line {number}", line.split()) for number, line in lines if line.strip()]
    if not found:
        raise AnnotationError(f"{path}: the file is empty")
    return found


def _pairs(where: str, numbers: Sequence[str]) -> tuple[tuple[int, int], ...]:
    if len(numbers) % 2 or not all(number.isdecimal() for number in numbers):
        raise AnnotationError(f"{where}: {numbers} are not pairs of start and end frames")
    pairs = tuple(zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True))
    for start, end in pairs:
        if end < start:
            raise AnnotationError(f"{where}: event {start}-{end} ends before it starts")
    return pairs


def _unique(path: str | Path, annotations: list[Annotation]) -> list[Annotation]:
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
            if UCF_OTHER_TASK in path.relative_to(folder).parts:
                continue
            if path.suffix.lower() in VIDEO_FILES and path.is_file():
                found[video_id(path.name)].append(path)
    return dict(found)


def ucf_training(
    names: Iterable[str] | None, files: Mapping[str, Sequence[Path]], test: Iterable[str]
) -> tuple[list[Annotation], list[str]]:
    """UCF-Crime's training videos: those of the list, or else those found that are not for testing.

    Also the names that are left out for not being of the dataset.
    """
    if names is None:
        names = [
            name
            for name, paths in files.items()
            if not any(UCF_TESTING in path.parts for path in paths)
        ]
    found, others = [], []
    for name in sorted(set(names) - set(test)):
        match = re.fullmatch(r"([A-Za-z]+?)(?:_Videos)?_?\d\S*", name)
        category = match[1] if match else ""
        if category in UCF_CLASSES:
            found.append(Annotation(name, (category,), None))
        elif category == "Normal":
            found.append(Annotation(name))
        else:
            others.append(name)
    return found, others


def xd_training(
    names: Iterable[str] | None, files: Mapping[str, Sequence[Path]], test: Iterable[str]
) -> tuple[list[Annotation], list[str]]:
    """XD-Violence's training videos: those of the list, or else those found that are not tests."""
    found, others = [], []
    for name in sorted(set(files if names is None else names) - set(test)):
        if "_label_" not in name:
            others.append(name)
            continue
        categories = xd_categories(name)
        found.append(Annotation(name, categories, None if categories else ()))
    return found, others


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
        path=str(path),
        split=split,
        label=annotation.label,
        category=";".join(annotation.categories),
        events=None if events is None else tuple(Interval(*event) for event in events),
    )


def folder_rows(folder: str | Path) -> list[Video]:
    """Rows for the videos in a folder.

    Those under `normal/` and `anomaly/` are for calibration, all others are unlabelled test videos.
    An id is the path inside the folder, with `-` between its parts.
    """
    root = Path(folder)
    files = sorted(path for paths in find_videos([root]).values() for path in paths)
    if not files:
        raise SheetError(f"{root}: no video file in it; known: {' '.join(sorted(VIDEO_FILES))}")
    rows = []
    for path in files:
        parts = path.relative_to(root).with_suffix("").parts
        name = re.sub(r"[^A-Za-z0-9._=#-]+", "_", "-".join(parts)).strip("._=#-")
        sheet.check_id(name, str(path))
        label = parts[0] if parts[0] in ("normal", "anomaly") and len(parts) > 1 else None
        rows.append(Video(name, str(path), "calibration" if label else "test", label))
    return rows


def write_sheet(path: str | Path, rows: Sequence[Video]) -> None:
    """Write the sample sheet; SheetError where two rows would have one id."""
    counts = Counter(video.video.lower() for video in rows)
    for video in rows:
        if counts[video.video.lower()] > 1:
            same = [other.path for other in rows if other.video.lower() == video.video.lower()]
            raise SheetError(f"id {video.video} belongs to {' and '.join(same)}; rename one")
    write_tsv(
        path,
        sheet.COLUMNS,
        [
            (v.video, v.path, v.split, v.label, v.category, sheet.format_events(v.events))
            for v in rows
        ],
    )
