"""`hhvad cut-clips`: pieces of videos as files of their own, for those who want files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add cut-clips."""
    p = commands.add_parser(
        "cut-clips",
        help="write a video's events, or HIVAU-70k's ranges, as files",
        description="Write each event of a method, or each range of frames that HIVAU-70k asks "
        "about, as a file: copied where it begins with a key frame, else encoded. hhvad itself "
        "needs no such files.",
    )
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--events", metavar="JSON", help="from localize-events")
    source.add_argument("--items", metavar="TSV", help="from list-hivau")
    p.add_argument(
        "--margin", type=_seconds, default=0.0, metavar="SECONDS", help="around events (default 0)"
    )
    p.add_argument(
        "--whole-groups",
        action="store_true",
        help="begin at the key frame before, so that all is copied",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR")
    p.set_defaults(run=_cut_clips)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"it is {text!r}; a number of seconds from 0")
    return value


def _cut_clips(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import probe
    from hhvad.cli.describe import _events
    from hhvad.datasets.hivau_items import read_items
    from hhvad.errors import ArtifactError
    from hhvad.media.cut import Piece, cut, from_key_frame
    from hhvad.media.probe import fingerprint

    info = probe.read(arguments.probe)
    if fingerprint(arguments.path) != info.fingerprint:
        raise ArtifactError(f"{arguments.path}: is not the video of {arguments.probe}; probe it")
    if arguments.events:
        margin = arguments.margin
        spans = [
            (
                info.frame(max(0.0, info.seconds(event["start_frame"]) - margin)),
                min(info.frames, info.frame(info.seconds(event["end_frame"]) + margin)),
            )
            for event in _events(arguments.events)
        ]
    else:
        spans = [
            (one.start, one.end)
            for one in read_items(arguments.items)
            if one.video == arguments.video
        ]
    spans = list(dict.fromkeys(spans))
    if arguments.whole_groups:
        spans = list(dict.fromkeys(from_key_frame(arguments.path, spans, info.frames)))
    pieces = [
        Piece(start, end, arguments.out / f"{arguments.video}_{start:06d}-{end:06d}.mp4")
        for start, end in spans
    ]
    copied = cut(arguments.path, pieces, info.frames)
    for piece, is_copy in zip(pieces, copied, strict=True):
        print(f"{piece.path}\t{'copied' if is_copy else 'encoded'}")
