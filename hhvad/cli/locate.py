"""Commands of rules/locate.smk: from scores to events, for every method alike."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.artifacts.probe import Probe
    from hhvad.artifacts.scores import Floats, Segments
    from hhvad.localization.locator import Locator
    from hhvad.records import Event


def add_commands(commands: Any) -> None:
    """Add calibrate-locator and localize-events."""
    p = commands.add_parser(
        "calibrate-locator",
        help="choose smoothing and threshold on validation videos",
        description="Choose the sigma and tau of largest frame-level F1 on validation videos. "
        "Without annotated events there, the given sigma and tau are taken.",
    )
    p.add_argument("--scores", nargs="*", required=True, metavar="TSV", help="validation videos'")
    p.add_argument("--probes", nargs="*", required=True, metavar="JSON", help="one per score file")
    p.add_argument(
        "--events",
        nargs="*",
        required=True,
        metavar="EVENTS",
        help="one per score file: '10-50;80-90' in frames, '0.5s-2s' in seconds, '' for none",
    )
    grid = ("FIRST", "LAST", "COUNT")
    p.add_argument("--sigmas", nargs=3, type=float, required=True, metavar=grid)
    p.add_argument(
        "--taus",
        nargs="+",
        required=True,
        metavar="exact|FIRST LAST COUNT",
        help="thresholds: exact is one between every two neighbouring smoothed scores",
    )
    p.add_argument("--border", choices=("renormalise", "zero"), required=True)
    p.add_argument("--passes", type=int, required=True, help="smoothings before measuring")
    p.add_argument("--tail", choices=("keep", "drop"), required=True, help="a shorter last segment")
    p.add_argument(
        "--causal", choices=("yes", "no"), required=True, help="smooth by the past alone"
    )
    p.add_argument("--calibrate", choices=("yes", "no"), required=True, help="no: as given")
    p.add_argument("--sigma", type=float, required=True, help="where nothing calibrates it")
    p.add_argument("--tau", type=float, required=True, help="where nothing calibrates it")
    p.add_argument("--out", required=True, metavar="JSON")
    p.set_defaults(run=_calibrate_locator)

    p = commands.add_parser(
        "localize-events",
        help="smooth a video's scores and cut out its events",
        description="Smooth a video's segment scores and report runs above the threshold.",
    )
    add_localization_arguments(p)
    p.set_defaults(run=_localize_events)


def add_localization_arguments(p: Any) -> None:
    """The files that localize-events and localize-alarms read and write."""
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--method", required=True, metavar="NAME")
    p.add_argument("--scores", required=True, metavar="TSV")
    p.add_argument("--locator", required=True, metavar="JSON")
    p.add_argument("--probe", required=True, metavar="JSON", help="what probe-video wrote")
    p.add_argument(
        "--started",
        metavar="TIME",
        help="when frame 0 was recorded, ISO 8601 in UTC; by default what the probe says",
    )
    p.add_argument("--out-scores", required=True, metavar="TSV")
    p.add_argument("--out-events", required=True, metavar="TSV")
    p.add_argument("--out-json", required=True, metavar="JSON")


def _calibrate_locator(arguments: Namespace) -> None:
    from hhvad.artifacts import probe, scores
    from hhvad.errors import ConfigError, SheetError
    from hhvad.files import write_json
    from hhvad.localization import locator
    from hhvad.records import Video
    from hhvad.sheet import event_frames, parse_events

    counts = [len(given) for given in (arguments.scores, arguments.probes, arguments.events)]
    if len(set(counts)) > 1:
        raise ConfigError(
            "--scores, --probes and --events need one value per validation video, but have "
            f"{counts[0]}, {counts[1]} and {counts[2]}"
        )
    sigmas = _grid(arguments.sigmas, "--sigmas")
    taus = None if arguments.taus == ["exact"] else _grid(arguments.taus, "--taus")
    given = locator.Locator(
        arguments.sigma,
        arguments.tau,
        arguments.border,
        how="fixed values",
        passes=arguments.passes,
        tail=arguments.tail,
        causal=arguments.causal == "yes",
    )
    values, labels, bounds = [], [], []
    for path, info, text in zip(arguments.scores, arguments.probes, arguments.events, strict=True):
        found = scores.read(path)
        probed = probe.read(info)
        require_fit(path, found.bounds, info, probed)
        video = Video(Path(path).stem, path, "validation", events=parse_events(text, path))
        try:
            intervals = event_frames(video, probed)
        except SheetError as error:
            raise SheetError(f"{path}: {error}") from error
        judged = given.judged(found.bounds)
        values.append(found.scores[:judged])
        bounds.append(found.bounds[:judged])
        labels.append(locator.frame_counts(bounds[-1], intervals))
    word, why = "note", "there are no annotated validation events"
    if arguments.calibrate == "no":
        why = "the config says not to calibrate"
    elif any(counts[:, 1].any() for counts in labels):
        try:
            best = locator.calibrate(
                values,
                labels,
                sigmas=sigmas,
                thresholds=taus,
                border=arguments.border,
                segments=bounds,
                causal=given.causal,
            )
        except locator.NothingFoundError as error:
            word, why = "warning", str(error)
        else:
            how = f"largest F1 on the events of {len(values)} validation videos"
            chosen = replace(
                given, sigma=best.sigma, tau=best.tau, calibrated=True, f1=best.f1, how=how
            )
            smoothed = map(chosen.smooth, values, bounds)
            if all(one.min() > best.tau for one in smoothed):
                print(
                    "hhvad: warning: no threshold is better than calling every frame anomalous: "
                    "these scores do not tell the validation events from the rest",
                    file=sys.stderr,
                )
            write_json(arguments.out, chosen.to_json())
            return
    print(
        f"hhvad: {word}: {why}: sigma {given.sigma} and tau {given.tau} are taken as given",
        file=sys.stderr,
    )
    write_json(arguments.out, given.to_json())


def _localize_events(arguments: Namespace) -> None:
    localize_events(arguments)


def localize_events(arguments: Namespace, camera: str | None = None) -> list[dict[str, Any]]:
    """Smooth a video's scores and write them and its events; the events as in the JSON file.

    arguments: those of the command. camera: whose threshold counts, by default the pooled one.
    Raises ArtifactError where the files do not fit each other.
    """
    from hhvad.artifacts import probe, scores
    from hhvad.localization import alarms, locator_file

    settings = locator_file.read(arguments.locator)
    found = scores.read(arguments.scores)
    info = with_start(probe.read(arguments.probe), arguments.started)
    require_fit(arguments.scores, found.bounds, arguments.probe, info)
    smoothed = settings.smooth(found.scores, found.bounds)
    hours = alarms.hours_of_day(found.bounds, info) if info.started else None
    taus = settings.taus(len(smoothed), camera, hours)
    events = settings.events(found.scores, found.bounds, camera, hours)
    return write_localization(arguments, settings, info, found, smoothed, taus, events)


def write_localization(
    arguments: Namespace,
    settings: Locator,
    info: Probe,
    found: Segments,
    smoothed: Floats,
    taus: Floats,
    events: Sequence[Event],
    *,
    ignored: Sequence[bool] | None = None,
    suppressed: Sequence[Mapping[str, Any]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Write a video's smoothed scores [T] and its events, above thresholds taus [T]; the events.

    ignored: which events are, where this can be; then taus are written, too. suppressed: the same
    as columns of their rows. about: what the JSON file says beside the events.
    """
    from hhvad.artifacts import scores
    from hhvad.files import write_json, write_tsv

    judged = settings.judged(found.bounds)
    header: tuple[str, ...] = (*scores.COLUMNS, "smoothed", "anomalous")
    values = zip(found.bounds.tolist(), found.scores.tolist(), smoothed.tolist(), strict=True)
    table: list[tuple[Any, ...]] = [
        (i, start, end, score, smooth, int(i < judged and smooth > tau))
        for i, (((start, end), score, smooth), tau) in enumerate(zip(values, taus, strict=True))
    ]
    if ignored is not None:
        header = (*header, "tau")
        table = [(*row, tau) for row, tau in zip(table, taus.tolist(), strict=True)]
    write_tsv(arguments.out_scores, header, table)
    columns = ["start_frame", "end_frame", "start_seconds", "end_seconds", "peak_score"]
    rows: list[dict[str, Any]] = [
        {
            "start_frame": event.start,
            "end_frame": event.end,
            "start_seconds": info.seconds(event.start),
            "end_seconds": info.times.until(event.end),
            "peak_score": event.peak,
        }
        for event in events
    ]
    if ignored is not None:
        columns.append("ignored")
        rows = [{**row, "ignored": int(one)} for row, one in zip(rows, ignored, strict=True)]
    if suppressed is not None:
        columns += ["suppressed", "cosine"]
        rows = [{**row, **one} for row, one in zip(rows, suppressed, strict=True)]
    write_tsv(
        arguments.out_events,
        ("video", *columns),
        [(arguments.video, *(row[name] for name in columns)) for row in rows],
    )
    if info.started:
        for row in rows:
            row["started_at"] = info.clock(row["start_seconds"])
    write_json(
        arguments.out_json,
        {
            "video": arguments.video,
            "fps": info.fps,
            "frames": info.frames,
            **({"damaged": info.damaged_seconds()} if info.damaged else {}),
            **({"started": info.started} if info.started else {}),
            "method": arguments.method,
            "locator": settings.to_json(),
            **(about or {}),
            "events": rows,
        },
    )
    return rows


