"""Commands around the sample sheet: write one from a dataset or folder, add videos to it."""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad import registry
from hhvad.datasets import DATASETS, GROUP, SCORE_FILES, SCORE_FILES_GROUP

if TYPE_CHECKING:
    from hhvad.datasets.annotation import Annotation
    from hhvad.datasets.folder import Found
    from hhvad.records import Video


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
    p = commands.add_parser(
        "make-sheet",
        help="write the sample sheet of a dataset or a folder",
        description="Write the sample sheet: test videos with their annotation, and calibration "
        "and validation videos chosen from the training videos by a seed. A sheet that is there "
        "keeps its splits; a larger fraction adds to them.",
    )
    kinds = p.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name in registry.names(DATASETS, GROUP):
        dataset = registry.load(DATASETS, name, GROUP, "data set")()
        kind = kinds.add_parser(name, help=dataset.help)
        _add_common(kind, dataset.annotations)
        dataset.add_arguments(kind)
        kind.set_defaults(run=_make_dataset, dataset=dataset)
    _add_folder(kinds)

    _add_imports(commands)
    counts = commands.add_parser(
        "frame-counts",
        help="count the frames of all videos in folders",
        description="Write how many frames each video has, as make-sheet and evaluate need it.",
    )
    counts.add_argument("folders", nargs="+", metavar="FOLDER")
    counts.add_argument("--timeout", type=float, default=600.0, help="seconds to probe one file")
    counts.add_argument("--out", required=True, metavar="TSV")
    counts.set_defaults(run=_frame_counts)

    add = commands.add_parser(
        "add-videos", help="append videos to the sheet as unlabelled test rows"
    )
    add.add_argument("paths", nargs="+", metavar="FOLDER_OR_FILE")
    where = add.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", metavar="YAML", help="the study, whose sheet it is")
    where.add_argument("--sheet", metavar="TSV")
    _add_probing(add, on_damage=None)
    add.set_defaults(run=_add_videos)


def _add_common(parser: Any, annotations: str) -> None:
    """The options of make-sheet that every data set has."""
    parser.add_argument(
        "--videos",
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders with the video files, at any depth",
    )
    parser.add_argument("--annotations", required=True, metavar="FILE", help=annotations)
    parser.add_argument(
        "--calibration-fraction",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="of the training videos (default 0.01)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out and count videos without a file"
    )
    parser.add_argument("--out", required=True, metavar="TSV", help="the sheet")
    parser.set_defaults(frame_counts=None, validation_annotations=None)


def _add_imports(commands: Any) -> None:
    p = commands.add_parser(
        "import-scores",
        help="turn score files of another method's code into a table for evaluate",
        description="Read scores as the official code of a method writes them, and write the table "
        "of segments that `hhvad evaluate --scores` reads.",
    )
    p.add_argument("folder", metavar="FOLDER", help="with VIDEO.json")
    p.add_argument(
        "--from",
        dest="source",
        choices=registry.names(SCORE_FILES, SCORE_FILES_GROUP),
        required=True,
    )
    p.add_argument(
        "--similarities", metavar="DIR", help="of lavad's refined scores: cosines of neighbours"
    )
    p.add_argument("--frame-counts", metavar="TSV", help="columns video, n_frames; lavad needs it")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_import_scores)


def _import_scores(arguments: Namespace) -> None:
    from hhvad.datasets import annotation
    from hhvad.files import write_tsv

    path = arguments.frame_counts
    read = registry.load(SCORE_FILES, arguments.source, SCORE_FILES_GROUP, "source of scores")
    found = dict(
        read(
            Path(arguments.folder),
            annotation.read_frame_counts(path) if path else {},
            Path(arguments.similarities) if arguments.similarities else None,
        )
    )
    rows = [
        (name, start, end, score)
        for name, (bounds, scores) in found.items()
        for (start, end), score in zip(bounds.tolist(), scores.tolist(), strict=True)
    ]
    write_tsv(arguments.out, ("video", "start_frame", "end_frame", "score"), rows)
    print(f"{arguments.out}: {len(rows)} segments of {len(found)} videos")


