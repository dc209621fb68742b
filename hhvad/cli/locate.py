"""Commands of stage detect: scores of segments, the locator, events."""

from __future__ import annotations

import sys
from argparse import Namespace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hhvad.artifacts.hdf5 import Artifact

SCORE_COLUMNS = ("segment", "start_frame", "end_frame", "score")
SAME_MODEL = ("model", "revision", "fingerprint", "dtype", "prompt", "prompt_text")


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
    p = commands.add_parser(
        "score-video",
        help="the probability of anomaly of each segment",
        description="Apply the scorer to the experts' features of each segment of a video.",
    )
    p.add_argument("--features", required=True, metavar="H5")
    p.add_argument("--scorer", required=True, metavar="H5")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_video)

    p = commands.add_parser(
        "calibrate-locator",
        help="choose smoothing and threshold; the result is the detector",
        description="Choose the sigma and tau of largest frame-level F1 on validation videos. "
        "Without annotated events there, the fixed values are taken.",
    )
    p.add_argument("--scorer", required=True, metavar="H5")
    p.add_argument("--scores", nargs="*", default=[], metavar="TSV", help="one a validation video")
    p.add_argument("--probes", nargs="*", default=[], metavar="JSON", help="one a scores file")
    p.add_argument(
        "--events",
        nargs="*",
        default=[],
        metavar="EVENTS",
        help="one a scores file: '10-50;80-90' in frames, '0.5s-2s' in seconds, '' for none",
    )
    grid = ("FIRST", "LAST", "COUNT")
    p.add_argument("--sigmas", nargs=3, type=float, default=[0.5, 3.0, 11], metavar=grid)
    p.add_argument("--thresholds", nargs=3, type=float, default=[0.1, 0.9, 81], metavar=grid)
    p.add_argument("--border", choices=("renormalise", "zero"), default="renormalise")
    p.add_argument("--fixed-sigma", type=float, default=1.5)
    p.add_argument("--fixed-tau", type=float, default=0.65)
    p.add_argument("--out", required=True, metavar="H5")
    p.add_argument("--summary", metavar="JSON")
    p.set_defaults(run=_calibrate_locator)

    p = commands.add_parser(
        "localize-events",
        help="smooth a video's scores and cut out its events",
        description="Smooth a video's segment scores and report runs above the threshold.",
    )
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--scores", required=True, metavar="TSV")
    p.add_argument("--detector", required=True, metavar="H5")
    p.add_argument("--probe", required=True, metavar="JSON", help="what probe-video wrote")
    p.add_argument("--out-scores", required=True, metavar="TSV")
    p.add_argument("--out-events", required=True, metavar="TSV")
    p.add_argument("--out-json", required=True, metavar="JSON")
    p.set_defaults(run=_localize_events)


