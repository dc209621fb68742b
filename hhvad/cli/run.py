"""Around a run: check the config beforehand, list what failed, print the headline afterwards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add check-config, check-annotations, list-failures and show-results."""
    check = commands.add_parser(
        "check-config", help="check config, prompts and sheet without running anything"
    )
    check.add_argument("--config", required=True, help="config.yaml")
    check.add_argument("--schemas", default="workflow/schemas", help="folder of the schemas")
    check.set_defaults(run=_check_config)

    events = commands.add_parser(
        "check-annotations", help="check that every annotated event lies inside its video"
    )
    events.add_argument("--sheet", required=True)
    events.add_argument("--split", required=True, choices=("validation", "test"))
    events.add_argument("--probes-folder", required=True, help="folder with VIDEO.json")
    events.add_argument("--out", required=True, help="TSV: video, label, frames, fps, events")
    events.set_defaults(run=_check_annotations)

    labels = commands.add_parser(
        "label-segments",
        help="label the segments of calibration videos by their annotated events",
        description="A segment is an anomaly where at least half of it is annotated, normal where "
        "nothing of it is, and left out in between.",
    )
    labels.add_argument("--sheet", required=True)
    labels.add_argument("--probes-folder", required=True, help="folder with VIDEO.json")
    labels.add_argument("--segment-length", type=int, default=48, metavar="FRAMES")
    labels.add_argument("--out", required=True, help="TSV: video, start_frame, end_frame, label")
    labels.set_defaults(run=_label_segments)

    failures = commands.add_parser("list-failures", help="list the jobs whose log ends in an error")
    failures.add_argument("--logs", required=True, help="folder of the jobs' logs")
    failures.add_argument(
        "--since", type=float, default=0.0, help="only logs changed since (epoch)"
    )
    failures.set_defaults(run=_list_failures)

    show = commands.add_parser("show-results", help="print the headline table of a finished run")
    show.add_argument("--metrics", required=True, help="metrics JSON of report-metrics")
    show.add_argument("--events-folder", required=True, help="folder with VIDEO.tsv")
    show.add_argument("--report", help="page to name at the end")
    show.set_defaults(run=_show_results)


def load_study(
    path: str, schemas: str | Path
) -> tuple[dict[str, Any], dict[str, Any], list[Any], list[str]]:
    """The checked config, prompts, videos and notes, as the Snakefile sees them."""
    from hhvad import config as settings
    from hhvad import sheet

    folder = Path(schemas)
    schema = settings.read_yaml(folder / "config.schema.yaml")
    config = settings.validate(settings.read_yaml(path), schema, path)
    schema = settings.read_yaml(folder / "prompts.schema.yaml")
    prompts = settings.validate(settings.read_yaml(config["prompts"]), schema, config["prompts"])
    videos = sheet.read(config["videos"])
    return config, prompts, videos, list(settings.check(config, prompts, videos))


def _check_config(arguments: argparse.Namespace) -> None:
    config, prompts, videos, notes = load_study(arguments.config, arguments.schemas)
    missing = [v for v in videos if not Path(v.path).exists()]
    for note in notes:
        print(f"note: {note}")
    for video in missing:
        print(f"note: {video.video}: there is no file {video.path}")
    print(
        f"{arguments.config}: {len(videos)} videos ({len(missing)} without a file), "
        f"{len(prompts['prompts'])} prompts, model {config['model']['name']}: fine"
    )


def _check_annotations(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.files import read_json, write_tsv

    rows = []
    for video in sheet.read(arguments.sheet):
        if video.split != arguments.split or video.events is None:
            continue
        probe = read_json(Path(arguments.probes_folder) / f"{video.video}.json")
        events = sheet.event_frames(video, probe["fps"], probe["frames"])
        text = ";".join(f"{start}-{end}" for start, end in events)
        rows.append((video.video, video.label, probe["frames"], probe["fps"], text))
    write_tsv(arguments.out, ("video", "label", "frames", "fps", "events"), rows)


def _label_segments(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.files import read_json, write_tsv
    from hhvad.localization import locator
    from hhvad.media import samplers as sampling

    rows = []
    for video in sheet.read(arguments.sheet):
        if video.split != "calibration":
            continue
        probe = read_json(Path(arguments.probes_folder) / f"{video.video}.json")
        events = sheet.event_frames(video, probe["fps"], probe["frames"])
        cuts = sampling.segments(probe["frames"], arguments.segment_length)
        for cut, (negative, positive) in zip(cuts, locator.frame_counts(cuts, events), strict=True):
            if positive >= negative or not positive:
                rows.append((video.video, *cut, "anomaly" if positive else "normal"))
    write_tsv(arguments.out, ("video", "start_frame", "end_frame", "label"), rows)


def _list_failures(arguments: argparse.Namespace) -> None:
    root = Path(arguments.logs)
    failures: dict[str, list[str]] = {}
    for log in sorted(root.rglob("*.log")):
        if log.stat().st_mtime < arguments.since:
            continue
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines and lines[-1].startswith("hhvad: error:"):
            message = lines[-1].removeprefix("hhvad: error:").strip()
        elif any(line.startswith("Traceback (most recent call last)") for line in lines):
            message = f"a bug of ours: {lines[-1]} (the whole story is in the log)"
        else:
            continue
        failures.setdefault(message, []).append(str(log.relative_to(root).with_suffix("")))
    if not failures:
        print("No job left an error line: see Snakemake's own message above.", file=sys.stderr)
        return
    count = sum(map(len, failures.values()))
    print(f"\n{count} failed; nothing was invented for what they lack:", file=sys.stderr)
    for message, (first, *others) in failures.items():
        more = f" and {len(others)} more" if others else ""
        print(f"  {first}{more}: {message}", file=sys.stderr)


def _show_results(arguments: argparse.Namespace) -> None:
    from hhvad.files import read_json, read_tsv

    result = read_json(arguments.metrics)
    rows = [("", "value", "95 % interval")]
    for key, title in (
        ("auc", "frame AUC"),
        ("auc_abnormal", "frame AUC, abnormal videos only"),
        ("ap_step", "average precision"),
        ("ap_trapezoid", "area under precision-recall"),
    ):
        metric = result["metrics"][key]
        low, high = metric.get("low"), metric.get("high")
        value = "undefined" if metric["value"] is None else f"{100 * metric['value']:.2f} %"
        interval = "" if low is None else f"{100 * low:.2f} - {100 * high:.2f}"
        rows.append((title, value, interval))
    files = sorted(Path(arguments.events_folder).glob("*.tsv"))
    counts = [len(read_tsv(file)) for file in files]
    found = f"in {sum(1 for n in counts if n)} of {len(files)} test videos"
    rows.append(("events found", str(sum(counts)), found))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print()
    for title, value, interval in rows:
        print(f"  {title:<{widths[0]}}  {value:>{widths[1]}}  {interval}".rstrip())
    if arguments.report:
        print(f"\nReport: {arguments.report}")
