"""Events out to annotation tools, and what people made of them there back into the sheet."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from hhvad import registry
from hhvad.cli.viewer import add_changes, change_sheet
from hhvad.viewer import EXPORTS, GROUP


def add_commands(commands: Any) -> None:
    """Add export-events and import-annotations."""
    p = commands.add_parser(
        "export-events",
        help="write the events of a method for an annotation tool",
        description="Write the events of a method as Label Studio tasks, a FiftyOne data set or "
        "WebVTT subtitles (docs/viewer.md).",
    )
    p.add_argument("--to", choices=registry.names(EXPORTS, GROUP), required=True)
    p.add_argument("--sheet", required=True, metavar="TSV")
    p.add_argument("--results", required=True, type=Path, metavar="DIR", help="the study's results")
    p.add_argument("--method", required=True)
    p.add_argument("--out", required=True, type=Path, metavar="DIR")
    p.set_defaults(run=_export_events)

    p = commands.add_parser(
        "import-annotations",
        help="turn corrected events into rows of the sheet",
        description="A video with one submitted annotation gets its label, its events, and a split "
        "to calibrate on. Each change is printed; rows that have a label or are no test rows stay "
        "as they are without --replace.",
    )
    p.add_argument("export", metavar="FILE", help="the tool's export")
    p.add_argument("--from", dest="source", choices=("label-studio",), required=True)
    p.add_argument("--results", required=True, type=Path, metavar="DIR", help="the study's results")
    add_changes(p)
    p.set_defaults(run=_import_annotations)


def _export_events(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.viewer import exports

    write = registry.load(EXPORTS, arguments.to, GROUP, "export")
    found = exports.read(arguments.results, sheet.read(arguments.sheet), arguments.method)
    write(found, arguments.out)
    print(f"{arguments.out}: {sum(len(o.events) for o in found)} events of {len(found)} videos")


def _import_annotations(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.artifacts import probe
    from hhvad.errors import AnnotationError
    from hhvad.viewer import label_studio, marks

    rows = {video.video: video for video in sheet.read(arguments.sheet)}

    def probe_of(video: str) -> probe.Probe:
        if video not in rows:
            raise AnnotationError(
                f"{arguments.export}: video {video!r} has no row in {arguments.sheet}; give the "
                "sheet of the study that was annotated"
            )
        return probe.read(arguments.results / "probe" / f"{video}.json")

    decisions = []
    for video, said in label_studio.read(arguments.export, probe_of).items():
        if isinstance(said, str):
            print(f"{video}: left as it is: {said}")
        else:
            decisions.append(marks.change(rows[video], said, arguments.split, arguments.replace))
    change_sheet(arguments.sheet, decisions, arguments.dry_run)