def _score_video(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.files import write_tsv
    from hhvad.methods.headhunt.scorer import Scorer

    fitted = artifacts.read(arguments.scorer, "scorer")
    features = artifacts.head_features(arguments.features, fitted["experts"])
    artifacts.require_same([fitted, features], SAME_MODEL)
    _require_same_frames(fitted, features)
    scorer = Scorer.from_arrays(fitted.provenance["kind"], fitted.arrays)
    scores = scorer.predict_proba(features["features"]).tolist()
    rows = [
        (index, start, end, score)
        for index, ((start, end), score) in enumerate(
            zip(features["segments"].tolist(), scores, strict=True)
        )
    ]
    write_tsv(arguments.out, SCORE_COLUMNS, rows)


def _calibrate_locator(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.errors import ConfigError, SheetError
    from hhvad.files import write_json
    from hhvad.localization import locator
    from hhvad.records import Video
    from hhvad.sheet import event_frames, parse_events

    counts = [len(given) for given in (arguments.scores, arguments.probes, arguments.events)]
    if len(set(counts)) > 1:
        raise ConfigError(
            "--scores, --probes and --events need one value a validation video, but have "
            f"{counts[0]}, {counts[1]} and {counts[2]}"
        )
    scores, labels = [], []
    annotated = False
    for path, probe, text in zip(arguments.scores, arguments.probes, arguments.events, strict=True):
        segments, values = _read_scores(path)
        fps, n_frames = _read_probe(probe, path, segments)
        video = Video(_stem(path), path, "validation", events=parse_events(text, path))
        try:
            intervals = event_frames(video, float(fps), n_frames)
        except SheetError as error:
            raise SheetError(f"{path}: {error}") from error
        scores.append(values)
        labels.append(locator.frame_counts(segments, intervals))
        annotated = annotated or bool(intervals)
    found: dict[str, Any] = {
        "sigma": arguments.fixed_sigma,
        "tau": arguments.fixed_tau,
        "border": arguments.border,
        "calibrated": annotated,
        "f1": None,
        "videos": len(scores),
    }
    if annotated:
        best = locator.calibrate(
            scores,
            labels,
            sigmas=_grid(arguments.sigmas, "--sigmas"),
            thresholds=_grid(arguments.thresholds, "--thresholds"),
            border=arguments.border,
        )
        found.update(best._asdict())
    else:
        print(
            f"hhvad: note: no annotated validation events; sigma {arguments.fixed_sigma} and tau "
            f"{arguments.fixed_tau} are taken as given",
            file=sys.stderr,
        )
    fitted = artifacts.read(arguments.scorer, "scorer")
    provenance = {**fitted.provenance, "locator": found}
    artifacts.write(arguments.out, "detector", fitted.arrays, provenance)
    if arguments.summary:
        write_json(arguments.summary, found)


def _localize_events(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.files import write_json, write_tsv
    from hhvad.localization import locator

    with artifacts.open_artifact(arguments.detector, "detector") as (_, provenance):
        settings = provenance["locator"]
    segments, scores = _read_scores(arguments.scores)
    fps, n_frames = _read_probe(arguments.probe, arguments.scores, segments)
    smoothed = locator.smooth(scores, settings["sigma"], settings["border"])
    events = locator.events(smoothed, settings["tau"], segments)
    rows = zip(segments.tolist(), scores.tolist(), smoothed.tolist(), strict=True)
    write_tsv(
        arguments.out_scores,
        (*SCORE_COLUMNS, "smoothed", "anomalous"),
        [
            (i, start, end, score, smooth, int(smooth > settings["tau"]))
            for i, ((start, end), score, smooth) in enumerate(rows)
        ],
    )
    found = [
        {
            "start_frame": event.start,
            "end_frame": event.end,
            "start_seconds": float(event.start / fps),
            "end_seconds": float(event.end / fps),
            "peak_score": event.peak,
        }
        for event in events
    ]
    columns = ("start_frame", "end_frame", "start_seconds", "end_seconds", "peak_score")
    write_tsv(
        arguments.out_events,
        ("video", *columns),
        [(arguments.video, *(event[name] for name in columns)) for event in found],
    )
    write_json(
        arguments.out_json,
        {
            "video": arguments.video,
            "fps": float(fps),
            "frames": n_frames,
            "detector": {
                **{key: provenance[key] for key in SAME_MODEL if key in provenance},
                "locator": settings,
            },
            "events": found,
        },
    )


def _require_same_frames(fitted: Artifact, features: Artifact) -> None:
    """Calibration and online frames may differ in their view, but not in number and size."""
    from hhvad.errors import ArtifactError

    theirs = fitted.provenance.get("sampling", {})
    for key, value in features.provenance.get("sampling", {}).items():
        if key != "segment_length" and key in theirs and theirs[key] != value:
            raise ArtifactError(
                f"{features.path}: sampling {key} is {value!r}, but {fitted.path} has "
                f"{theirs[key]!r}: they cannot be used together; delete the older one and rerun"
            )


def _read_scores(path: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Segments [T, 2] in frames and their scores [T] of a score file."""
    import numpy as np

    from hhvad.errors import ArtifactError
    from hhvad.files import read_tsv

    rows = read_tsv(path, SCORE_COLUMNS)
    if not rows:
        raise ArtifactError(f"{path}: it holds no scores; delete it and rerun")
    try:
        segments = [(int(row["start_frame"]), int(row["end_frame"])) for row in rows]
        scores = np.array([float(row["score"]) for row in rows])
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}; delete it and rerun") from error
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ArtifactError(f"{path}: the score of segment {bad[0]} is not finite; rerun its step")
    return np.array(segments, dtype=np.int64), scores


def _read_probe(path: str, scores: str, segments: NDArray[np.int64]) -> tuple[Fraction, int]:
    """Frame rate and number of frames, which must be those of the scored segments."""
    from hhvad.errors import ArtifactError
    from hhvad.files import read_json

    probe = read_json(path)
    try:
        fps, frames = Fraction(probe["fps_fraction"]), int(probe["frames"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ArtifactError(f"{path}: fps_fraction or frames is absent or bad; rerun") from error
    if fps <= 0:
        raise ArtifactError(f"{path}: fps_fraction is {fps}; it must be greater than 0")
    if int(segments[-1, 1]) != frames:
        raise ArtifactError(
            f"{scores}: its segments end at frame {segments[-1, 1]}, but {path} counts {frames}: "
            "the video has changed; delete both and rerun"
        )
    return fps, frames


def _grid(values: list[float], flag: str) -> list[float]:
    import numpy as np

    from hhvad.errors import ConfigError

    first, last, count = values
    if count != int(count) or count < 1 or last < first:
        raise ConfigError(f"{flag} is {values}; it is FIRST LAST COUNT, FIRST not above LAST")
    return [float(value) for value in np.linspace(first, last, int(count))]


def _stem(path: str) -> str:
    from pathlib import Path

    return Path(path).stem
