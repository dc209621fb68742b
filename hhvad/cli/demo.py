"""Commands of stage demo: the procedural videos and their sheet."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add make-demo-video and make-demo-sheet."""
    video = commands.add_parser("make-demo-video", help="draw and encode one demo video")
    video.add_argument("--video", required=True, metavar="ID")
    video.add_argument("--seed", type=int, default=0)
    video.add_argument("--out", required=True, metavar="MP4")
    video.set_defaults(run=_make_demo_video)

    table = commands.add_parser("make-demo-sheet", help="write the sheet of the demo videos")
    table.add_argument("--seed", type=int, default=0)
    table.add_argument("--folder", default="resources/demo", help="of the videos")
    table.add_argument("--out", required=True, metavar="TSV")
    table.set_defaults(run=_make_demo_sheet)


def _make_demo_video(arguments: argparse.Namespace) -> None:
    from hhvad.demo.encode import encode
    from hhvad.demo.plan import scenes
    from hhvad.errors import SheetError

    known = scenes(arguments.seed)
    if arguments.video not in known:
        raise SheetError(
            f"video {arguments.video!r} is none of the demo's of seed {arguments.seed}, such as "
            f"{next(iter(known))!r}; make the sheet again with hhvad make-demo-sheet"
        )
    encode(known[arguments.video][1], arguments.out)


def _make_demo_sheet(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.demo.plan import videos
    from hhvad.files import write_tsv

    rows = [
        (v.video, v.path, v.split, v.label, v.category, sheet.format_events(v.events))
        for v in videos(arguments.seed, arguments.folder)
    ]
    write_tsv(arguments.out, sheet.COLUMNS, rows)