def with_start(info: Probe, text: str | None) -> Probe:
    """The probe with the start that a file name gave, as ISO 8601, where it gave one."""
    from datetime import datetime

    from hhvad.clock import utc
    from hhvad.errors import ConfigError

    try:
        return info if text is None else replace(info, started=utc(datetime.fromisoformat(text)))
    except ValueError as error:
        raise ConfigError(f"--started is {text!r}; it is a time as ISO 8601") from error


def require_fit(path: str, bounds: Any, probe: str, info: Probe) -> None:
    """The scored segments must be those of the probed video: all that touch no damage."""
    from hhvad.artifacts.ranges import touches
    from hhvad.artifacts.scores import gaps
    from hhvad.errors import ArtifactError

    end = int(bounds[-1, 1])
    if end != info.frames and not touches(end, info.frames, info.damaged):
        raise ArtifactError(
            f"{path}: its segments end at frame {end}, but {probe} counts {info.frames}: "
            "the video has changed; delete both and rerun"
        )
    if not info.damaged:
        return
    unknown = [gap for gap in gaps(bounds, info.frames) if not touches(*gap, info.damaged)]
    invented = [(a, b) for a, b in bounds.tolist() if touches(a, b, info.damaged)]
    for start, end in unknown + invented:
        raise ArtifactError(
            f"{path}: frames {start}-{end} do not fit the damage that {probe} lists; delete the "
            "scores and rerun"
        )


def _grid(words: Sequence[float | str], flag: str) -> list[float]:
    import numpy as np

    from hhvad.errors import ConfigError

    try:
        first, last, count = map(float, words)
        fits = count == int(count) and count >= 1 and last >= first
    except (ValueError, OverflowError):
        fits = False
    if not fits:
        raise ConfigError(f"{flag} is {words}; it is FIRST LAST COUNT, FIRST not above LAST")
    return [float(value) for value in np.linspace(first, last, int(count))]
