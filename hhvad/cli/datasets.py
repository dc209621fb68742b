"""Commands of stage datasets: sample sheets from datasets, and what scores are worth."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.evaluate import Scored
    from hhvad.records import Video


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
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
    p.add_argument("--dataset", choices=("none", "ucf-crime", "xd-violence"), default="none",
                   help="whose published numbers to print beside")  # fmt: skip
    p.add_argument("--interval", choices=("half-open", "inclusive"), default="half-open")
    _add_bootstrap(p)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", required=True, metavar="TSV")
    p.set_defaults(run=_report_metrics)


def _add_bootstrap(parser: Any) -> None:
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples")
    parser.add_argument("--seed", type=int, default=0)


def _report_metrics(arguments: Namespace) -> None:
    from hhvad import artifacts, evaluate, sheet
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
    from hhvad import evaluate, scores, sheet
    from hhvad.errors import ArtifactError
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
