"""Commands of rules/alarms.smk: thresholds from a budget, and the events that are shown."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hhvad.artifacts.scores import Segments
    from hhvad.localization.budget import Footage
    from hhvad.localization.locator import Locator


def add_commands(commands: Any) -> None:
    """Add calibrate-budget and localize-alarms."""
    from hhvad.records import ONE_CAMERA

    p = commands.add_parser(
        "calibrate-budget",
        help="choose each camera's threshold for a number of alarms a day",
        description="Choose each camera's threshold for a number of alarms a day, from scores of "
        "ordinary footage without labels. Works on scores of any method: files of one video, or "
        "of many with a column video.",
    )
    p.add_argument("scores", nargs="+", metavar="SCORES", help="TSV files of reference footage")
    p.add_argument("--alarms-per-day", type=float, required=True, metavar="N")
    times = p.add_mutually_exclusive_group(required=True)
    times.add_argument("--probes", nargs="+", metavar="JSON", help="one per score file")
    times.add_argument("--fps", type=float, help="frames a second of all videos")
    p.add_argument(
        "--cameras", nargs="+", metavar="ID", help="one per score file; else all are one"
    )
    p.add_argument(
        "--started", nargs="+", metavar="TIME", help="one per probe: ISO 8601, or unknown"
    )
    p.add_argument("--window", type=float, default=3600.0, metavar="SECONDS", help="default 3600")
    p.add_argument("--drop-top", type=int, default=0, metavar="K", help="default 0")
    p.add_argument("--pool", choices=("camera", "all", "shrink"), default="shrink")
    p.add_argument("--by", choices=("none", "hour-of-day"), default="none")
    p.add_argument("--border", choices=("renormalise", "zero"), default="renormalise")
    p.add_argument("--passes", type=int, default=1, help="smoothings before measuring")
    p.add_argument("--tail", choices=("keep", "drop"), default="keep")
    p.add_argument("--causal", choices=("yes", "no"), default="no", help="smooth by the past alone")
    p.add_argument("--sigma", type=float, default=0.5, help="smoothing in segments, default 0.5")
    p.add_argument("--tau", type=float, default=0.5, help="without a window; default 0.5")
    p.add_argument("--out", metavar="JSON", help="write the locator")
    p.set_defaults(run=_calibrate_budget, one_camera=ONE_CAMERA)

    from hhvad.cli.locate import add_localization_arguments

    p = commands.add_parser(
        "localize-alarms",
        help="cut out the events of a video by its camera's threshold and settings",
        description="As localize-events, with the threshold of the video's camera, and with events "
        "that are merged, dropped, padded, prolonged or ignored.",
    )
    add_localization_arguments(p)
    p.add_argument("--camera", required=True, metavar="ID")
    p.add_argument("--merge-gap", type=float, required=True, metavar="SECONDS")
    p.add_argument("--min-duration", type=float, required=True, metavar="SECONDS")
    p.add_argument("--pad", type=float, required=True, metavar="SECONDS")
    p.add_argument("--low", type=_score_or_none, required=True, metavar="SCORE|none")
    p.add_argument("--ignore-hours", nargs="*", required=True, metavar="22-6", help="UTC")
    p.add_argument("--marks", metavar="H5", help="from learn-marks: what suppresses events")
    p.add_argument("--features", metavar="H5", help="with --marks: the video's capture")
    p.add_argument("--scorer", metavar="H5", help="with --marks: whose experts are compared")
    p.add_argument("--similarity", type=float, default=0.93, metavar="COSINE", help="with --marks")
    p.set_defaults(run=_localize_alarms)


def _score_or_none(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise ArgumentTypeError(f"it is {text!r}; a number or none") from None


def _note(text: str) -> None:
    print(f"hhvad: note: {text}", file=sys.stderr)


def _calibrate_budget(arguments: Namespace) -> None:
    from dataclasses import replace

    from hhvad.files import write_json
    from hhvad.localization import budget
    from hhvad.localization.locator import Locator

    wanted = budget.Budget(
        arguments.alarms_per_day,
        arguments.window,
        arguments.drop_top,
        arguments.pool,
        arguments.by == "hour-of-day",
    )
    smoothing = Locator(
        arguments.sigma,
        arguments.tau,
        arguments.border,
        passes=arguments.passes,
        tail=arguments.tail,
        causal=arguments.causal == "yes",
    )
    reference: dict[str, list[tuple[tuple[str, str], Footage]]] = {}
    for camera, order, footage in _reference(arguments, smoothing):
        reference.setdefault(camera, []).append((order, footage))
    found = budget.calibrate(
        {
            camera: [one for _, one in sorted(videos, key=lambda pair: pair[0])]
            for camera, videos in reference.items()
        },
        wanted,
        fixed=arguments.tau,
    )
    for camera, one in found.cameras.items():
        if one.note:
            _note(f"camera {camera}: {one.note}")
    how = (
        f"a budget of {wanted.alarms_per_day:g} alarms a day and camera, windows of "
        f"{wanted.window:g} s, pool {wanted.pool}"
        + (", by hour of the day" if wanted.by_hour else "")
        + (f", without the {wanted.drop_top} largest maxima" if wanted.drop_top else "")
    )
    chosen = replace(
        smoothing,
        tau=found.pooled.tau,
        calibrated=found.pooled.rule != "fixed",
        how=how,
        budget=found,
    )
    if arguments.out:
        write_json(arguments.out, chosen.to_json())
    for camera, text in found.lines():
        print(f"{camera}: {text}")


def _reference(
    arguments: Namespace, smoothing: Locator
) -> Iterator[tuple[str, tuple[str, str], Footage]]:
    """Camera, place in time (start of the recording, name) and footage of each reference video."""
    import numpy as np

    from hhvad.artifacts import probe
    from hhvad.cli.locate import require_fit, with_start
    from hhvad.errors import ConfigError
    from hhvad.localization import alarms
    from hhvad.localization.budget import Footage

    files = arguments.scores
    one_each = ("probes", "cameras", "started")
    for flag, given in ((f"--{name}", getattr(arguments, name)) for name in one_each):
        if given is not None and len(given) != len(files):
            raise ConfigError(f"{flag} has {len(given)} values for {len(files)} score files")
    if arguments.fps is not None and not (np.isfinite(arguments.fps) and arguments.fps > 0):
        raise ConfigError(f"--fps is {arguments.fps}; it is above 0")
    if arguments.fps is not None and arguments.by == "hour-of-day":
        raise ConfigError("--by hour-of-day needs --probes: frames a second tell no wall clock")
    cameras = arguments.cameras or [arguments.one_camera] * len(files)
    for i, (path, camera) in enumerate(zip(files, cameras, strict=True)):
        for name, found in _videos(path).items():
            count = smoothing.judged(found.bounds)
            smoothed = smoothing.smooth(found.scores, found.bounds)[:count]
            bounds = found.bounds[:count]
            if arguments.probes is None:
                seconds = np.diff(bounds, axis=1)[:, 0] / arguments.fps
                yield camera, ("", name), Footage(smoothed, seconds)
                continue
            started = arguments.started[i] if arguments.started else "unknown"
            info = probe.read(arguments.probes[i])
            info = with_start(info, None if started == "unknown" else started)
            require_fit(path, found.bounds, arguments.probes[i], info)
            if arguments.by == "hour-of-day" and info.started is None:
                raise ConfigError(
                    f"{arguments.probes[i]}: the wall clock of this video is not known, which "
                    "`by: hour-of-day` needs; leave the key out, or see docs/video.md"
                )
            hours = alarms.hours_of_day(bounds, info) if info.started else None
            seconds = alarms.footage_seconds(bounds, info)
            yield camera, (info.started or "", name), Footage(smoothed, seconds, hours)


def _videos(path: str) -> dict[str, Segments]:
    """The segments of each video of a score file, in order."""
    import numpy as np

    from hhvad.artifacts import scores
    from hhvad.errors import AnnotationError
    from hhvad.files import read_text

    header = (read_text(path).splitlines() or [""])[0].split("\t")
    found = scores.read_many(path) if "video" in header else {Path(path).stem: scores.read(path)}
    videos = {}
    for name, one in found.items():
        order = np.argsort(one.bounds[:, 0], kind="stable")
        bounds, values = one.bounds[order], one.scores[order]
        wrong = (bounds[:, 1] <= bounds[:, 0]).any() or (bounds[1:, 0] < bounds[:-1, 1]).any()
        if wrong or not np.isfinite(values).all():
            raise AnnotationError(
                f"{path}: video {name}: segments are empty or overlap, or a score is not finite; "
                "correct the file"
            )
        videos[name] = scores.Segments(bounds, values)
    return videos


def _localize_alarms(arguments: Namespace) -> None:
    from hhvad.artifacts import probe, scores
    from hhvad.cli import marks
    from hhvad.cli.locate import require_fit, with_start, write_localization
    from hhvad.localization import alarms, locator_file

    settings = locator_file.read(arguments.locator)
    found = scores.read(arguments.scores)
    info = with_start(probe.read(arguments.probe), arguments.started)
    require_fit(arguments.scores, found.bounds, arguments.probe, info)
    camera = arguments.camera
    hours = alarms.hours_of_day(found.bounds, info) if info.started else None
    ignored = alarms.parse_hours(arguments.ignore_hours, "--ignore-hours")
    notes = []
    if settings.budget is not None and not settings.budget.knows(camera):
        notes.append(settings.budget.unknown(camera))
    by_hour = settings.budget is not None and settings.budget.of(camera).by_hour
    if hours is None and (ignored or by_hour):
        notes.append("its wall clock is not known: thresholds and ignored hours do not apply")
    shape = alarms.Shape(arguments.merge_gap, arguments.min_duration, arguments.pad, arguments.low)
    smoothed = settings.smooth(found.scores, found.bounds)
    taus = settings.taus(len(smoothed), camera, hours)
    judged = settings.judged(found.bounds)
    events = shape.events(smoothed[:judged], taus[:judged], found.bounds[:judged], info)
    words = [shape.words(), f"ignored hours {' '.join(arguments.ignore_hours)}" if ignored else ""]
    suppressed = None
    if arguments.marks:
        suppressed, said = marks.judge(arguments, events)
        notes += said
        words.append(f"without those suppressed by marks (similarity {arguments.similarity:g})")
    for note in notes:
        _note(f"{arguments.video}: {note}")
    write_localization(
        arguments,
        settings,
        info,
        found,
        smoothed,
        taus,
        events,
        ignored=[alarms.is_ignored(event, info, ignored) for event in events],
        suppressed=suppressed,
        about={
            "camera": camera,
            "threshold": None if settings.budget is None else settings.budget.of(camera).words(),
            "alarms": ", ".join(filter(None, words)),
            "notes": notes,
        },
    )
