"""Commands of stage plots: the figures of the report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.cli.headhunt import add_segment_labels, samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAILS = 8


def add_commands(commands: Any) -> None:
    """Add plot-video, plot-heads, plot-features and plot-curves."""
    video = commands.add_parser("plot-video", help="draw a video's scores over its thumbnails")
    video.add_argument("--video", required=True, metavar="ID")
    video.add_argument("--path", required=True, help="the video file")
    video.add_argument("--scores", required=True, metavar="TSV", help="from localize-events")
    video.add_argument("--events-detected", required=True, metavar="TSV")
    video.add_argument("--detector", required=True, metavar="H5")
    video.add_argument("--probe", required=True, metavar="JSON")
    video.add_argument("--annotated", help="'10-50;80-90' in frames, '1s-2s', or 'none'")
    video.add_argument("--out", required=True, metavar="PNG|SVG")
    video.set_defaults(run=_plot_video)

    heads = commands.add_parser("plot-heads", help="draw RSS, saliency and agreement of prompts")
    heads.add_argument("--experts", required=True, metavar="H5")
    heads.add_argument("--out-rss", required=True, metavar="SVG")
    heads.add_argument("--out-saliency", required=True, metavar="SVG")
    heads.add_argument("--out-agreement", required=True, metavar="SVG")
    heads.set_defaults(run=_plot_heads)

    features = commands.add_parser("plot-features", help="draw the features in two dimensions")
    features.add_argument("--features", required=True, nargs="+", metavar="H5")
    features.add_argument("--labels", nargs="*", default=[], metavar="LABEL")
    add_segment_labels(features)
    features.add_argument("--experts", required=True, metavar="H5")
    features.add_argument("--out", required=True, metavar="SVG")
    features.set_defaults(run=_plot_features)

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
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.artifacts import scores
    from hhvad.figures import plots
    from hhvad.files import read_json, read_tsv

    probe = read_json(arguments.probe)
    fps, n_frames = probe["fps"], probe["frames"]
    bounds, (score, smoothed) = scores.read_video(arguments.scores, ("score", "smoothed"))
    with artifacts.open_artifact(arguments.detector, "detector") as (_, provenance):
        locator = provenance["locator"]
    columns = ("start_seconds", "end_seconds")
    found = read_tsv(arguments.events_detected, columns)
    annotated = None
    if arguments.annotated is not None:
        events = sheet.parse_events(arguments.annotated, f"video {arguments.video}")
        annotated = [(s / fps, e / fps) for s, e in (event.frames(fps) for event in events)]
    figure = plots.video(
        arguments.video,
        bounds / fps,
        score,
        smoothed,
        tau=locator["tau"],
        duration=n_frames / fps,
        detected=[(float(row[columns[0]]), float(row[columns[1]])) for row in found],
        annotated=annotated,
        thumbnails=_thumbnails(arguments.path, n_frames, fps),
    )
    plots.save(figure, arguments.out)


def _thumbnails(path: str, n_frames: int, fps: float) -> list[tuple[float, NDArray[np.uint8]]]:
    """Small pictures at the centres of equal parts of the video, each from the key frame before."""
    import av

    from hhvad.errors import VideoError
    from hhvad.media import samplers as sampling

    pictures = []
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            start = stream.start_time or 0
            for index in sampling.uniform(0, n_frames, THUMBNAILS).tolist():
                time = index / fps
                if stream.time_base:
                    container.seek(int(time / stream.time_base) + start, stream=stream)
                frame = next(container.decode(stream), None)
                while (
                    frame is not None and frame.time is not None and frame.time < time - 0.5 / fps
                ):
                    frame = next(container.decode(stream), None)
                if frame is None:
                    continue
                height = max(2, round(240 * frame.height / frame.width))
                small = frame.reformat(width=240, height=height, format="rgb24")
                pictures.append((time, small.to_ndarray()))
    except (av.FFmpegError, IndexError) as error:
        raise VideoError(f"{path}: its thumbnails do not decode ({error})") from error
    return pictures


def _plot_heads(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.figures import plots

    file = artifacts.read(arguments.experts, "experts")
    experts = [(layer, head) for layer, head in file["experts"].tolist()]
    prompts = file.provenance["prompts"]
    plots.save(plots.rss(file["rss"], experts, file.arrays.get("selected")), arguments.out_rss)
    plots.save(plots.saliency(file["normalised"], prompts), arguments.out_saliency)
    figure = plots.agreement(file["normalised"], prompts, len(experts))
    plots.save(figure, arguments.out_agreement)


def _plot_features(arguments: argparse.Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.figures import plots

    heads = artifacts.read(arguments.experts, "experts", ("experts", "rss"))
    last, count = heads["rss"].shape
    whole = np.array([[last - 1, head] for head in range(count)])
    finite = np.isfinite(heads["rss"][last - 1])
    shown = []
    for chosen in (heads["experts"], whole[finite]):
        files = [artifacts.head_features(path, chosen) for path in arguments.features]
        values, labels, _ = samples(files, arguments)
        shown.append(values.reshape(len(values), -1).astype(np.float64))
    names = (f"{len(heads['experts'])} expert heads", f"all {finite.sum()} heads of the last layer")
    figure = plots.features(
        shown[0], shown[1], ["anomaly" if label else "normal" for label in labels], names
    )
    plots.save(figure, arguments.out)


def _plot_curves(arguments: argparse.Namespace) -> None:
    import numpy as np

    from hhvad import sheet
    from hhvad.artifacts import scores
    from hhvad.errors import SheetError
    from hhvad.figures import plots
    from hhvad.files import read_json
    from hhvad.localization import locator

    result = read_json(arguments.metrics)
    values, counts = [], []
    for video in sheet.read(arguments.sheet):
        if video.split != "test" or video.events is None:
            continue
        probe = read_json(Path(arguments.probes_folder) / f"{video.video}.json")
        file = Path(arguments.scores_folder) / f"{video.video}.tsv"
        bounds, (smoothed,) = scores.read_video(file, ("smoothed",))
        events = sheet.event_frames(video, probe["fps"], probe["frames"])
        values.append(smoothed)
        counts.append(locator.frame_counts(bounds, events))
    if not values:
        raise SheetError(f"{arguments.sheet}: no test video has an annotation: there is no curve")
    score, count = np.concatenate(values), np.concatenate(counts).astype(np.float64)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    fp, tp = np.cumsum(count[order], axis=0)[last].T
    share = tp[-1] / (tp[-1] + fp[-1])
    roc = plots.curve(
        np.append(0, fp / max(fp[-1], 1)),
        np.append(0, tp / max(tp[-1], 1)),
        label=_with_interval("AUC", result["metrics"]["auc"]),
        chance=None,
        names=("false positive rate of frames", "true positive rate of frames"),
        title="ROC over all annotated test frames",
    )
    plots.save(roc, arguments.out_roc)
    precision = tp / (tp + fp)
    pr = plots.curve(
        np.append(0, tp / max(tp[-1], 1)),
        np.append(precision[0], precision),
        label=_with_interval("AP", result["metrics"]["ap_step"]),
        chance=float(share),
        names=("recall of anomalous frames", "precision"),
        title="Precision and recall over all annotated test frames",
    )
    plots.save(pr, arguments.out_pr)


def _with_interval(name: str, metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return f"{name} undefined"
    text = f"{name} {100 * metric['value']:.1f} %"
    if metric.get("low") is not None:
        text += f" ({100 * metric['low']:.1f}-{100 * metric['high']:.1f})"
    return text