def _frame_counts(arguments: Namespace) -> None:
    from hhvad.datasets import annotation
    from hhvad.errors import SheetError, VideoError
    from hhvad.files import write_tsv
    from hhvad.media.probe import probe

    rows, refused = [], []
    files = annotation.find_videos(arguments.folders)
    if not files:
        raise SheetError(f"{' '.join(arguments.folders)}: there is no video file in it")
    for name in sorted(files):
        try:
            path = annotation.only_file(name, files)
            rows.append((name, probe(str(path), timeout=arguments.timeout).frames))
        except (SheetError, VideoError) as error:
            refused.append(str(error))
    write_tsv(arguments.out, ("video", "n_frames"), rows)
    print(f"{arguments.out}: {len(rows)} videos, {sum(count for _, count in rows)} frames")
    if refused:
        raise SheetError(f"{len(refused)} videos were left out: {'; '.join(refused)}")


def _make_dataset(arguments: Namespace) -> None:
    from hhvad.datasets import annotation

    files = annotation.find_videos(arguments.videos)
    made = arguments.dataset.make(arguments, files)
    _make_sheet(arguments, files, made.test, made.training, made.others)


def _add_folder(kinds: Any) -> None:
    p = kinds.add_parser(
        "folder",
        help="your own videos",
        description="Videos under DIR/normal and DIR/anomaly are for calibration, all others are "
        "unlabelled test videos.",
    )
    p.add_argument("folder", metavar="DIR")
    p.add_argument("--out", required=True, metavar="TSV")
    _add_probing(p, on_damage="fail")
    p.set_defaults(run=_make_folder)


def _add_probing(parser: Any, on_damage: str | None) -> None:
    """The options of commands that look at files before they become rows."""
    from hhvad.cli.videos import add_on_damage

    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to probe one file")
    add_on_damage(parser, on_damage)
    parser.add_argument(
        "--settle",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="to wait where files are fresh; those that change then are left for the next call",
    )


def _make_sheet(
    arguments: Namespace,
    files: dict[str, list[Path]],
    test: list[Annotation],
    training: list[Annotation],
    others: list[str],
) -> None:
    """Choose, fit the annotations to their videos, write the sheet, and tell what was done."""
    from hhvad import sheet
    from hhvad.datasets import annotation as datasets
    from hhvad.errors import SheetError

    overlap = {one.video for one in test} & {one.video for one in training}
    if overlap:
        raise SheetError(f"video {min(overlap)} (of {len(overlap)}) is for training and testing")
    there = sheet.read(arguments.out) if Path(arguments.out).is_file() else []
    chosen = {video.video: video.split for video in there}
    if arguments.validation_annotations:
        from hhvad.datasets import hivau_70k

        known = hivau_70k.read(arguments.validation_annotations)
        training = datasets.add_events(training, known)
    missing = [one.video for one in (*test, *training) if one.video not in files]
    if missing and not arguments.allow_missing:
        raise SheetError(
            f"video {missing[0]} (of {len(missing)}) has no file under "
            f"{' '.join(arguments.videos)}; --allow-missing leaves such videos out"
        )
    training = [one for one in training if one.video in files]
    test = [one for one in test if one.video in files]
    splits = dict.fromkeys((one.video for one in test), "test") | (
        datasets.choose(
            training,
            calibration=arguments.calibration_fraction,
            validation=arguments.validation_fraction,
            seed=arguments.seed,
            chosen=chosen,
        )
        if training
        else {}
    )
    counts = datasets.read_frame_counts(arguments.frame_counts) if arguments.frame_counts else {}
    rows, changes = [], []
    for one in (*sorted(training, key=lambda other: other.video), *test):
        if one.video not in splits:
            continue
        path = datasets.only_file(one.video, files)
        split = chosen.get(one.video, splits[one.video])
        annotation, changed = datasets.fit(_with_frames(one, path, counts))
        rows.append(datasets.row(annotation, str(path), split))
        changes += changed
    mine = {video.video for video in rows}
    kept = [video for video in there if video.video not in mine]
    rows.sort(key=lambda video: ("calibration", "validation", "test").index(video.split))
    datasets.write_sheet(arguments.out, [*rows, *kept])
    _tell(arguments.out, [*rows, *kept])
    for what, names in (
        ("rows of the sheet that are not of this dataset, kept", [v.video for v in kept]),
        ("videos without a file, left out", missing),
        ("files that are not of the dataset, left out", others),
        ("annotated events changed to fit their videos", changes),
    ):
        if names:
            print(f"{len(names)} {what}:", *names, sep="\n  ")


