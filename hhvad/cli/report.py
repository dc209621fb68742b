"""Commands of rules/report.smk that draw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAILS = 8


def add_commands(commands: Any) -> None:
    """Add plot-video and plot-curves."""
    video = commands.add_parser("plot-video", help="draw a video's scores over its thumbnails")
    video.add_argument("--video", required=True, metavar="ID")
    video.add_argument("--thumbnails", required=True, metavar="H5", help="from sample-thumbnails")
    video.add_argument("--scores", required=True, metavar="TSV", help="from localize-events")
    video.add_argument("--events-detected", required=True, metavar="TSV")
    video.add_argument("--locator", required=True, metavar="JSON")
    video.add_argument("--probe", required=True, metavar="JSON")
    video.add_argument("--annotated", help="'10-50;80-90' in frames, '1s-2s', or 'none'")
    video.add_argument("--out", required=True, metavar="PNG|SVG")
    video.set_defaults(run=_plot_video)

    curves = commands.add_parser("plot-curves", help="draw the ROC and precision-recall curves")
    curves.add_argument("--sheet", required=True, metavar="TSV")
    curves.add_argument("--scores-folder", required=True, metavar="DIR")
    curves.add_argument("--probes-folder", required=True, metavar="DIR")
    curves.add_argument("--metrics", required=True, metavar="JSON")
    curves.add_argument("--out-roc", required=True, metavar="SVG")
    curves.add_argument("--out-pr", required=True, metavar="SVG")
    curves.set_defaults(run=_plot_curves)


def _plot_video(arguments: argparse.Namespace) -> None:

    from hhvad import sheet
    from hhvad.artifacts import probe, scores
    from hhvad.figures import plots
    from hhvad.files import read_tsv
    from hhvad.localization import locator_file
    from hhvad.records import Video

    info = probe.read(arguments.probe)
    bounds, (score, smoothed) = scores.read_video(arguments.scores, ("score", "smoothed"))
    taus = scores.read_taus(arguments.scores)
    columns = ("start_seconds", "end_seconds")
    found = read_tsv(arguments.events_detected, columns)
    annotated = None
    if arguments.annotated is not None:
        events = sheet.parse_events(arguments.annotated, f"video {arguments.video}")
        row = Video(arguments.video, "", "test", events=events)
        spans = sheet.event_frames(row, info)
        annotated = [(info.seconds(start), info.times.until(end)) for start, end in spans]
    figure = plots.video(
        arguments.video,
        info.times.all_seconds(bounds),
        score,
        smoothed,
        tau=locator_file.read(arguments.locator).tau if taus is None else taus,
        duration=info.seconds(info.frames),
        detected=[(float(row[columns[0]]), float(row[columns[1]])) for row in found],
        annotated=annotated,
        thumbnails=_thumbnails(arguments.thumbnails),
    )
    plots.save(figure, arguments.out)


def _thumbnails(path: str) -> list[tuple[float, NDArray[np.uint8]]]:
    """Some of a file's thumbnails and their times in seconds."""
    from hhvad.artifacts import hdf5
    from hhvad.media import samplers as sampling

    file = hdf5.read(path, "thumbnails", ("pictures", "seconds"))
    count = len(file["seconds"])
    if not count:
        return []
    chosen = sampling.uniform(0, count, min(THUMBNAILS, count)).tolist()
    return [(float(file["seconds"][i]), file["pictures"][i]) for i in chosen]


def _plot_curves(arguments: argparse.Namespace) -> None:
    import numpy as np

    from hhvad import sheet
    from hhvad.artifacts import probe, scores
    from hhvad.errors import SheetError
    from hhvad.evaluation import curves
    from hhvad.evaluation.metrics import rank
    from hhvad.figures import plots
    from hhvad.files import read_json
    from hhvad.localization import locator, locator_file

    result = read_json(arguments.metrics)
    settings = locator_file.from_json(result["locator"], arguments.metrics)
    values, counts = [], []
    for video in sheet.read(arguments.sheet):
        if video.split != "test" or video.events is None:
            continue
        info = probe.read(Path(arguments.probes_folder) / f"{video.video}.json")
        file = Path(arguments.scores_folder) / f"{video.video}.tsv"
        bounds, (smoothed,) = scores.read_video(file, ("smoothed",))
        events = sheet.event_frames(video, info)
        values.append(settings.measured(smoothed, bounds))
        counts.append(locator.frame_counts(bounds[: settings.judged(bounds)], events))
    if not values:
        raise SheetError(f"{arguments.sheet}: no test video has an annotation: there is no curve")
    videos = np.repeat(np.arange(len(values)), list(map(len, values)))
    negative, positive = np.concatenate(counts).T
    frames = rank(videos, np.concatenate(values), positive, negative)
    drawn = result["bootstrap"]
    bands = curves.bands(frames, len(values), drawn["resamples"], drawn["seed"])
    lines = curves.points(frames)
    roc = plots.curve(
        *lines["roc"],
        band=bands.get("roc"),
        label=plots.with_interval("AUC", result["metrics"]["auc"]),
        chance=None,
        names=("false positive rate of frames", "true positive rate of frames"),
        title="ROC over all annotated test frames",
    )
    plots.save(roc, arguments.out_roc)
    pr = plots.curve(
        *lines["pr"],
        band=bands.get("pr"),
        label=plots.with_interval("AP", result["metrics"]["ap_step"]),
        chance=float(positive.sum() / (positive.sum() + negative.sum())),
        names=("recall of anomalous frames", "precision"),
        title="Precision and recall over all annotated test frames",
    )
    plots.save(pr, arguments.out_pr)
