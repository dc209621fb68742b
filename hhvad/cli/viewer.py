"""The page on which a person sees what was found, and what becomes of the person's marks."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.viewer.marks import Decision


def add_commands(commands: Any) -> None:
    """Add this file's commands."""
    build = commands.add_parser(
        "build-viewer",
        help="write the page that shows events, videos, curves and metrics",
        description="Write the viewer's page, its data beside it, and the events of the study as "
        "events.csv and events.json. What a study does not have is left out of the page.",
    )
    build.add_argument("--sheet", required=True, metavar="TSV")
    build.add_argument("--results", required=True, metavar="DIR", help="the study's results")
    build.add_argument("--study", required=True, metavar="NAME", help="the title of the page")
    build.add_argument(
        "--methods", required=True, nargs="+", metavar="METHOD", help="the first is shown first"
    )
    build.add_argument("--described", metavar="METHOD", help="whose events have descriptions")
    build.add_argument("--masks", metavar="YAML", help="what was hidden from the models")
    build.add_argument(
        "--video-root", required=True, metavar="DIR", help="where the sheet's paths start"
    )
    build.add_argument("--out", required=True, metavar="HTML")
    build.set_defaults(run=_build_viewer)

    marks = commands.add_parser(
        "add-marks",
        help="turn marks of the viewer into rows of the sheet",
        description="A video whose events are all marked true or false gets a label, the events "
        "marked true, and a split to calibrate on. Each change is printed; rows that have a label "
        "or are no test rows stay as they are without --replace.",
    )
    marks.add_argument("marks", metavar="TSV", help="exported by the viewer")
    add_changes(marks)
    marks.set_defaults(run=_add_marks)


def add_changes(parser: Any) -> None:
    """The options of commands that turn what people said into rows of the sheet."""
    parser.add_argument("--sheet", required=True, metavar="TSV")
    parser.add_argument(
        "--split",
        choices=("validation", "calibration"),
        default="validation",
        help="validation (default) calibrates the threshold, calibration chooses heads",
    )
    parser.add_argument("--replace", action="store_true", help="also change rows with a label")
    parser.add_argument("--dry-run", action="store_true", help="print the changes, write nothing")


def _build_viewer(arguments: Namespace) -> None:
    from hhvad import masks, sheet
    from hhvad.viewer.page import build

    shown = build(
        sheet.read(arguments.sheet),
        results=Path(arguments.results),
        study=arguments.study,
        methods=list(dict.fromkeys(arguments.methods)),
        described=arguments.described,
        masks=masks.read(arguments.masks) if arguments.masks else None,
        video_root=Path(arguments.video_root),
        out=Path(arguments.out),
    )
    print(f"{arguments.out}: {shown['events']} events in {shown['videos']} videos")


def _add_marks(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.viewer import marks

    decisions = marks.decide(
        sheet.read(arguments.sheet),
        marks.read(arguments.marks),
        arguments.split,
        replace_rows=arguments.replace,
    )
    if change_sheet(arguments.sheet, decisions, arguments.dry_run):
        print("note: marks tell of found events only; a missed event is not in these rows")


def change_sheet(path: str, decisions: Sequence[Decision], dry_run: bool) -> int:
    """Print what becomes of each row and write it; how many change."""
    from hhvad import sheet
    from hhvad.files import read_tsv, write_tsv
    from hhvad.viewer import marks

    changed = {one.after.video: one.after for one in decisions if one.after is not None}
    for one in decisions:
        if one.after is None:
            print(f"{one.before.video}: left as it is: {one.reason}")
        else:
            print(
                f"{one.before.video}: {marks.describe(one.before)} -> {marks.describe(one.after)}"
            )
    rows = read_tsv(path, sheet.COLUMNS)
    for row in rows:
        after = changed.get(row["video"].strip())
        if after is not None:
            row["split"], row["label"] = after.split, after.label or ""
            row["events"] = sheet.format_events(after.events)
    if changed and not dry_run:
        write_tsv(path, list(rows[0]), [list(row.values()) for row in rows])
    verb = "would change" if dry_run else "changed"
    print(f"{path}: {len(changed)} of {len(rows)} rows {verb}")
    return len(changed)
