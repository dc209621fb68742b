"""Commands that say what scores are worth: a run's own, and anybody's."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.evaluation.evaluate import Scored
    from hhvad.records import Video

DATASETS = ("ucf-crime", "xd-violence", "hivau-70k")


def add_commands(commands: Any) -> None:
    """Add evaluate and report-metrics."""
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


def _add_bootstrap(parser: Any) -> None:
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples")
    parser.add_argument("--seed", type=int, default=0)


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
    from hhvad.artifacts import probe, scores
    from hhvad.errors import ArtifactError
    from hhvad.evaluation import evaluate
    from hhvad.files import read_tsv
    from hhvad.records import Event

    name = video.video
    info = probe.read(Path(arguments.probes_folder) / f"{name}.json")
    fps, n_frames = info.fps, info.frames
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
