"""Commands of stage datasets: sample sheets from datasets, and what scores are worth."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.datasets.datasets import Annotation
    from hhvad.evaluation.evaluate import Scored
    from hhvad.records import Video

DATASETS = ("ucf-crime", "xd-violence", "hivau-70k")


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
    _add_ucf_crime(kinds)
    _add_xd_violence(kinds)
    _add_hivau(kinds)
    _add_folder(kinds)

    p = commands.add_parser(
        "evaluate",
        help="judge anybody's scores on a dataset",
        description="Compare frame scores of any method with a dataset's annotation. Whatever is "
        "missing or wrong is an error that names it.",
    )
    p.add_argument("--dataset", choices=DATASETS, required=True)
    p.add_argument("--annotations", required=True, metavar="FILE", help="the dataset's own file")
    p.add_argument(
        "--frame-counts",
        metavar="TSV",
        help="columns video, n_frames; every test video (hivau-70k has its own)",
    )
    p.add_argument(
        "--scores",
        required=True,
        metavar="TSV",
        help="columns video, start_frame, end_frame, score",
    )
    p.add_argument(
        "--inclusive", action="store_true", help="an annotated end frame is itself anomalous"
    )
    p.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out and count videos and frames without a score, and scores without a video",
    )
    p.add_argument("--tau", type=float, help="threshold: frames above it are called anomalous")
    _add_bootstrap(p)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", metavar="TSV", help="the same as a table")
    p.set_defaults(run=_evaluate)

    p = commands.add_parser(
        "report-metrics",
        help="metrics of a run's test videos, beside degenerate baselines",
        description="Compare the smoothed scores and the events of the sheet's test videos with "
        "their annotations. Unlabelled videos are left out and counted.",
    )
    p.add_argument("--sheet", required=True, metavar="TSV", help="the sample sheet")
    p.add_argument("--scores-folder", required=True, metavar="DIR", help="with VIDEO.tsv")
    p.add_argument("--events-folder", required=True, metavar="DIR", help="with VIDEO.tsv")
    p.add_argument("--probes-folder", required=True, metavar="DIR", help="with VIDEO.json")
    p.add_argument("--detector", required=True, metavar="H5")
    p.add_argument(
        "--dataset",
        choices=("none", "ucf-crime", "xd-violence"),
        default="none",
        help="whose published numbers to print beside",
    )
    p.add_argument("--interval", choices=("half-open", "inclusive"), default="half-open")
    _add_bootstrap(p)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", required=True, metavar="TSV")
    p.set_defaults(run=_report_metrics)


def _add_ucf_crime(kinds: Any) -> None:
    p = kinds.add_parser("ucf-crime", help="UCF-Crime: 290 test videos, 1610 for training")
    _add_dataset(p, "Temporal_Anomaly_Annotation_for_Testing_Videos.txt, either spelling of it")
    p.add_argument(
        "--train-list",
        metavar="TXT",
        help="Anomaly_Train.txt; without it, every video found that is not for testing",
    )
    _add_validation(p)
    p.set_defaults(run=_make_ucf_crime)


def _add_xd_violence(kinds: Any) -> None:
    p = kinds.add_parser("xd-violence", help="XD-Violence: 800 test videos, 3954 for training")
    _add_dataset(p, "annotations.txt")
    p.add_argument(
        "--test-list",
        metavar="TXT",
        help="all test videos, one a line; without it, those of --frame-counts",
    )
    p.add_argument(
        "--train-list",
        metavar="TXT",
        help="training videos, one a line; without it, every video found that is not for testing",
    )
    _add_validation(p)
    p.set_defaults(run=_make_xd_violence)


def _add_hivau(kinds: Any) -> None:
    p = kinds.add_parser("hivau-70k", help="HIVAU-70k: its raw annotation as the test split")
    _add_dataset(p, "JSON of the test videos", counts=False)
    p.add_argument(
        "--train-annotations",
        metavar="JSON",
        help="of the training videos: calibration and validation are chosen from them",
    )
    p.add_argument("--validation-fraction", type=float, default=0.0, metavar="SHARE")
    p.set_defaults(run=_make_hivau)


def _add_folder(kinds: Any) -> None:
    p = kinds.add_parser(
        "folder",
        help="your own videos",
        description="Videos under DIR/normal and DIR/anomaly are for calibration, all others are "
        "unlabelled test videos.",
    )
    p.add_argument("folder", metavar="DIR")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_make_folder)


def _add_dataset(parser: Any, annotations: str, counts: bool = True) -> None:
    parser.add_argument(
        "--videos",
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders with the video files, at any depth",
    )
    parser.add_argument("--annotations", required=True, metavar="FILE", help=annotations)
    if counts:
        parser.add_argument(
            "--frame-counts",
            metavar="TSV",
            help="columns video, n_frames; without it, abnormal test videos are probed",
        )
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


def _add_validation(parser: Any) -> None:
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


def _add_bootstrap(parser: Any) -> None:
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples")
    parser.add_argument("--seed", type=int, default=0)


def _make_ucf_crime(arguments: Namespace) -> None:
    from hhvad.datasets import datasets

    files = datasets.find_videos(arguments.videos)
    test = datasets.read_ucf_crime(arguments.annotations)
    listed = datasets.read_list(arguments.train_list) if arguments.train_list else None
    training, others = datasets.ucf_training(listed, files, [one.video for one in test])
    _make_sheet(arguments, files, test, training, others)


def _make_xd_violence(arguments: Namespace) -> None:
    from hhvad.datasets import datasets
    from hhvad.errors import ConfigError

    files = datasets.find_videos(arguments.videos)
    if arguments.test_list:
        names = datasets.read_list(arguments.test_list)
    elif arguments.frame_counts:
        names = list(datasets.read_frame_counts(arguments.frame_counts))
    else:
        raise ConfigError(
            "the annotation of XD-Violence does not list normal test videos: give --frame-counts "
            "or --test-list"
        )
    test = datasets.read_xd_violence(arguments.annotations, names)
    listed = datasets.read_list(arguments.train_list) if arguments.train_list else None
    training, others = datasets.xd_training(listed, files, names)
    _make_sheet(arguments, files, test, training, others)


def _make_hivau(arguments: Namespace) -> None:
    from hhvad.datasets import datasets

    files = datasets.find_videos(arguments.videos)
    test = datasets.read_hivau(arguments.annotations)
    path = arguments.train_annotations
    training = datasets.read_hivau(path) if path else []
    arguments.frame_counts = arguments.validation_annotations = None
    _make_sheet(arguments, files, test, training, [])


def _make_sheet(
    arguments: Namespace,
    files: dict[str, list[Path]],
    test: list[Annotation],
    training: list[Annotation],
    others: list[str],
) -> None:
    """Choose, fit the annotations to their videos, write the sheet, and tell what was done."""
    from hhvad import sheet
    from hhvad.datasets import datasets
    from hhvad.errors import SheetError

    overlap = {one.video for one in test} & {one.video for one in training}
    if overlap:
        raise SheetError(f"video {min(overlap)} (of {len(overlap)}) is for training and testing")
    there = sheet.read(arguments.out) if Path(arguments.out).is_file() else []
    chosen = {video.video: video.split for video in there}
    if arguments.validation_annotations:
        known = datasets.read_hivau(arguments.validation_annotations)
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
    from hhvad.datasets import datasets

    there = sheet.read(arguments.out) if Path(arguments.out).is_file() else []
    known = {video.video for video in there}
    rows = [video for video in datasets.folder_rows(arguments.folder) if video.video not in known]
    datasets.write_sheet(arguments.out, [*there, *rows])
    _tell(arguments.out, [*there, *rows])
    if there:
        print(f"{len(there)} rows were there and are as they were, {len(rows)} are new")


def _tell(path: str, rows: list[Video]) -> None:
    from collections import Counter

    counts = Counter((video.split, video.label or "unlabelled") for video in rows)
    events = sum(len(video.events or ()) for video in rows if video.split == "test")
    parts = [f"{split} {label} {count}" for (split, label), count in sorted(counts.items())]
    print(f"{path}: {len(rows)} videos: {', '.join(parts)}; {events} annotated test events")


def _evaluate(arguments: Namespace) -> None:
    from hhvad.artifacts import scores
    from hhvad.datasets import datasets
    from hhvad.errors import ConfigError
    from hhvad.evaluation import evaluate
    from hhvad.files import write_json, write_tsv

    _require_resamples(arguments.bootstrap)
    if arguments.tau is not None and not 0 <= arguments.tau <= 1:
        raise ConfigError(f"--tau is {arguments.tau}; it is from 0 to 1")
    if arguments.dataset == "hivau-70k":
        annotations = datasets.read_hivau(arguments.annotations)
    elif not arguments.frame_counts:
        raise ConfigError(f"--dataset {arguments.dataset} needs --frame-counts")
    else:
        counts = datasets.read_frame_counts(arguments.frame_counts)
        annotations = datasets.with_frames(
            datasets.read_ucf_crime(arguments.annotations)
            if arguments.dataset == "ucf-crime"
            else datasets.read_xd_violence(arguments.annotations, counts),
            counts,
            arguments.frame_counts,
        )
    interval = "inclusive" if arguments.inclusive else "half-open"
    videos, left_out, notes = evaluate.join(
        annotations,
        scores.read_many(arguments.scores),
        source=arguments.scores,
        interval=interval,
        tau=arguments.tau,
        allow_missing=arguments.allow_missing,
    )
    result = evaluate.evaluate(
        videos,
        dataset=arguments.dataset,
        interval=interval,
        tau=arguments.tau,
        resamples=arguments.bootstrap,
        seed=arguments.seed,
        left_out=left_out,
        notes=notes,
    )
    write_json(arguments.out, result)
    if arguments.table:
        columns = ("metric", "value", "low", "high", "meaning")
        write_tsv(arguments.table, columns, evaluate.table_rows(result))
    print(evaluate.text_table(result))


def _report_metrics(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.evaluation import evaluate
    from hhvad.files import write_json, write_tsv

    _require_resamples(arguments.bootstrap)
    with artifacts.open_artifact(arguments.detector, "detector") as (_, provenance):
        settings = provenance["locator"]
    videos = [video for video in sheet.read(arguments.sheet) if video.split == "test"]
    labelled = [video for video in videos if video.label is not None]
    result = evaluate.evaluate(
        [_scored(video, arguments) for video in labelled],
        dataset=arguments.dataset,
        interval=arguments.interval,
        tau=settings["tau"],
        resamples=arguments.bootstrap,
        seed=arguments.seed,
        left_out={"unlabelled": [video.video for video in videos if video.label is None]},
        notes=(
            []
            if settings["calibrated"]
            else [f"tau {settings['tau']} is a fixed value, not calibrated on validation events"]
        ),
    )
    write_json(arguments.out, result)
    write_tsv(
        arguments.table, ("metric", "value", "low", "high", "meaning"), evaluate.table_rows(result)
    )
    print(evaluate.text_table(result))


def _require_resamples(count: int) -> None:
    from hhvad.errors import ConfigError

    if count < 0:
        raise ConfigError(f"--bootstrap is {count}; it must be 0 or more")


def _scored(video: Video, arguments: Namespace) -> Scored:
    """A test video with its scores, events and annotation in frames."""
    from hhvad import sheet
    from hhvad.artifacts import scores
    from hhvad.errors import ArtifactError
    from hhvad.evaluation import evaluate
    from hhvad.files import read_json, read_tsv
    from hhvad.records import Event

    name = video.video
    probe_path = Path(arguments.probes_folder) / f"{name}.json"
    probe = read_json(probe_path)
    try:
        fps, n_frames = float(probe["fps"]), int(probe["frames"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{probe_path}: fps or frames is absent or bad; rerun") from error
    path = Path(arguments.scores_folder) / f"{name}.tsv"
    bounds, columns = scores.read_video(path, ("smoothed", "score"))
    smoothed, raw = (
        scores.check(str(path), scores.Segments(bounds, column), n_frames)[0] for column in columns
    )
    events_path = Path(arguments.events_folder) / f"{name}.tsv"
    try:
        detected = tuple(
            Event(int(row["start_frame"]), int(row["end_frame"]), float(row["peak_score"]))
            for row in read_tsv(events_path, ("start_frame", "end_frame", "peak_score"))
        )
    except ValueError as error:
        raise ArtifactError(f"{events_path}: {error}; delete it and rerun") from error
    annotated = None
    if video.events is not None:
        events = sheet.event_frames(video, fps, n_frames)
        annotated = evaluate.events_in(events, n_frames, arguments.interval)
    return evaluate.Scored(
        video=name,
        label=str(video.label),
        categories=evaluate.parse_categories(video.category),
        n_frames=n_frames,
        events=annotated,
        bounds=smoothed.bounds,
        scores=smoothed.scores,
        raw=raw.scores,
        detected=detected,
        fps=fps,
    )