def _with_frames(one: Annotation, path: Path | None, counts: dict[str, int]) -> Annotation:
    """The annotation with its number of frames, where there is an event to hold against it."""
    from dataclasses import replace

    from hhvad.media import probe as video

    if one.n_frames is not None or not one.events:
        return one
    if one.video in counts:
        return replace(one, n_frames=counts[one.video])
    return replace(one, n_frames=video.probe(str(path)).frames)


def _make_folder(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.datasets import folder
    from hhvad.datasets.annotation import VIDEO_FILES
    from hhvad.errors import SheetError

    there = sheet.read_rows(arguments.out)
    found = folder.new_rows(
        [arguments.folder],
        there,
        labelled=True,
        settle=arguments.settle,
        check=partial(_look_at, timeout=arguments.timeout, on_damage=arguments.on_damage),
    )
    if not (found.rows or found.known or found.refused or found.growing):
        raise SheetError(
            f"{arguments.folder}: no video file in it; known: {' '.join(sorted(VIDEO_FILES))}"
        )
    if found.rows:
        sheet.append(arguments.out, found.rows)
    _tell(arguments.out, [*there, *found.rows])
    if there:
        print(f"{len(there)} rows were there and are as they were, {len(found.rows)} are new")
    _tell_found(found)


def _tell(path: str, rows: list[Video]) -> None:
    from collections import Counter

    counts = Counter((video.split, video.label or "unlabelled") for video in rows)
    events = sum(len(video.events or ()) for video in rows if video.split == "test")
    parts = [f"{split} {label} {count}" for (split, label), count in sorted(counts.items())]
    print(f"{path}: {len(rows)} videos: {', '.join(parts)}; {events} annotated test events")


def _look_at(path: Path, timeout: float, on_damage: str) -> None:
    """Raise VideoError for a file that is no video, or is damaged where that is not let pass."""
    from hhvad.errors import VideoError
    from hhvad.media.probe import probe

    try:
        probe(path, timeout)
    except VideoError:
        if on_damage == "fail":
            raise
        probe(path, timeout, on_damage)


def _add_videos(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.datasets import folder

    path, on_damage = Path(arguments.sheet or ""), arguments.on_damage
    if arguments.config:
        from hhvad.study import on_damage_of, sheet_path

        path = sheet_path(arguments.config)
        on_damage = on_damage or on_damage_of(arguments.config)
    found = folder.new_rows(
        arguments.paths,
        sheet.read_rows(path),
        settle=arguments.settle,
        check=partial(_look_at, timeout=arguments.timeout, on_damage=on_damage or "fail"),
    )
    if found.rows:
        sheet.append(path, found.rows)
    print(f"{path}: {len(found.rows)} videos added, {found.known} were there already")
    _tell_found(found)


def _tell_found(found: Found) -> None:
    """What became of the files that have no new row. Raises SheetError where some can have none."""
    from hhvad.errors import SheetError

    for name in found.growing:
        print(f"{name}: is still being written; left for the next call")
    if found.passed_over:
        kinds = ", ".join(
            f"{count} {suffix or 'without a suffix'}"
            for suffix, count in sorted(found.passed_over.items())
        )
        print(f"{found.passed_over.total()} other files passed over: {kinds}")
    for line in found.refused:
        print(f"hhvad: note: {line}", file=sys.stderr)
    if found.refused:
        raise SheetError(
            f"{len(found.refused)} files are no videos or cannot stand in a sheet and were left "
            "out; each is named above"
        )
