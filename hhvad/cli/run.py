"""Around a run: check the config beforehand, list what failed, print the headline afterwards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add this file's commands."""
    check = commands.add_parser(
        "check-config", help="check config, prompts and sheet without running anything"
    )
    check.add_argument("--config", required=True, metavar="YAML")
    check.add_argument(
        "--deep", action="store_true", help="open the checkpoints too: seconds per model"
    )
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
    labels.add_argument("--segment-length", type=int, required=True, metavar="FRAMES")
    labels.add_argument("--out", required=True, help="TSV: video, start_frame, end_frame, label")
    labels.set_defaults(run=_label_segments)

    failures = commands.add_parser("list-failures", help="list the jobs whose log ends in an error")
    failures.add_argument("--logs", required=True, help="folder of the jobs' logs")
    failures.add_argument(
        "--since", type=float, default=0.0, help="only logs changed since (epoch)"
    )
    failures.set_defaults(run=_list_failures)

    show = commands.add_parser("show-results", help="print what a study's run has found")
    show.add_argument("--config", required=True, metavar="YAML")
    show.add_argument("--report", help="page to name at the end")
    show.set_defaults(run=_show_results)

    reference = commands.add_parser(
        "write-reference", help="write the JSON schemas and the table of keys from the code"
    )
    reference.add_argument("--root", required=True, metavar="DIR", help="the project")
    reference.add_argument("--check", action="store_true", help="only say what differs")
    reference.set_defaults(run=_write_reference)


def _check_config(arguments: argparse.Namespace) -> None:
    from hhvad.study import Study

    study = Study.read(arguments.config)
    for note in study.notes:
        print(f"note: {note}")
    missing = [
        video
        for video in study.videos.values()
        if not study.is_demo(video) and not Path(video.path).exists()
    ]
    for video in missing:
        print(f"note: {video.video}: there is no file {video.path}")
    if arguments.deep:
        from hhvad.mllm.check import check_model

        for name in study.multimodal:
            check_model(study.models[name].path, **study.check_of(name))
    methods = ", ".join(f"{name} ({method.kind})" for name, method in study.methods.items())
    print(
        f"{arguments.config}: study {study.name}, {len(study.videos)} videos ({len(missing)} "
        f"without a file), methods {methods}: fine"
    )


def _write_reference(arguments: argparse.Namespace) -> None:
    from hhvad import reference

    for path in reference.stale(Path(arguments.root), fix=not arguments.check):
        print(f"{path}: {'differs from the code' if arguments.check else 'written'}")


def _check_annotations(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.artifacts import probe
    from hhvad.files import write_tsv

    rows = []
    for video in sheet.read(arguments.sheet):
        if video.split != arguments.split or video.events is None:
            continue
        info = probe.read(Path(arguments.probes_folder) / f"{video.video}.json")
        events = sheet.event_frames(video, info)
        text = ";".join(f"{start}-{end}" for start, end in events)
        rows.append((video.video, video.label, info.frames, info.fps, text))
    write_tsv(arguments.out, ("video", "label", "frames", "fps", "events"), rows)


def _label_segments(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.artifacts import probe
    from hhvad.files import write_tsv
    from hhvad.localization import locator
    from hhvad.media import samplers as sampling

    rows = []
    for video in sheet.read(arguments.sheet):
        if video.split != "calibration":
            continue
        info = probe.read(Path(arguments.probes_folder) / f"{video.video}.json")
        events = sheet.event_frames(video, info)
        cuts = sampling.undamaged(
            sampling.segments(info.frames, arguments.segment_length), info.damaged
        )
        counts = locator.frame_counts(cuts, events)
        for cut, (negative, positive) in zip(cuts.tolist(), counts, strict=True):
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
    print(f"\n{count} jobs failed; their outputs were not written:", file=sys.stderr)
    for message, (first, *others) in failures.items():
        more = f" and {len(others)} more" if others else ""
        print(f"  {first}{more}: {message}", file=sys.stderr)


def _show_results(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from hhvad.study import Study
    from hhvad.summary import summarise

    console = Console(soft_wrap=True, highlight=False)
    for part in summarise(Study.read(arguments.config)):
        console.print(part)
    if arguments.report:
        console.print(f"Report: {arguments.report}")
