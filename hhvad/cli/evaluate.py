"""Commands that compare scores with annotations: a run's own scores, and anybody's."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from hhvad import registry
from hhvad.datasets import DATASETS, GROUP


def add_commands(commands: Any) -> None:
    """Add evaluate and report-metrics."""
    p = commands.add_parser(
        "evaluate",
        help="judge anybody's scores on a dataset",
        description="Compare frame scores of any method with a dataset's annotation. Whatever is "
        "missing or wrong is an error that names it.",
    )
    p.add_argument("--dataset", choices=registry.names(DATASETS, GROUP), required=True)
    p.add_argument(
        "--annotations", required=True, metavar="FILE", help="the dataset's own file or folder"
    )
    p.add_argument(
        "--frame-counts",
        metavar="TSV",
        help="columns video, n_frames; every test video (ucf-crime and xd-violence come with "
        "hhvad; dota, hivau-70k and shanghaitech have their own)",
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
    p.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", metavar="TSV", help="the same as a table")
    p.set_defaults(run=_evaluate)

    p = commands.add_parser(
        "report-metrics",
        help="metrics of a method on a run's test videos, beside degenerate baselines",
        description="Compare the smoothed scores and the events of the sheet's test videos with "
        "their annotations. Unlabelled videos are left out and counted.",
    )
    p.add_argument("--method", required=True, metavar="NAME", help="whose scores these are")
    p.add_argument("--sheet", required=True, metavar="TSV", help="the sample sheet")
    p.add_argument("--scores-folder", required=True, metavar="DIR", help="with VIDEO.tsv")
    p.add_argument("--events-folder", required=True, metavar="DIR", help="with VIDEO.tsv")
    p.add_argument("--probes-folder", required=True, metavar="DIR", help="with VIDEO.json")
    p.add_argument("--locator", required=True, metavar="JSON", help="the method's sigma and tau")
    p.add_argument("--answers-folder", metavar="DIR", help="with VIDEO.json from read-ratings")
    p.add_argument(
        "--dataset",
        choices=("none", "ucf-crime", "xd-violence"),
        required=True,
        help="whose published numbers to print beside",
    )
    p.add_argument("--interval", choices=("half-open", "inclusive"), required=True)
    p.add_argument("--bootstrap", type=int, required=True, metavar="N", help="resamples")
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", required=True, metavar="TSV")
    p.set_defaults(run=_report_metrics)


def _evaluate(arguments: Namespace) -> None:
    from hhvad.artifacts import scores
    from hhvad.errors import ConfigError
    from hhvad.evaluation import evaluate
    from hhvad.files import write_json, write_tsv

    _require_resamples(arguments.bootstrap)
    if arguments.tau is not None and not 0 <= arguments.tau <= 1:
        raise ConfigError(f"--tau is {arguments.tau}; it is from 0 to 1")
    dataset = registry.load(DATASETS, arguments.dataset, GROUP, "data set")()
    annotations = dataset.judged(arguments.annotations, arguments.frame_counts)
    interval = "inclusive" if arguments.inclusive else "half-open"
    videos, left_out, notes = evaluate.join(
        annotations,
        scores.read_many(arguments.scores),
        source=arguments.scores,
        interval=interval,
        tau=arguments.tau,
        allow_missing=arguments.allow_missing,
        one_class=getattr(dataset, "one_class", False),
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
        write_tsv(arguments.table, evaluate.COLUMNS, evaluate.table_rows(result))
    print(evaluate.text_table(result))


def _report_metrics(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.evaluation import evaluate, run
    from hhvad.files import write_json, write_tsv
    from hhvad.localization import locator_file

    _require_resamples(arguments.bootstrap)
    result = run.report(
        arguments.method,
        locator_file.read(arguments.locator),
        [video for video in sheet.read(arguments.sheet) if video.split == "test"],
        run.Folders(
            Path(arguments.scores_folder),
            Path(arguments.events_folder),
            Path(arguments.probes_folder),
        ),
        dataset=arguments.dataset,
        interval=arguments.interval,
        resamples=arguments.bootstrap,
        seed=arguments.seed,
        answers=Path(arguments.answers_folder) if arguments.answers_folder else None,
    )
    write_json(arguments.out, result)
    write_tsv(arguments.table, evaluate.COLUMNS, evaluate.table_rows(result))
    print(evaluate.text_table(result))


def _require_resamples(count: int) -> None:
    from hhvad.errors import ConfigError

    if count < 0:
        raise ConfigError(f"--bootstrap is {count}; it must be 0 or more")
